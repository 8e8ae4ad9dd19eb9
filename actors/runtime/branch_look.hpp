// A push that says less than a host's own webhook does: where the branch stands is asked of the
// project's remote, and of no other. The order of such looks is kept by their turns: what one look
// saw is recorded before the next one begins. Any thread that is not an actor's; blocking.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "actors/runtime/engines.hpp"
#include "base/error.hpp"
#include "events/push.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::actors {

// Who looks at a project's branches: one at a time of each project. It outlives the turns.
class BranchLooks {
 public:
  explicit BranchLooks(std::chrono::milliseconds patience = std::chrono::seconds(8))
      : patience_(patience) {}

  // Held by whoever looks, until what was seen is recorded.
  class Turn {
   public:
    Turn(BranchLooks& looks, std::string project) : looks_(&looks), project_(std::move(project)) {}
    ~Turn();
    Turn(Turn&& other) noexcept
        : looks_(std::exchange(other.looks_, nullptr)), project_(std::move(other.project_)) {}
    Turn& operator=(Turn&&) = delete;

   private:
    BranchLooks* looks_;
    std::string project_;
  };

  // unavailable: somebody else has it for longer than the patience, or too many are asking. A
  // host's webhook waits for some 10 s, and remotes that hang may not hold more than a few of the
  // webhooks' connections.
  [[nodiscard]] Result<Turn> take(const std::string& project);

 private:
  std::chrono::milliseconds patience_;
  std::mutex mutex_;
  std::condition_variable given_back_;
  std::set<std::string> taken_;
  std::size_t waiting_ = 0;
};

// How long a remote may take to say where a branch stands: whoever sent a webhook waits for some
// 10 s, and a person for longer.
inline constexpr std::chrono::milliseconds k_webhook_look_max = std::chrono::seconds(8);
inline constexpr std::chrono::milliseconds k_person_look_max = std::chrono::seconds(30);

// Whether its commit must be asked of the remote, or which branch is the default one.
[[nodiscard]] bool needs_look(const ProjectState& project, const Push& push);

// Sets what the push did not say: the default branch, ref and commit and, in `before`, the commit
// that was known before the look, so that a push that is recorded meanwhile is noticed. Where both
// the default branch and another one are asked for, that takes `at_most` all the same. Answers why
// nothing follows, as a sentence; empty: it is to be recorded. unavailable: the remote did not say
// it in time.
[[nodiscard]] Result<std::string> look_at_branch(
    const ProjectState& project, const storage::Catalog& catalog, BuildEngine& engine, Push& push,
    std::chrono::milliseconds at_most = k_webhook_look_max);

}  // namespace atlasflow::actors
