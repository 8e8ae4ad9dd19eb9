// What every route's handler may use. Owned by the Api, constant once it has started; any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "actors/runtime/control_plane.hpp"
#include "api/json.hpp"
#include "api/router.hpp"

namespace atlasflow::api {

class GitHubSetup;

struct Context {
  actors::ControlPlane& control;
  PublicAddress address;
  std::filesystem::path log_folder;
  std::string server_webhook_secret;                                            // empty: none
  std::function<std::filesystem::path(const std::string& project)> access_log;  // unset: nowhere
  std::function<void()> project_deleted = {};  // told after it; unset: nobody wants to know
};

// Who asks: whoever may open the API's socket is a user of it, and there is no other way to ask.
[[nodiscard]] inline Principal asker_of(const Request& /*request*/) { return Principal::user(); }

// The project of that name, or the not_found that every route answers with.
[[nodiscard]] Result<storage::ProjectView> project_named(const Context& context,
                                                         const std::string& name);
[[nodiscard]] Result<storage::DeploymentView> deployment_named(const Context& context,
                                                               const DeploymentId& id);

// {"command_id":"…"}: what makes a repeated command one deployment. invalid_argument: missing, or
// longer than 128 bytes.
[[nodiscard]] Result<std::string> command_id_of(const Members& body);

// The deployment as it stands, or the not_found that every route answers with.
[[nodiscard]] Response show_deployment(const Context& context, const DeploymentId& id,
                                       int status = 200);

// Waits for the read model to show what a command has just made durable.
void wait_for_commands(const Context& context);

[[nodiscard]] Response json_response(const Json& json, int status = 200);
// An error response when the result is none, else what `make` makes of its value.
template <typename T, typename Make>
[[nodiscard]] Response response_of(const Result<T>& result, Make make) {
  return result ? make(*result) : error_response(result.error());
}

// The routes by subject. The context must outlive the router.
void add_project_routes(Router& router, const Context& context);
void add_repository_routes(Router& router, const Context& context);
void add_deployment_routes(Router& router, const Context& context);
void add_life_routes(Router& router, const Context& context);
void add_log_routes(Router& router, const Context& context);
void add_event_routes(Router& router, const Context& context);
// The setup must outlive the router.
void add_github_routes(Router& router, GitHubSetup& setup);
// Those of the manifest's way, for a browser.
void add_github_pages(Router& router, GitHubSetup& setup);
void add_domain_routes(Router& router, const Context& context);
// Certificates of domains that are nearer to their end than they should be, for the status.
[[nodiscard]] Json expiring_certificates(const Context& context);

}  // namespace atlasflow::api
