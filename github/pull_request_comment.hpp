// The one comment on a pull request that tells of its preview, edited in place. Blocking, any
// thread. Source: docs.github.com, "REST API endpoints for issue comments", as a pull request is an
// issue there.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "github/app_client.hpp"

namespace atlasflow::github {

[[nodiscard]] const Permissions& comment_permissions();

struct PullRequestComment {
  std::int64_t pull_request = 0;  // its number
  std::string mark;  // what it is found by when nobody knows its id: "web/7", no two have the same
  std::string text;  // in GitHub's Markdown
};

// GitHub's id of it. known: the id, 0: it is looked for, and made when there is none; another is
// made for one that was deleted. Nobody else's comment is ever changed. Errors as of a status.
[[nodiscard]] Result<std::int64_t> put_comment(AppClient& app, const RepositoryName& repository,
                                               const PullRequestComment& comment,
                                               std::int64_t known, const std::stop_token& stop);

// A text as Markdown shows it as it is: on one line, and without what would be a mention, a tag or
// a table's column.
[[nodiscard]] std::string plain_markdown(const std::string& text);

}  // namespace atlasflow::github
