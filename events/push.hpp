// A push as one value, from its sender's words to the event: what a webhook or a command says of
// it, the same for every project that it is for. Plain data, any thread. Each member has a default,
// so that a designated initialiser names just what there is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "events/event.pb.h"
#include "events/project.hpp"

namespace atlasflow {

// What a delivery tells of a pull request: how it stood then.
struct PullRequestNews {
  pb::PullRequestHead head = {};
  bool is_open = true;
  bool merged = false;
  bool is_first = false;  // it tells that the pull request was opened, so nothing came before
};

struct Push {
  pb::Trigger trigger = pb::TRIGGER_WEBHOOK;
  std::vector<std::string> repository_urls = {};  // every way the sender writes the repository
  std::int64_t repository_id = 0;                 // GitHub's; 0: unknown
  std::string default_branch = {};                // as the sender tells it; empty: unknown
  std::string ref = {};                           // "refs/heads/main"
  std::string before = {};  // 40 hex digits; zeros: a new branch; empty: unknown
  std::string after = {};   // the commit: 40 hex digits
  bool deleted = false;
  bool forced = false;
  std::int64_t pushed_at_s = 0;  // when the sender says it was pushed, in s since 1970; 0: unknown
  std::int64_t inferred_at_s = 0;  // since when it is known to be the branch's head; 0: it was told
  // X-GitHub-Delivery or what another host has for it, or the id of the command.
  std::string delivery_id = {};
  std::string pusher = {};
  bool no_cache = false;  // its build takes no layer of an earlier one
  // Its sender tells where the branch stands and not what it replaced: of a commit that is the
  // newest known one nothing follows, under whatever delivery_id it comes.
  bool only_news = false;
  Principal by = {};  // who tells of it
  // Set: no branch was pushed to. `ref` is refs/pull/<number>/head, which the repository has of
  // forks, too; `after` the commit at its head.
  std::optional<PullRequestNews> pull_request = std::nullopt;
  // Names of the projects that the delivery's signature speaks for. Empty: those without a webhook
  // secret of their own. Every other project connected to the repository is left alone.
  std::vector<std::string> signed_for = {};
};

// Where a push belongs.
struct PushTarget {
  std::string environment = {};  // to deploy to; empty: none
  bool ends_preview = false;     // the branch of a preview is gone
  std::string reason = {};       // why it is neither, as a sentence
};
// The project's branch is production, another one a preview where the project has previews; what a
// command names is production whatever its branch.
[[nodiscard]] PushTarget target_of(const ProjectState& project, const Push& push);

// What is recorded of it: the deployment that it makes, that it makes none, or that its branch is
// gone.
[[nodiscard]] pb::PushReceived push_received(const Push& push, const ProjectState& project,
                                             const std::string& environment);
[[nodiscard]] pb::PushIgnored push_ignored(const Push& push, const std::string& reason);
[[nodiscard]] pb::BranchDeleted branch_deleted(const Push& push);
[[nodiscard]] pb::PullRequestClosed pull_request_closed(const Push& push);
[[nodiscard]] pb::PullRequestHeld pull_request_held(const Push& push);

}  // namespace atlasflow
