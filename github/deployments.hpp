// Deployments on GitHub and their statuses, as the page of a commit shows them. Blocking, any
// thread. Source: docs.github.com, "REST API endpoints for deployments" and "... deployment
// statuses".
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "github/app_client.hpp"

namespace atlasflow::github {

[[nodiscard]] const Permissions& deployment_permissions();

struct NewDeployment {
  std::string id;           // ours: by it the same one is found again
  std::string sha;          // of the commit
  std::string environment;  // as GitHub shows it
  bool is_production = false;
  bool is_transient = false;  // the environment goes with it
};

// The id of GitHub's. One that an earlier call made, and whose answer was lost, is found and not
// made again. user_error: GitHub will not have it, and why; not_found: the App is not installed.
[[nodiscard]] Result<std::int64_t> make_deployment(AppClient& app, const RepositoryName& repository,
                                                   const NewDeployment& order,
                                                   const std::stop_token& stop);

inline constexpr std::size_t k_description_characters_max = 140;

struct NewStatus {
  std::int64_t deployment = 0;  // GitHub's id
  std::string state;            // "queued", "in_progress", "success", "failure", "inactive"
  std::string environment_url;  // empty: none
  std::string description;      // its first 140 characters are shown
};

// Errors as make_deployment.
[[nodiscard]] Result<void> add_status(AppClient& app, const RepositoryName& repository,
                                      const NewStatus& status, const std::stop_token& stop);

// The first characters of a text in UTF-8, "…" in the place of what is left out.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t characters_max);

}  // namespace atlasflow::github
