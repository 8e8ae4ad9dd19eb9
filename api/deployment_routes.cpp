// Deployments: begin one, list them, show one.

#include "api/context.hpp"
#include "api/url.hpp"
#include "base/log.hpp"
#include "events/settings.hpp"

namespace atlasflow::api {
namespace {

constexpr std::uint64_t k_deploy_bytes_max = 4 << 10;
constexpr std::uint64_t k_limit_default = 20;
constexpr std::uint64_t k_limit_max = 1000;
constexpr std::size_t k_command_id_bytes_max = 128;

struct DeployRequest {
  std::optional<std::string> sha;
  std::string command_id;
  bool no_cache = false;
};

Result<DeployRequest> parsed_deploy_request(const std::string& body) {
  ATLAS_TRY(const auto json, parsed_object(body, "The body"));
  const Members members(json);
  ATLAS_TRY(auto sha, members.string("sha"));
  if (sha && !is_commit_sha(*sha)) {
    return fail(ErrorCode::invalid_argument,
                "'sha' must be a full commit id of 40 hex digits in lower case; git rev-parse "
                "prints it.");
  }
  ATLAS_TRY(auto command_id, command_id_of(members));
  ATLAS_TRY(const auto no_cache, members.boolean("no_cache"));
  return DeployRequest{std::move(sha), std::move(command_id), no_cache.value_or(false)};
}

Response deploy(const Context& context, const Request& request) {
  const auto& project = request.parameters.at("name");
  const auto wanted = parsed_deploy_request(request.body);
  if (!wanted) return error_response(wanted.error());
  const auto deployment = context.control.execute(
      asker_of(request),
      commands::Deploy{project, wanted->sha, wanted->command_id, wanted->no_cache});
  if (!deployment) return error_response(deployment.error());
  log_event("api", "deploy_commanded", {{"project", project}, {"deployment", deployment->str()}});
  wait_for_commands(context);
  return show_deployment(context, *deployment, 202);
}

Response list_deployments(const Context& context, const Request& request) {
  std::uint64_t limit = k_limit_default;
  if (const auto* text = request.query_value("limit")) {
    const auto number = parsed_number(*text, k_limit_max);
    if (!number || *number == 0) {
      return error_response(
          {ErrorCode::invalid_argument, "'limit' must be a number from 1 to 1000.", {}});
    }
    limit = *number;
  }
  return response_of(
      project_named(context, request.parameters.at("name")), [&](const storage::ProjectView& view) {
        const auto views = context.control.catalog().deployments_of(view.state.id, limit);
        if (!views) return error_response(views.error());
        Json deployments = Json::array();
        for (const auto& deployment : *views) {
          deployments.push_back(json_of(deployment, context.address));
        }
        Json json;
        json["deployments"] = std::move(deployments);
        return json_response(json);
      });
}

}  // namespace

Result<std::string> command_id_of(const Members& body) {
  auto command_id = body.required_string("command_id");
  if (command_id && command_id->size() > k_command_id_bytes_max) {
    return fail(ErrorCode::invalid_argument, "'command_id' is longer than 128 bytes.");
  }
  return command_id;
}

Response show_deployment(const Context& context, const DeploymentId& id, int status) {
  return response_of(deployment_named(context, id), [&](const storage::DeploymentView& view) {
    return json_response(json_of(view, context.address), status);
  });
}

void add_deployment_routes(Router& router, const Context& context) {
  router.add({"POST", "/v1/projects/:name/deployments", k_deploy_bytes_max,
              [&context](const Request& request) { return deploy(context, request); }});
  router.add({"GET", "/v1/projects/:name/deployments", 0,
              [&context](const Request& request) { return list_deployments(context, request); }});
  router.add({"GET", "/v1/deployments/:id", 0, [&context](const Request& request) {
                return show_deployment(context, DeploymentId(request.parameters.at("id")));
              }});
}

}  // namespace atlasflow::api
