#include "api/github_setup.hpp"

#include <algorithm>
#include <tuple>

#include "api/random.hpp"
#include "base/deadline.hpp"
#include "base/digest.hpp"
#include "base/log.hpp"
#include "github/app_hook.hpp"

namespace atlasflow::api {
namespace {

constexpr auto k_flow_lifetime = std::chrono::hours(1);  // as long as GitHub's code is good
constexpr std::size_t k_flows_max = 16;
constexpr std::size_t k_repositories_asked_max = 100;  // a request each
constexpr std::int64_t k_deliveries_kept_s = std::int64_t{3} * 24 * 3600;
constexpr std::size_t k_webhook_secret_bytes_max = 1024;

// 256 bits that nobody can guess.
std::string random_state() { return to_hex(random_bytes(32)); }

bool hears_of(const github::AppIdentity& identity, const char* event) {
  return std::find(identity.events.begin(), identity.events.end(), event) != identity.events.end();
}

void add_sentence(std::string& text, const std::string& sentence) {
  if (sentence.empty()) return;
  text += (text.empty() ? "" : "; ") + sentence;
}

struct Writing {
  const char* permission;
  const char* allows;
  const char* title;  // as the App's settings have it
  const char* without;
};

std::string lack_of_writing(const github::AppIdentity& identity, const Writing& writing) {
  const auto granted = identity.permissions.find(writing.permission);
  if (granted != identity.permissions.end() && granted->second == "write") return "";
  return std::string("the App may not ") + writing.allows + ", so " + writing.without +
         ": grant it \"" + writing.title +
         ": read and write\" in its settings under \"Permissions\", and accept that on its "
         "installations' pages";
}

// All that the App lacks; empty: nothing.
std::string lack_of(const github::AppIdentity& identity) {
  std::string lack;
  if (!identity.permissions.contains("contents")) {
    add_sentence(lack,
                 "the App may not read contents, so private repositories can't be cloned: grant it "
                 "\"Contents: read-only\" in its settings under \"Permissions\"");
  }
  if (!hears_of(identity, "push")) {
    add_sentence(lack,
                 "the App is not told of pushes: tick \"Push\" in its settings under \"Permissions "
                 "& events\"");
  }
  if (!hears_of(identity, "repository")) {
    add_sentence(lack,
                 "the App is not told of repositories that are renamed or deleted: tick "
                 "\"Repository\" in its settings under \"Permissions & events\"");
  }
  if (!hears_of(identity, "pull_request")) {
    add_sentence(lack,
                 "the App is not told of pull requests, so they have no previews: tick \"Pull "
                 "request\" in its settings under \"Permissions & events\"");
  }
  add_sentence(lack, lack_of_writing(identity, {"deployments", "write deployments", "Deployments",
                                                "commits on GitHub don't show where they run"}));
  add_sentence(lack,
               lack_of_writing(identity, {"statuses", "write commit statuses", "Commit statuses",
                                          "commits on GitHub have no status of their deployment"}));
  add_sentence(
      lack, lack_of_writing(identity, {"pull_requests", "comment on pull requests", "Pull requests",
                                       "none of them tells where its preview is"}));
  return lack;
}

}  // namespace

Result<github::AppIdentity> GitHubSetup::connect(const Principal& by,
                                                 const AppCredentials& credentials) {
  if (credentials.app_id <= 0) {
    return fail(ErrorCode::invalid_argument,
                "an App's id is a positive number; it stands at the top of the App's settings");
  }
  if (credentials.webhook_secret.empty() ||
      credentials.webhook_secret.reveal().size() > k_webhook_secret_bytes_max) {
    return fail(ErrorCode::invalid_argument,
                "the webhook secret must have from 1 to 1024 bytes; set one in the App's settings "
                "under \"Webhook\"");
  }
  ATLAS_TRY(const auto client, github::make_app_client(credentials.app_id, credentials.private_key,
                                                       credentials.base_url));
  ATLAS_TRY(auto identity, client->identity({}));
  ATLAS_TRYV(record(by, identity, *client, credentials));
  return identity;
}

Result<void> GitHubSetup::record(const Principal& by, const github::AppIdentity& identity,
                                 const github::AppClient& client,
                                 const AppCredentials& credentials) {
  ATLAS_TRYV(control_.execute(
      by, commands::ConnectGitHubApp{credentials.app_id, identity.slug, client.address().web,
                                     client.key().fingerprint(), credentials.private_key,
                                     credentials.webhook_secret}));
  log_event("api", "github_app_connected",
            {{"app", identity.id}, {"slug", identity.slug}, {"url", client.address().web}});
  return {};
}

Result<void> GitHubSetup::disconnect(const Principal& by) {
  ATLAS_TRYV(control_.execute(by, commands::DisconnectGitHubApp{}));
  log_event("api", "github_app_disconnected");
  return {};
}

// ---- what stands in its way ----

namespace {

// Why GitHub was not asked to the end.
std::string told(const Error& error) {
  if (error.code != ErrorCode::cancelled) return to_string(error);
  return "GitHub takes too long to answer; ask again later";
}

}  // namespace

Json GitHubSetup::webhook_json(github::AppClient& app, const std::stop_token& stop) const {
  Json json;
  const auto wanted = origin() + "/webhooks/github";
  json["expected_url"] = wanted;
  json["url"] = nullptr;
  json["problem"] = "";
  json["last_delivery"] = nullptr;
  const auto url = github::hook_url(app, stop);
  if (!url) {
    json["problem"] = told(url.error());
    return json;
  }
  json["url"] = *url;
  std::string problem;
  if (*url != wanted) {
    problem =
        "GitHub delivers to another URL than this server's: change it in the App's "
        "settings under \"Webhook\", unless a proxy stands between";
  }
  const auto last = github::hook_deliveries(app, app.github_now_s() - k_deliveries_kept_s, 1, stop);
  std::string later;  // which may only follow from the one before
  if (!last) {
    later = told(last.error());
  } else if (!last->empty()) {
    const auto& delivery = last->front();
    json["last_delivery"] = {{"at_us", delivery.delivered_s * 1'000'000},
                             {"event", delivery.event},
                             {"status", delivery.status}};
    if (delivery.status == 0) {
      later =
          "GitHub could not reach the webhook: it must be reachable from the internet, "
          "with a certificate that GitHub trusts or SSL verification disabled";
    } else if (delivery.status == 401) {
      later =
          "the last delivery was refused for its signature: the webhook secret in the "
          "App's settings is another than the one that it was connected with";
    } else if (delivery.status >= 300) {
      later = "the last delivery was answered with " + std::to_string(delivery.status) +
              "; GitHub shows it in the App's settings under \"Advanced\"";
    }
  }
  json["problem"] = problem.empty() ? later : problem;
  return json;
}

std::string known_problem(const ProjectState& project, const KnownHead& head) {
  if (project.repository_deleted) {
    return "the repository of project '" + project.name +
           "' was deleted on GitHub; what is deployed runs on: restore it there, or 'atlasflow "
           "project delete " +
           project.name + "'";
  }
  if (!head.inferred) return {};
  constexpr std::size_t k_sha_digits = 7;
  return "no webhook told of the newest push to project '" + project.name + "', " +
         head.commit.substr(0, k_sha_digits) +
         ", which was found by comparison: the App's settings on GitHub show under \"Advanced\" "
         "what became of the deliveries";
}

Json GitHubSetup::projects_json(github::AppClient& app, const std::stop_token& stop,
                                std::string& problem) const {
  struct Answer {
    Json installed;  // null: GitHub did not say
    std::string problem;
  };
  std::map<std::string, Answer> answers;
  const auto ask = [&](const github::RepositoryName& repository) {
    if (!problem.empty()) return Answer{};
    if (answers.size() >= k_repositories_asked_max) {
      problem = "GitHub was asked for the first " + std::to_string(k_repositories_asked_max) +
                " repositories only";
      return Answer{};
    }
    const auto installation = app.installation_of(repository, stop);
    if (installation && installation->suspended) {
      return Answer{true, "the installation on " + installation->account +
                              " is suspended: unsuspend it on GitHub, in that account's settings "
                              "under \"GitHub Apps\""};
    }
    if (installation) return Answer{true, ""};
    if (installation.error().code == ErrorCode::not_found) {
      return Answer{false, to_string(installation.error())};
    }
    // Trouble that is no repository's own: the next one would only wait for it, too.
    problem = told(installation.error());
    return Answer{};
  };
  auto json = Json::array();
  for (const auto& view : control_.catalog().projects()) {
    const auto repository = github::repository_on(app.address(), view.state.repository_url);
    if (!repository) continue;
    auto known = answers.find(repository->str());
    if (known == answers.end()) known = answers.emplace(repository->str(), ask(*repository)).first;
    auto all = known->second.problem;
    add_sentence(all, known_problem(view.state, control_.catalog().known_head(view.state.id)));
    json.push_back({{"project", view.state.name},
                    {"repository", repository->str()},
                    {"installed", known->second.installed},
                    {"problem", std::move(all)}});
  }
  return json;
}

Json GitHubSetup::status(std::chrono::milliseconds time_max) {
  Json json;
  json["app"] = nullptr;
  json["problem"] = "";
  json["webhook"] = nullptr;
  json["projects"] = Json::array();
  const auto view = control_.catalog().github_app();
  if (!view.state.is_connected()) return json;
  json["app"] = {{"id", view.state.app_id},
                 {"slug", view.state.slug},
                 {"base_url", view.state.base_url},
                 {"key_fingerprint", view.state.key_fingerprint},
                 {"connected_at_us", view.connected_at},
                 {"install_url", nullptr}};
  const auto client =
      connected_ == nullptr ? Result<std::shared_ptr<github::AppClient>>() : connected_->get();
  if (!client || *client == nullptr) {
    json["problem"] = client ? "the App is not in use here" : to_string(client.error());
    return json;
  }
  const Deadline deadline({}, time_max);
  const auto identity = (*client)->identity(deadline.token());
  if (!identity) {
    json["problem"] = told(identity.error());
    return json;
  }
  if (!identity->html_url.empty()) {
    json["app"]["install_url"] = identity->html_url + "/installations/new";
  }
  json["webhook"] = webhook_json(**client, deadline.token());
  std::string problem;
  json["projects"] = projects_json(**client, deadline.token(), problem);
  // What only the user can mend goes before what passes by itself.
  auto lack = lack_of(*identity);
  add_sentence(lack, problem);
  json["problem"] = lack;
  return json;
}

// ---- by a manifest ----

std::optional<GitHubSetup::Flow> GitHubSetup::find_flow(const std::string& state) {
  const std::lock_guard lock(flows_mutex_);
  std::erase_if(flows_, [](const auto& each) {
    return each.second.ends <= std::chrono::steady_clock::now();
  });
  const auto found = flows_.find(state);
  return found == flows_.end() ? std::nullopt : std::optional(found->second);
}

void GitHubSetup::keep_flow(const std::string& state, Flow flow) {
  const std::lock_guard lock(flows_mutex_);
  if (flows_.size() >= k_flows_max && !flows_.contains(state)) {
    // The oldest that nobody waits for; a key that GitHub gives away once goes last.
    flows_.erase(std::min_element(flows_.begin(), flows_.end(), [](const auto& a, const auto& b) {
      const auto rank = [](const Flow& each) {
        return std::tuple(each.made.has_value(), !each.is_done(), each.ends);
      };
      return rank(a.second) < rank(b.second);
    }));
  }
  flows_[state] = std::move(flow);
}

Result<GitHubSetup::Page> GitHubSetup::begin(const std::string& base_url,
                                             const std::string& organization) {
  ATLAS_TRY(auto config, github::api_config(base_url));
  if (!organization.empty() && !github::is_organization(organization)) {
    return fail(ErrorCode::invalid_argument,
                "'" + organization.substr(0, 60) + "' is no name of an organization on GitHub");
  }
  Flow flow;
  flow.address = std::move(config.address);
  flow.organization = organization;
  flow.ends = std::chrono::steady_clock::now() + k_flow_lifetime;
  auto state = random_state();
  keep_flow(state, std::move(flow));
  auto url = origin() + "/github/connect/" + state;
  return Page{std::move(state), std::move(url)};
}

namespace {

tl::unexpected<Error> flow_is_over() {
  return fail(ErrorCode::not_found,
              "This page is not valid any more: it is for an hour and for one App. Run 'atlasflow "
              "github connect' again.");
}

}  // namespace

Result<std::string> GitHubSetup::page(const std::string& state) {
  const auto flow = find_flow(state);
  if (!flow || flow->is_done() || flow->made) return flow_is_over();
  const auto manifest = github::manifest_json(
      {"Atlasflow on " + address_.domain, origin(), "/github/created", "/webhooks/github"});
  return github::manifest_page(flow->address, flow->organization, state, manifest);
}

Result<GitHubSetup::Progress> GitHubSetup::progress(const std::string& state) {
  const auto flow = find_flow(state);
  if (!flow) return flow_is_over();
  return flow->progress;
}

Result<github::AppIdentity> GitHubSetup::finish(const std::string& state, const std::string& code) {
  // Whoever has no state holds up nobody.
  if (!find_flow(state)) return flow_is_over();
  const std::lock_guard one_at_a_time(finish_mutex_);
  auto flow = find_flow(state);
  if (!flow || flow->progress.over) return flow_is_over();
  // Of a browser that asks again as it has not seen the answer.
  if (flow->progress.app) return *flow->progress.app;
  auto identity = finish(*flow, code);
  if (identity) {
    flow->made.reset();
    flow->progress = {*identity, false, {}};
  } else {
    flow->progress.problem = to_string(identity.error());
    flow->progress.over = identity.error().code == ErrorCode::invalid_argument;
  }
  keep_flow(state, *std::move(flow));
  return identity;
}

Result<github::AppIdentity> GitHubSetup::finish(Flow& flow, const std::string& code) {
  if (!flow.made) {
    // What can't be recorded must not be fetched: GitHub gives the key away once.
    ATLAS_TRYV(control_.log().has_room());
    ATLAS_TRY(const auto config, github::api_config(flow.address.web));
    github::ApiClient api(config);
    ATLAS_TRY(flow.made, github::exchange_manifest_code(api, code, {}));
    flow.ends = std::chrono::steady_clock::now() + k_flow_lifetime;
  }
  // Who made the App has said who it is, and with which key.
  const auto& identity = flow.made->identity;
  ATLAS_TRY(const auto client,
            github::make_app_client(identity.id, flow.made->private_key, flow.address.web));
  // Whoever holds the state has it from the user who began.
  const AppCredentials credentials{identity.id, flow.made->private_key, flow.made->webhook_secret,
                                   flow.address.web};
  ATLAS_TRYV(record(Principal::user(), identity, *client, credentials));
  return identity;
}

}  // namespace atlasflow::api
