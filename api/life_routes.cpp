// What an owner does with deployments that are there: run an earlier one again, cancel one, stop,
// start and scale what is live.

#include "api/context.hpp"
#include "api/url.hpp"
#include "base/log.hpp"
#include "events/environment.hpp"

namespace atlasflow::api {
namespace {

constexpr std::uint64_t k_body_bytes_max = 4 << 10;

// ---- commands that make a deployment ----

struct Again {
  std::string command_id;
  std::optional<DeploymentId> deployment;  // unset: the control plane chooses
  bool no_cache = false;
};

Result<Again> parsed_again(const std::string& body, bool may_name_deployment,
                           bool may_build = false) {
  ATLAS_TRY(const auto json, parsed_object(body, "The body"));
  const Members members(json);
  ATLAS_TRY(auto command_id, command_id_of(members));
  Again again{std::move(command_id), std::nullopt, false};
  ATLAS_TRY(const auto no_cache, members.boolean("no_cache"));
  if (no_cache.value_or(false) && !may_build) {
    return fail(ErrorCode::invalid_argument,
                "'no_cache' is for what builds: deploy and redeploy; this builds nothing.");
  }
  again.no_cache = no_cache.value_or(false);
  if (!may_name_deployment) return again;
  ATLAS_TRY(auto deployment, members.string("deployment"));
  if (deployment && deployment->empty()) {
    return fail(ErrorCode::invalid_argument,
                "'deployment' is empty: name one, or leave it out for the one that fits.");
  }
  if (deployment) again.deployment = DeploymentId(*std::move(deployment));
  return again;
}

Response show_made(const Context& context, const char* verb, const Result<DeploymentId>& made) {
  if (!made) return error_response(made.error());
  log_event("api", std::string(verb) + "_commanded", {{"deployment", made->str()}});
  wait_for_commands(context);
  return show_deployment(context, *made, 202);
}

Response roll_back(const Context& context, const Request& request) {
  const auto again = parsed_again(request.body, true);
  if (!again) return error_response(again.error());
  return show_made(
      context, "rollback",
      context.control.execute(
          asker_of(request),
          commands::Rollback{request.parameters.at("name"), again->deployment, again->command_id}));
}

Response redeploy(const Context& context, const Request& request) {
  const auto again = parsed_again(request.body, true, true);
  if (!again) return error_response(again.error());
  return show_made(
      context, "redeploy",
      context.control.execute(asker_of(request),
                              commands::Redeploy{request.parameters.at("name"), again->deployment,
                                                 again->command_id, again->no_cache}));
}

Response restart(const Context& context, const Request& request) {
  const auto again = parsed_again(request.body, false);
  if (!again) return error_response(again.error());
  return show_made(
      context, "restart",
      context.control.execute(asker_of(request),
                              commands::Restart{request.parameters.at("name"), again->command_id}));
}

Response promote(const Context& context, const Request& request) {
  const auto again = parsed_again(request.body, false);
  if (!again) return error_response(again.error());
  return show_made(
      context, "promote",
      context.control.execute(
          asker_of(request),
          commands::Promote{DeploymentId(request.parameters.at("id")), again->command_id}));
}

// The commit is the one that the body names, so that nobody approves what he has not seen.
Response approve(const Context& context, const Request& request) {
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const Members members(*json);
  auto command_id = command_id_of(members);
  if (!command_id) return error_response(command_id.error());
  auto sha = members.required_string("sha");
  if (!sha) return error_response(sha.error());
  const auto number = parsed_number(request.parameters.at("number"), k_pull_request_max);
  if (!number || *number == 0) {
    return error_response(
        {ErrorCode::invalid_argument,
         "'" + request.parameters.at("number").substr(0, 40) + "' is no pull request's number.",
         {}});
  }
  return show_made(
      context, "approve",
      context.control.execute(asker_of(request),
                              commands::ApprovePullRequest{
                                  request.parameters.at("name"), static_cast<std::int64_t>(*number),
                                  *std::move(sha), *std::move(command_id)}));
}

// ---- commands that change one ----

Response cancel(const Context& context, const Request& request) {
  const DeploymentId id(request.parameters.at("id"));
  const auto cancelled = context.control.execute(asker_of(request), commands::Cancel{id});
  if (!cancelled) return error_response(cancelled.error());
  log_event("api", "cancel_commanded", {{"deployment", id.str()}});
  wait_for_commands(context);
  return show_deployment(context, id, 202);
}

// What answers for the project, or null.
Json live_json_of(const Context& context, const std::string& project) {
  const auto view = context.control.catalog().project_named(project);
  if (!view || !view->live) return nullptr;
  const auto live = context.control.catalog().deployment(*view->live);
  return live ? json_of(*live, context.address) : Json();
}

// After a command that only a live deployment takes. It may have ended in the meantime.
Response show_live(const Context& context, const char* verb, const std::string& project) {
  log_event("api", std::string(verb) + "_commanded", {{"project", project}});
  wait_for_commands(context);
  const auto live = live_json_of(context, project);
  if (live.is_null()) {
    return error_response({ErrorCode::conflict,
                           "What was live of '" + project +
                               "' has ended in the meantime; atlasflow deployments " + project +
                               " shows how.",
                           {}});
  }
  return json_response(live, 202);
}

Response stop(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto stopped = context.control.execute(asker_of(request), commands::StopApp{project});
  return stopped ? show_live(context, "stop", project) : error_response(stopped.error());
}

Response start(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto started = context.control.execute(asker_of(request), commands::StartApp{project});
  return started ? show_live(context, "start", project) : error_response(started.error());
}

Result<std::int32_t> parsed_replicas(const std::string& body) {
  ATLAS_TRY(const auto json, parsed_object(body, "The body"));
  ATLAS_TRY(const auto replicas, Members(json).integer("replicas"));
  const auto wanted = replicas.value_or(0);
  if (wanted < 1 || wanted > k_replicas_max) {
    return fail(ErrorCode::invalid_argument, "'replicas' must be a number from 1 to " +
                                                 std::to_string(k_replicas_max) +
                                                 "; atlasflow stop stops an app.");
  }
  return static_cast<std::int32_t>(wanted);
}

Response scale(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto replicas = parsed_replicas(request.body);
  if (!replicas) return error_response(replicas.error());
  const auto scaled =
      context.control.execute(asker_of(request), commands::Scale{project, *replicas});
  if (!scaled) return error_response(scaled.error());
  log_event("api", "scale_commanded",
            {{"project", project}, {"replicas", *replicas}, {"live", *scaled}});
  wait_for_commands(context);
  Json json;
  json["replicas"] = *replicas;
  json["deployment"] = *scaled ? live_json_of(context, project) : Json();
  return json_response(json, 202);
}

}  // namespace

void add_life_routes(Router& router, const Context& context) {
  const auto add = [&](const char* method, const char* pattern, auto handler) {
    router.add({method, pattern, k_body_bytes_max,
                [&context, handler](const Request& request) { return handler(context, request); }});
  };
  add("POST", "/v1/projects/:name/rollback", roll_back);
  add("POST", "/v1/projects/:name/redeploy", redeploy);
  add("POST", "/v1/projects/:name/restart", restart);
  add("POST", "/v1/projects/:name/pull-requests/:number/approve", approve);
  add("POST", "/v1/projects/:name/stop", stop);
  add("POST", "/v1/projects/:name/start", start);
  add("PUT", "/v1/projects/:name/scale", scale);
  add("POST", "/v1/deployments/:id/promote", promote);
  add("POST", "/v1/deployments/:id/cancel", cancel);
}

}  // namespace atlasflow::api
