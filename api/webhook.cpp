#include "api/webhook.hpp"

#include <algorithm>
#include <set>

#include "api/delivery.hpp"
#include "api/push_payload.hpp"
#include "api/signature.hpp"
#include "base/log.hpp"
#include "github/address.hpp"
#include "github/delivery.hpp"

namespace atlasflow::api {
namespace {

// Whom a delivery's signature speaks for.
struct Signer {
  bool is_server = false;
  bool is_app = false;                // the GitHub App that is connected
  std::vector<std::string> projects;  // with a secret of their own that made the signature
};

tl::unexpected<Error> unauthorized(std::string message) {
  return fail(ErrorCode::unauthorized, std::move(message));
}

// Every secret is tried, also after one that fits: how long it takes tells nothing about which did.
Result<Signer> signer_of(const Context& context, const Request& request) {
  const auto project_secrets = context.control.webhook_secrets();
  const bool has_server_secret = !context.server_webhook_secret.empty();
  const bool has_project_secret =
      std::any_of(project_secrets.begin(), project_secrets.end(),
                  [](const auto& item) { return !item.second.empty(); });
  const auto app_secret = context.control.github_webhook_secret();
  if (!has_server_secret && !has_project_secret && app_secret.empty()) {
    return unauthorized(
        "No webhook secret is configured, so no delivery can be trusted: put one into the file "
        "that api.webhook_secret_file names, give the project its own with atlasflow project "
        "create --webhook-secret-file, or connect a GitHub App with atlasflow github connect.");
  }
  // With two of them it would be open which one counts.
  if (request.count_fields("X-Hub-Signature-256") != 1) {
    return unauthorized(
        "X-Hub-Signature-256 is missing; set the same secret in GitHub's webhook settings and "
        "here.");
  }
  const auto signature = parsed_signature(*request.field("X-Hub-Signature-256"));
  if (!signature) {
    return unauthorized("X-Hub-Signature-256 must be sha256= and 64 hex digits.");
  }
  const auto fits = [&](const std::string& secret) {
    return !secret.empty() && equal_in_constant_time(hmac_sha256(secret, request.body), *signature);
  };
  Signer signer;
  signer.is_server = fits(context.server_webhook_secret);
  signer.is_app = fits(app_secret.reveal());
  for (const auto& [project, secret] : project_secrets) {
    if (fits(secret)) signer.projects.push_back(project);
  }
  if (!signer.is_server && !signer.is_app && signer.projects.empty()) {
    return unauthorized(
        "The signature fits no secret that is configured here; set the same secret in GitHub's "
        "webhook settings and here.");
  }
  return signer;
}

// As Push::signed_for wants it; nothing: it speaks for no project at all.
std::optional<std::vector<std::string>> signed_for(const Context& context, const Signer& signer) {
  auto names = signer.projects;
  if (signer.is_app) {
    // The App's secret is GitHub's and this server's alone: it speaks for every repository there,
    // and for none elsewhere.
    const auto address = github::address_of(context.control.catalog().github_app().state.base_url);
    for (const auto& view : context.control.catalog().projects()) {
      if (address && github::repository_on(*address, view.state.repository_url)) {
        names.push_back(view.state.name);
      }
    }
    if (names.empty() && !signer.is_server) return std::nullopt;
  }
  if (signer.is_server && !names.empty()) {
    // The server's secret and a project's are the same: it speaks for both kinds.
    for (auto& [project, ref] : context.control.catalog().webhook_secret_refs()) {
      if (ref.empty()) names.push_back(std::move(project));
    }
  }
  return names;
}

Response take_push(const Context& context, Push push, const Signer& signer,
                   const std::string& delivery) {
  push.delivery_id = delivery;
  auto projects = signed_for(context, signer);
  if (!projects) return answer_push({});
  push.signed_for = *std::move(projects);
  const auto receipts =
      context.control.execute(Principal::webhook("github"), commands::TakePush{std::move(push)});
  if (!receipts) return not_recorded(delivery, receipts.error());
  note_receipts(delivery, *receipts);
  return answer_push(*receipts);
}

Response take_branch(const Context& context, const ParsedJson& payload, const Signer& signer,
                     const std::string& delivery) {
  auto push = parsed_push(payload);
  if (!push) return error_response(push.error());
  return take_push(context, *std::move(push), signer, delivery);
}

Response take_pull_request(const Context& context, const ParsedJson& payload, const Signer& signer,
                           const std::string& delivery) {
  auto push = parsed_pull_request(payload);
  if (!push) return error_response(push.error());
  if (!*push) {
    Json json;
    json["ignored"] = "nothing follows here from that action of a pull request";
    return json_response(json, 202);
  }
  return take_push(context, **std::move(push), signer, delivery);
}

Response pong(const ParsedJson& payload) {
  const auto zen = Members(payload).string("zen");
  if (!zen) return error_response(zen.error());
  Json json;
  json["pong"] = zen->value_or("");
  return json_response(json);
}

// The projects of that repository: by its id where they know it, else by the name that it had.
std::vector<std::string> projects_of(const Context& context, std::int64_t id,
                                     const github::RepositoryName& name) {
  std::vector<std::string> found;
  const auto address = github::address_of(context.control.catalog().github_app().state.base_url);
  if (!address) return found;
  const auto url = normalized_repository(address->web + "/" + name.str());
  for (const auto& view : context.control.catalog().projects()) {
    const auto& state = view.state;
    const bool has_name = normalized_repository(state.repository_url) == url;
    if (state.repository_id == 0 ? has_name : state.repository_id == id) {
      found.push_back(state.name);
    }
  }
  return found;
}

// Tells each of them, and answers with what was noted; of several errors with the last.
template <typename MakeCommand>
Response tell_projects(const Context& context, const std::vector<std::string>& projects,
                       const char* noted, MakeCommand make_command) {
  std::optional<Error> error;
  for (const auto& project : projects) {
    const auto done = context.control.execute(Principal::webhook("github"), make_command(project));
    if (!done) error = done.error();
  }
  if (error) return error_response(*error);
  Json json;
  json["noted"] = noted;
  json["projects"] = projects;
  return json_response(json, 202);
}

// GitHub alone signs with the App's secret. Whoever else has a secret may deploy a project's
// repository, and not lead the project to another one.
Response take_move(const Context& context, const Signer& signer,
                   const github::RepositoryMoved& moved) {
  log_event(LogLevel::warn, "api", "github_repository_moved",
            {{"id", moved.id}, {"from", moved.from.str()}, {"to", moved.to.str()}});
  const auto address = github::address_of(context.control.catalog().github_app().state.base_url);
  const auto projects = signer.is_app && address ? projects_of(context, moved.id, moved.from)
                                                 : std::vector<std::string>{};
  return tell_projects(context, projects, "moved", [&](const std::string& project) {
    return commands::FollowRepository{project, moved.id,
                                      address->web + "/" + moved.to.str() + ".git"};
  });
}

Response take_deletion(const Context& context, const Signer& signer,
                       const github::RepositoryDeleted& deleted) {
  log_event(LogLevel::warn, "api", "github_repository_deleted",
            {{"id", deleted.id}, {"repository", deleted.repository.str()}});
  const auto projects = signer.is_app ? projects_of(context, deleted.id, deleted.repository)
                                      : std::vector<std::string>{};
  return tell_projects(context, projects, "deleted", [&](const std::string& project) {
    return commands::RecordRepositoryDeletion{project, deleted.id};
  });
}

// What the App is told beside pushes. Of its installations nothing is kept: whether a repository
// can be cloned is GitHub's to say when it is cloned, and 'atlasflow github status' asks.
Response take_other(const Context& context, const Signer& signer, const std::string& event,
                    const ParsedJson& payload) {
  const auto delivery = github::read_delivery(event, payload);
  if (!delivery) return error_response(delivery.error());
  Json json;
  if (const auto* ignored = std::get_if<github::Ignored>(&*delivery)) {
    json["ignored"] = ignored->reason;
  } else if (const auto* changed = std::get_if<github::InstallationChanged>(&*delivery)) {
    log_event("api", "github_installation_changed",
              {{"installation", changed->installation},
               {"account", changed->account},
               {"kind", name_of(changed->kind)}});
    json["noted"] = name_of(changed->kind);
  } else if (const auto* added = std::get_if<github::InstallationRepositories>(&*delivery)) {
    log_event("api", "github_installation_repositories",
              {{"installation", added->installation},
               {"account", added->account},
               {"added", added->added.size()},
               {"removed", added->removed.size()}});
    json["noted"] = "repositories";
  } else if (const auto* moved = std::get_if<github::RepositoryMoved>(&*delivery)) {
    return take_move(context, signer, *moved);
  } else if (const auto* deleted = std::get_if<github::RepositoryDeleted>(&*delivery)) {
    return take_deletion(context, signer, *deleted);
  }
  return json_response(json, 202);
}

Response take_delivery(const Context& context, const Request& request) {
  const auto signer = signer_of(context, request);
  if (!signer) {
    log_event(LogLevel::warn, "api", "webhook_refused",
              {{"bytes", request.body.size()}, {"reason", signer.error().message}});
    return error_response(signer.error());
  }
  const auto event = required_token(request, "X-GitHub-Event");
  if (!event) return error_response(event.error());
  const auto delivery = required_token(request, "X-GitHub-Delivery");
  if (!delivery) return error_response(delivery.error());
  const auto* content_type = request.field("Content-Type");
  const auto text = payload_text(content_type == nullptr ? "" : *content_type, request.body);
  if (!text) return error_response(text.error());
  const auto payload = parsed_object(*text, "The payload");
  if (!payload) return error_response(payload.error());

  if (*event == "ping") return pong(*payload);
  if (*event == "push") return take_branch(context, *payload, *signer, *delivery);
  if (*event == "pull_request") return take_pull_request(context, *payload, *signer, *delivery);
  return take_other(context, *signer, *event, *payload);
}

}  // namespace

void add_webhook_route(Router& router, const Context& context) {
  router.add({"POST", "/webhooks/github", k_webhook_bytes_max,
              [&context](const Request& request) { return take_delivery(context, request); }});
}

}  // namespace atlasflow::api
