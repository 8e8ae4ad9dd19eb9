// What GitHub says of a repository and of its branches' heads. Each answer that has not changed is
// asked for again at no cost (ETag). Blocking, any thread. Sources: docs.github.com, "REST API
// endpoints for repositories" (Get a repository), "REST API endpoints for Git references".
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "github/app_client.hpp"

namespace atlasflow::github {

struct Repository {
  std::int64_t id = 0;  // stays when it is renamed or given away
  RepositoryName name;  // as it is now
  std::string default_branch;
};

// A former name leads there as well. not_found: the App is not installed there, or there is none;
// user_error: something else is to be mended on GitHub, and what.
[[nodiscard]] Result<Repository> repository_of(AppClient& app, const RepositoryName& name,
                                               const std::stop_token& stop);

// The branch's commit; empty when there is no such branch.
[[nodiscard]] Result<std::string> head_of(AppClient& app, const RepositoryName& name,
                                          const std::string& branch, const std::stop_token& stop);

}  // namespace atlasflow::github
