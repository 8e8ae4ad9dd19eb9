// Projects, their environment variables and build secrets.
#include <algorithm>

#include "api/context.hpp"
#include "api/push_login.hpp"
#include "base/log.hpp"
#include "events/build_secret.hpp"
#include "events/settings.hpp"

namespace atlasflow::api {
namespace {

constexpr std::uint64_t k_project_bytes_max = 64 << 10;
constexpr std::uint64_t k_env_body_bytes_max = 8 << 20;  // JSON may take 6 bytes for one

Response list_projects(const Context& context) {
  const auto& catalog = context.control.catalog();
  Json projects = Json::array();
  for (const auto& view : catalog.projects()) {
    projects.push_back(json_of(view, catalog, context.address));
  }
  Json json;
  json["projects"] = std::move(projects);
  return json_response(json);
}

Response show_project(const Context& context, const std::string& name, int status = 200) {
  return response_of(project_named(context, name), [&](const storage::ProjectView& view) {
    return json_response(json_of(view, context.control.catalog(), context.address), status);
  });
}

Response show_env(const Context& context, const std::string& name) {
  return response_of(project_named(context, name), [](const storage::ProjectView& view) {
    return json_response(env_json_of(view));
  });
}

// Where it is cloned from, or that it is pushed to here.
Result<std::string> parsed_repository(const Members& members) {
  ATLAS_TRY(const auto is_pushed_here, members.boolean("git_push"));
  ATLAS_TRY(auto url, members.string("repository"));
  if (!is_pushed_here.value_or(false)) {
    if (!url) return members.required_string("repository");
    if (!is_own_repository(*url)) return *std::move(url);
    return fail(ErrorCode::invalid_argument,
                "'repository' is one that Atlasflow keeps itself; send \"git_push\":true in its "
                "place.");
  }
  if (!url) return std::string(k_own_repository);
  return fail(ErrorCode::invalid_argument,
              "Send either 'repository' or 'git_push': what is pushed here is cloned from nowhere "
              "else.");
}

Result<commands::CreateProject> parsed_new_project(const std::string& body) {
  ATLAS_TRY(const auto json, parsed_object(body, "The body"));
  const Members members(json);
  ATLAS_TRY(auto name, members.required_string("name"));
  ATLAS_TRY(auto repository, parsed_repository(members));
  ATLAS_TRY(auto branch, members.string("branch"));
  ATLAS_TRY(auto secret, members.string("webhook_secret"));
  if (secret && secret->empty()) {
    return fail(ErrorCode::invalid_argument,
                "'webhook_secret' is empty, which would sign nothing; leave it out to use the "
                "server's secret.");
  }
  return commands::CreateProject{.project = std::move(name),
                                 .repository_url = std::move(repository),
                                 .branch = branch.value_or(""),
                                 .webhook_secret = std::move(secret)};
}

Response create_project(const Context& context, const Request& request) {
  const auto project = parsed_new_project(request.body);
  if (!project) return error_response(project.error());
  const auto created = context.control.execute(asker_of(request), *project);
  if (!created) return error_response(created.error());
  log_event("api", "project_created", {{"project", project->project}, {"id", created->str()}});
  wait_for_commands(context);
  return show_project(context, project->project, 201);
}

Response delete_project(const Context& context, const Request& request) {
  const auto& name = request.parameters.at("name");
  const auto deleted = context.control.execute(asker_of(request), commands::DeleteProject{name});
  if (!deleted) return error_response(deleted.error());
  log_event("api", "project_deleted", {{"project", name}});
  wait_for_commands(context);
  if (context.project_deleted) context.project_deleted();
  Json json;
  json["deleted"] = name;
  return json_response(json);
}

// {"health_deadline":"30s","port":8080,"previews":true}: texts, numbers and booleans, by the names
// of events/settings.hpp.
Response change_settings(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  commands::Texts settings;
  for (const auto& [name, value] : json->items()) {
    if (!value.is_string() && !value.is_number_unsigned() && !value.is_boolean()) {
      return error_response(
          {ErrorCode::invalid_argument,
           "The value of '" + name + "' must be a string, a whole number, true or false.",
           {}});
    }
    settings.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  if (settings.empty()) {
    return error_response({ErrorCode::invalid_argument,
                           "Name the settings to change: {\"health_deadline\":\"30s\"}.",
                           {}});
  }
  const auto changed = context.control.execute(
      asker_of(request), commands::ChangeSettings{project, std::move(settings)});
  if (!changed) {
    return error_response(changed.error());
  }
  log_event("api", "settings_changed", {{"project", project}, {"settings", json->size()}});
  wait_for_commands(context);
  return show_project(context, project);
}

// The values by their names, of the body's member of that name. No error quotes a value: it is a
// secret.
Result<commands::Texts> parsed_values(const std::string& body, const char* member,
                                      Result<void> (*validate_name)(const std::string&),
                                      Result<void> (*validate_value)(const std::string&,
                                                                     const std::string&)) {
  ATLAS_TRY(const auto json, parsed_object(body, "The body"));
  ATLAS_TRY(const auto members, Members(json).object(member));
  if (members == nullptr || members->empty()) {
    return fail(ErrorCode::invalid_argument, std::string("'") + member +
                                                 "' is missing or empty: send {\"" + member +
                                                 "\":{\"NAME\":\"value\"}}.");
  }
  commands::Texts values;
  for (const auto& [name, value] : members->items()) {
    ATLAS_TRYV(validate_name(name));
    if (!value.is_string()) {
      return fail(ErrorCode::invalid_argument, "The value of " + name + " must be a string.");
    }
    auto text = value.get<std::string>();
    ATLAS_TRYV(validate_value(name, text));
    values.emplace_back(name, std::move(text));
  }
  return values;
}

Response set_env(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto variables =
      parsed_values(request.body, "variables", validate_env_name, validate_env_value);
  if (!variables) return error_response(variables.error());
  const auto set =
      context.control.execute(asker_of(request), commands::SetEnv{project, *variables});
  if (!set) return error_response(set.error());
  log_event("api", "env_set", {{"project", project}, {"variables", variables->size()}});
  wait_for_commands(context);
  return show_env(context, project);
}

std::vector<std::string> names_in_query(const Request& request) {
  std::vector<std::string> names;
  for (const auto& [key, value] : request.query) {
    if (key == "name") names.push_back(value);
  }
  return names;
}

Response unset_env(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto names = names_in_query(request);
  if (names.empty()) {
    return error_response(
        {ErrorCode::invalid_argument, "Name the variables to remove: ?name=A&name=B.", {}});
  }
  const auto unset = context.control.execute(asker_of(request), commands::UnsetEnv{project, names});
  if (!unset) return error_response(unset.error());
  log_event("api", "env_unset", {{"project", project}, {"variables", names.size()}});
  wait_for_commands(context);
  return show_env(context, project);
}

Response show_build_secrets(const Context& context, const std::string& name) {
  return response_of(project_named(context, name), [](const storage::ProjectView& view) {
    return json_response(build_secrets_json_of(view));
  });
}

Response set_build_secrets(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto secrets = parsed_values(request.body, "secrets", validate_build_secret_name,
                                     validate_build_secret_value);
  if (!secrets) return error_response(secrets.error());
  const auto set =
      context.control.execute(asker_of(request), commands::SetBuildSecrets{project, *secrets});
  if (!set) return error_response(set.error());
  log_event("api", "build_secrets_set", {{"project", project}, {"secrets", secrets->size()}});
  wait_for_commands(context);
  return show_build_secrets(context, project);
}

Response unset_build_secrets(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto names = names_in_query(request);
  if (names.empty()) {
    return error_response(
        {ErrorCode::invalid_argument, "Name the build secrets to remove: ?name=A&name=B.", {}});
  }
  const auto unset =
      context.control.execute(asker_of(request), commands::UnsetBuildSecrets{project, names});
  if (!unset) return error_response(unset.error());
  log_event("api", "build_secrets_unset", {{"project", project}, {"secrets", names.size()}});
  wait_for_commands(context);
  return show_build_secrets(context, project);
}

// Neither an error nor a log line nor the answer repeats it.
Response set_notify_secret(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const auto secret = Members(*json).string("secret");
  if (!secret) return error_response(secret.error());
  if (secret->value_or("").empty()) {
    return error_response({ErrorCode::invalid_argument,
                           "'secret' is missing or empty, which would sign nothing; send a long "
                           "random text.",
                           {}});
  }
  const auto set =
      context.control.execute(asker_of(request), commands::SetNotifySecret{project, **secret});
  if (!set) return error_response(set.error());
  log_event("api", "notify_secret_set", {{"project", project}});
  wait_for_commands(context);
  return show_project(context, project);
}

// The only answer that has it.
Response make_push_token(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto token = new_push_token();
  const auto set = context.control.execute(
      asker_of(request), commands::SetPushToken{project, push_token_digest(token)});
  if (!set) return error_response(set.error());
  log_event("api", "push_token_set", {{"project", project}});
  wait_for_commands(context);
  Json json;
  json["project"] = project;
  json["url"] = context.address.git_push_url_of(project);
  json["token"] = token;
  return json_response(json, 201);
}

Response revoke_push_token(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto revoked =
      context.control.execute(asker_of(request), commands::RevokePushToken{project});
  if (!revoked) return error_response(revoked.error());
  log_event("api", "push_token_revoked", {{"project", project}});
  wait_for_commands(context);
  Json json;
  json["revoked"] = project;
  return json_response(json);
}

}  // namespace

void add_project_routes(Router& router, const Context& context) {
  const auto add = [&](const char* method, const char* pattern, std::uint64_t body_bytes_max,
                       auto handler) {
    router.add({method, pattern, body_bytes_max,
                [&context, handler](const Request& request) { return handler(context, request); }});
  };
  add("GET", "/v1/projects", 0, [](const Context& c, const Request&) { return list_projects(c); });
  add("POST", "/v1/projects", k_project_bytes_max, create_project);
  add("GET", "/v1/projects/:name", 0, [](const Context& c, const Request& request) {
    return show_project(c, request.parameters.at("name"));
  });
  add("DELETE", "/v1/projects/:name", 0, delete_project);
  add("PUT", "/v1/projects/:name/settings", k_project_bytes_max, change_settings);
  add("PUT", "/v1/projects/:name/notify-secret", k_project_bytes_max, set_notify_secret);
  add("POST", "/v1/projects/:name/push-token", k_project_bytes_max, make_push_token);
  add("DELETE", "/v1/projects/:name/push-token", 0, revoke_push_token);
  add("GET", "/v1/projects/:name/env", 0, [](const Context& c, const Request& request) {
    return show_env(c, request.parameters.at("name"));
  });
  add("PUT", "/v1/projects/:name/env", k_env_body_bytes_max, set_env);
  add("DELETE", "/v1/projects/:name/env", 0, unset_env);
  add("GET", "/v1/projects/:name/build-secrets", 0, [](const Context& c, const Request& request) {
    return show_build_secrets(c, request.parameters.at("name"));
  });
  add("PUT", "/v1/projects/:name/build-secrets", k_env_body_bytes_max, set_build_secrets);
  add("DELETE", "/v1/projects/:name/build-secrets", 0, unset_build_secrets);
}

}  // namespace atlasflow::api
