// What a project's repository is opened with, and what signs its webhooks. Nothing that is secret
// comes back: neither in an answer nor in an error or a log line.
#include "api/context.hpp"
#include "base/log.hpp"

namespace atlasflow::api {
namespace {

constexpr std::uint64_t k_body_bytes_max = 64 << 10;

Response show_project(const Context& context, const std::string& name) {
  wait_for_commands(context);
  return response_of(project_named(context, name), [&](const storage::ProjectView& view) {
    return json_response(json_of(view, context.control.catalog(), context.address));
  });
}

Response show_deploy_key(const Context& context, const std::string& name) {
  const auto view = project_named(context, name);
  if (!view) return error_response(view.error());
  if (view->state.deploy_key_ref.empty()) {
    return error_response({ErrorCode::not_found,
                           "Project '" + name +
                               "' has no deploy key; atlasflow project deploy-key " + name +
                               " makes one.",
                           {}});
  }
  return json_response(deploy_key_json_of(view->state));
}

// {"replace":true}: another one in any case.
Response make_deploy_key(const Context& context, const Request& request) {
  const auto& name = request.parameters.at("name");
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const auto replace = Members(*json).boolean("replace");
  if (!replace) return error_response(replace.error());
  const auto made = context.control.execute(
      asker_of(request), commands::MakeDeployKey{name, replace->value_or(false)});
  if (!made) return error_response(made.error());
  wait_for_commands(context);
  log_event("api", "deploy_key_made", {{"project", name}});
  return show_deploy_key(context, name);
}

Response remove_deploy_key(const Context& context, const Request& request) {
  const auto& name = request.parameters.at("name");
  const auto removed = context.control.execute(asker_of(request), commands::RemoveDeployKey{name});
  if (!removed) return error_response(removed.error());
  log_event("api", "deploy_key_removed", {{"project", name}});
  return show_project(context, name);
}

// Of the host of the project's remote.
Response accept_host_key(const Context& context, const Request& request) {
  const auto& name = request.parameters.at("name");
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const auto fingerprint = Members(*json).required_string("fingerprint");
  if (!fingerprint) return error_response(fingerprint.error());
  const auto pinned = context.control.execute(asker_of(request),
                                              commands::PinHostKey{name, "", *fingerprint, true});
  if (!pinned) return error_response(pinned.error());
  log_event("api", "host_key_accepted", {{"project", name}, {"fingerprint", *fingerprint}});
  return show_project(context, name);
}

Response set_login(const Context& context, const Request& request) {
  const auto& name = request.parameters.at("name");
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const Members members(*json);
  auto username = members.required_string("username");
  if (!username) return error_response(username.error());
  auto password = members.required_string("password");
  if (!password) return error_response(password.error());
  const auto set = context.control.execute(
      asker_of(request),
      commands::SetRepositoryLogin{name, *std::move(username), Secret(*std::move(password))});
  if (!set) return error_response(set.error());
  log_event("api", "login_set", {{"project", name}});
  return show_project(context, name);
}

Response remove_login(const Context& context, const Request& request) {
  const auto& name = request.parameters.at("name");
  const auto removed =
      context.control.execute(asker_of(request), commands::RemoveRepositoryLogin{name});
  if (!removed) return error_response(removed.error());
  log_event("api", "login_removed", {{"project", name}});
  return show_project(context, name);
}

Response set_webhook_secret(const Context& context, const Request& request) {
  const auto& name = request.parameters.at("name");
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  auto secret = Members(*json).string("secret");
  if (!secret) return error_response(secret.error());
  if (secret->value_or("").empty()) {
    return error_response({ErrorCode::invalid_argument,
                           "'secret' is missing or empty, which would sign nothing; send a long "
                           "random text.",
                           {}});
  }
  const auto set = context.control.execute(
      asker_of(request), commands::SetWebhookSecret{name, Secret(**std::move(secret))});
  if (!set) return error_response(set.error());
  log_event("api", "webhook_secret_set", {{"project", name}});
  return show_project(context, name);
}

// Back to the server's.
Response remove_webhook_secret(const Context& context, const Request& request) {
  const auto& name = request.parameters.at("name");
  if (context.server_webhook_secret.empty()) {
    return error_response({ErrorCode::conflict,
                           "The server has no webhook secret of its own (api.webhook_secret_file), "
                           "and without one nobody's webhooks would count; set another one.",
                           {}});
  }
  const auto set =
      context.control.execute(asker_of(request), commands::SetWebhookSecret{name, std::nullopt});
  if (!set) return error_response(set.error());
  log_event("api", "webhook_secret_removed", {{"project", name}});
  return show_project(context, name);
}

}  // namespace

void add_repository_routes(Router& router, const Context& context) {
  const auto add = [&](const char* method, const char* pattern, std::uint64_t body_bytes_max,
                       auto handler) {
    router.add({method, pattern, body_bytes_max,
                [&context, handler](const Request& request) { return handler(context, request); }});
  };
  add("GET", "/v1/projects/:name/deploy-key", 0, [](const Context& c, const Request& request) {
    return show_deploy_key(c, request.parameters.at("name"));
  });
  add("POST", "/v1/projects/:name/deploy-key", k_body_bytes_max, make_deploy_key);
  add("DELETE", "/v1/projects/:name/deploy-key", 0, remove_deploy_key);
  add("PUT", "/v1/projects/:name/host-key", k_body_bytes_max, accept_host_key);
  add("PUT", "/v1/projects/:name/login", k_body_bytes_max, set_login);
  add("DELETE", "/v1/projects/:name/login", 0, remove_login);
  add("PUT", "/v1/projects/:name/webhook-secret", k_body_bytes_max, set_webhook_secret);
  add("DELETE", "/v1/projects/:name/webhook-secret", 0, remove_webhook_secret);
}

}  // namespace atlasflow::api
