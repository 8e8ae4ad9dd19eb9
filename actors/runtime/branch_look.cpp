#include "actors/runtime/branch_look.hpp"

#include <optional>
#include <string_view>

#include "events/environment.hpp"

namespace atlasflow::actors {
namespace {

constexpr std::string_view k_heads = "refs/heads/";
// Who looks or waits for a turn, of the 64 connections that webhooks share.
constexpr std::size_t k_asking_max = 16;
// With less left of a look the remote is not asked once more.
constexpr std::chrono::milliseconds k_look_min = std::chrono::seconds(1);

std::string branch_in(const std::string& ref) {
  return ref.starts_with(k_heads) ? ref.substr(k_heads.size()) : ref;
}

}  // namespace

BranchLooks::Turn::~Turn() {
  if (looks_ == nullptr) return;
  {
    const std::lock_guard lock(looks_->mutex_);
    looks_->taken_.erase(project_);
  }
  looks_->given_back_.notify_all();
}

Result<BranchLooks::Turn> BranchLooks::take(const std::string& project) {
  std::unique_lock lock(mutex_);
  if (taken_.size() + waiting_ >= k_asking_max) {
    return fail(ErrorCode::unavailable,
                "too many repositories are being asked for their branches; send it again in a "
                "moment");
  }
  ++waiting_;
  const bool is_free =
      given_back_.wait_for(lock, patience_, [&] { return !taken_.contains(project); });
  --waiting_;
  if (!is_free) {
    return fail(ErrorCode::unavailable, "the repository of project '" + project +
                                            "' is being asked for its branch and does not answer; "
                                            "send it again in a moment");
  }
  taken_.insert(project);
  return Turn(*this, project);
}

bool needs_look(const ProjectState& project, const Push& push) {
  if (push.after.empty()) return true;
  // Of a tag it does not matter which branch is deployed.
  const bool may_be_branch = push.ref.empty() || push.ref.starts_with(k_heads);
  return project.branch.empty() && push.default_branch.empty() && may_be_branch;
}

Result<std::string> look_at_branch(const ProjectState& project, const storage::Catalog& catalog,
                                   BuildEngine& engine, Push& push,
                                   std::chrono::milliseconds at_most) {
  const auto end = std::chrono::steady_clock::now() + at_most;
  // Before the look: what comes meanwhile is newer than what is known now.
  auto known = catalog.known_head(project.id);
  std::optional<ResolvedRef> head;
  auto deployed = project.branch.empty() ? push.default_branch : project.branch;
  if (deployed.empty()) {
    ATLAS_TRY(head, engine.resolve(project, "", at_most));
    deployed = branch_in(head->ref);
    push.default_branch = deployed;
  }
  if (push.ref.empty()) push.ref = std::string(k_heads) + deployed;
  if (!push.after.empty()) return std::string();
  const auto branch = branch_in(push.ref);
  if (branch != deployed) {
    const auto target = target_of(project, push);
    if (target.environment.empty()) return target.reason;
    known = catalog.known_head(project.id, target.environment);
    head.reset();
  }
  if (!head) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left < k_look_min) {
      return fail(ErrorCode::unavailable,
                  project.repository_url +
                      " did not say in time where its branches stand; try again in a moment");
    }
    ATLAS_TRY(head, engine.resolve(project, branch, left));
  }
  push.after = head->sha;
  push.before = known.commit;
  if (!is_known(known, push.after)) return std::string();
  return "commit " + push.after.substr(0, 7) + " is known: nothing was pushed since";
}

}  // namespace atlasflow::actors
