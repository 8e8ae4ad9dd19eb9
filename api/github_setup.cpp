#include "api/github_setup.hpp"

#include <algorithm>
#include <array>

#include <openssl/rand.h>

#include "base/assert.hpp"
#include "base/digest.hpp"
#include "base/log.hpp"
#include "github/app_hook.hpp"
#include "github/manifest.hpp"

namespace atlasflow::api {
namespace {

constexpr std::chrono::milliseconds k_github_timeout{10'000};
constexpr auto k_flow_lifetime = std::chrono::hours(1);  // as long as GitHub's code is good
constexpr std::size_t k_flows_max = 16;
constexpr std::size_t k_projects_asked_max = 100;  // a request each
constexpr std::int64_t k_deliveries_kept_s = 3 * 24 * 3600;
constexpr std::size_t k_webhook_secret_bytes_max = 1024;

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// 256 bits that nobody can guess.
std::string random_state() {
  std::array<unsigned char, 32> bytes{};
  ATLAS_ASSERT(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1,
               "the system gives no random numbers");
  return to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

bool hears_of_pushes(const github::AppIdentity& identity) {
  return std::find(identity.events.begin(), identity.events.end(), "push") != identity.events.end();
}

// What the App lacks; empty: nothing.
std::string lack_of(const github::AppIdentity& identity) {
  if (!identity.permissions.contains("contents")) {
    return "the App may not read contents, so private repositories can't be cloned: grant it "
           "\"Contents: read-only\" in its settings under \"Permissions\"";
  }
  if (!hears_of_pushes(identity)) {
    return "the App is not told of pushes: tick \"Push\" in its settings under \"Permissions & "
           "events\"";
  }
  return {};
}

}  // namespace

Result<std::shared_ptr<github::AppClient>> make_app_client(std::int64_t app_id,
                                                           const Secret& private_key,
                                                           const std::string& base_url) {
  ATLAS_TRY(auto address,
            github::address_of(base_url.empty() ? std::string(github::k_public_github) : base_url));
  ATLAS_TRY(auto key, github::AppKey::parse(private_key));
  return std::make_shared<github::AppClient>(
      app_id, std::move(key), github::ApiConfig{std::move(address), now_s, k_github_timeout});
}

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
  ATLAS_TRY(const auto client,
            make_app_client(credentials.app_id, credentials.private_key, credentials.base_url));
  ATLAS_TRY(auto identity, client->identity({}));
  const std::lock_guard lock(connect_mutex_);
  ATLAS_TRYV(control_.execute(
      by, commands::ConnectGitHubApp{credentials.app_id, identity.slug, client->address().web,
                                     client->key().fingerprint(), credentials.private_key,
                                     credentials.webhook_secret}));
  connected_.set(client);
  log_event("api", "github_app_connected",
            {{"app", identity.id}, {"slug", identity.slug}, {"url", client->address().web}});
  return identity;
}

Result<void> GitHubSetup::disconnect(const Principal& by) {
  const std::lock_guard lock(connect_mutex_);
  ATLAS_TRYV(control_.execute(by, commands::DisconnectGitHubApp{}));
  connected_.set(nullptr);
  log_event("api", "github_app_disconnected");
  return {};
}

// ---- what stands in its way ----

Json GitHubSetup::webhook_json(github::AppClient& app) const {
  Json json;
  const auto wanted = origin() + "/webhooks/github";
  json["expected_url"] = wanted;
  json["url"] = nullptr;
  json["problem"] = "";
  json["last_delivery"] = nullptr;
  const auto url = github::hook_url(app, {});
  if (!url) {
    json["problem"] = to_string(url.error());
    return json;
  }
  json["url"] = *url;
  if (*url != wanted) {
    json["problem"] =
        "GitHub delivers to another URL than this server's: change it in the App's "
        "settings under \"Webhook\", unless a proxy stands between";
  }
  const auto last = github::hook_deliveries(app, now_s() - k_deliveries_kept_s, 1, {});
  if (!last) {
    json["problem"] = to_string(last.error());
  } else if (!last->empty()) {
    const auto& delivery = last->front();
    json["last_delivery"] = {{"at_us", delivery.delivered_s * 1'000'000},
                             {"event", delivery.event},
                             {"status", delivery.status}};
    if (delivery.status == 0) {
      json["problem"] =
          "GitHub could not reach the webhook: it must be reachable from the internet, "
          "with a certificate that GitHub trusts or SSL verification disabled";
    } else if (delivery.status == 401) {
      json["problem"] =
          "the last delivery was refused for its signature: the webhook secret in the "
          "App's settings is another than the one that it was connected with";
    } else if (delivery.status >= 300) {
      json["problem"] = "the last delivery was answered with " + std::to_string(delivery.status) +
                        "; GitHub shows it in the App's settings under \"Advanced\"";
    }
  }
  return json;
}

Json GitHubSetup::projects_json(github::AppClient& app) const {
  auto json = Json::array();
  for (const auto& view : control_.catalog().projects()) {
    const auto repository = github::repository_on(app.address(), view.state.repository_url);
    if (!repository || json.size() >= k_projects_asked_max) continue;
    const auto installation = app.installation_of(*repository, {});
    std::string problem;
    if (!installation) {
      problem = to_string(installation.error());
    } else if (installation->suspended) {
      problem = "the installation on " + installation->account + " is suspended";
    }
    json.push_back({{"project", view.state.name},
                    {"repository", repository->str()},
                    {"installed", installation.has_value()},
                    {"problem", problem}});
  }
  return json;
}

Json GitHubSetup::status() {
  Json json;
  const auto view = control_.catalog().github_app();
  if (!view.state.is_connected()) {
    json["app"] = nullptr;
    return json;
  }
  json["app"] = {{"id", view.state.app_id},
                 {"slug", view.state.slug},
                 {"base_url", view.state.base_url},
                 {"key_fingerprint", view.state.key_fingerprint},
                 {"connected_at_us", view.connected_at},
                 {"install_url", nullptr}};
  json["problem"] = "";
  json["webhook"] = nullptr;
  json["projects"] = Json::array();
  const auto client = connected_.get();
  if (client == nullptr) {
    json["problem"] = "the App's sealed key does not open; connect it again";
    return json;
  }
  const auto identity = client->identity({});
  if (!identity) {
    json["problem"] = to_string(identity.error());
    return json;
  }
  json["problem"] = lack_of(*identity);
  if (!identity->html_url.empty()) {
    json["app"]["install_url"] = identity->html_url + "/installations/new";
  }
  json["webhook"] = webhook_json(*client);
  json["projects"] = projects_json(*client);
  return json;
}

// ---- by a manifest ----

std::optional<GitHubSetup::Flow> GitHubSetup::find_flow(const std::string& state, bool take) {
  const std::lock_guard lock(flows_mutex_);
  std::erase_if(flows_, [](const auto& each) {
    return each.second.ends <= std::chrono::steady_clock::now();
  });
  const auto found = flows_.find(state);
  if (found == flows_.end()) return std::nullopt;
  auto flow = found->second;
  if (take) flows_.erase(found);
  return flow;
}

Result<std::string> GitHubSetup::begin(const std::string& base_url,
                                       const std::string& organization) {
  ATLAS_TRY(auto address,
            github::address_of(base_url.empty() ? std::string(github::k_public_github) : base_url));
  if (!organization.empty() && !github::is_organization(organization)) {
    return fail(ErrorCode::invalid_argument,
                "'" + organization.substr(0, 60) + "' is no name of an organization on GitHub");
  }
  const auto state = random_state();
  const std::lock_guard lock(flows_mutex_);
  if (flows_.size() >= k_flows_max) {
    flows_.erase(std::min_element(flows_.begin(), flows_.end(), [](const auto& a, const auto& b) {
      return a.second.ends < b.second.ends;
    }));
  }
  flows_[state] = {std::move(address), organization,
                   std::chrono::steady_clock::now() + k_flow_lifetime};
  return origin() + "/github/connect/" + state;
}

namespace {

tl::unexpected<Error> flow_is_over() {
  return fail(ErrorCode::not_found,
              "This page is not valid any more: it is for an hour and for one App. Run 'atlasflow "
              "github connect' again.");
}

}  // namespace

Result<std::string> GitHubSetup::page(const std::string& state) {
  const auto flow = find_flow(state, false);
  if (!flow) return flow_is_over();
  const auto manifest = github::manifest_json(
      {"Atlasflow on " + address_.domain, origin(), "/github/created", "/webhooks/github"});
  return github::manifest_page(flow->address, flow->organization, state, manifest);
}

Result<github::AppIdentity> GitHubSetup::finish(const std::string& state, const std::string& code) {
  const auto flow = find_flow(state, true);
  if (!flow) return flow_is_over();
  github::ApiClient api({flow->address, now_s, k_github_timeout});
  ATLAS_TRY(auto app, github::exchange_manifest_code(api, code, {}));
  // Whoever holds the state has it from the user who began.
  return connect(Principal::user(), {app.id, std::move(app.private_key),
                                     std::move(app.webhook_secret), flow->address.web});
}

}  // namespace atlasflow::api
