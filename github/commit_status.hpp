// The status of a commit, as its page and a pull request's list of checks show it. Blocking, any
// thread. Source: docs.github.com, "REST API endpoints for commit statuses".
#pragma once

#include <stop_token>
#include <string>

#include "github/app_client.hpp"

namespace atlasflow::github {

[[nodiscard]] const Permissions& commit_status_permissions();

struct CommitStatus {
  std::string sha;
  std::string state;    // "pending", "success", "failure", "error"
  std::string context;  // whose word it is: the newest of one context counts
  std::string target_url;
  std::string description;  // its first 140 characters are shown
};

// user_error: GitHub will not have it, and why; not_found: the App is not installed.
[[nodiscard]] Result<void> set_commit_status(AppClient& app, const RepositoryName& repository,
                                             const CommitStatus& status,
                                             const std::stop_token& stop);

}  // namespace atlasflow::github
