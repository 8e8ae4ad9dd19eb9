#include "api/push_intake.hpp"

#include <algorithm>
#include <chrono>

#include "api/random.hpp"
#include "base/digest.hpp"
#include "base/log.hpp"
#include "events/push.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view k_heads = "refs/heads/";
constexpr std::string_view k_tags = "refs/tags/";
constexpr std::size_t k_recorded_max = 100;  // refs of one push that something follows from
constexpr std::size_t k_lines_max = 40;
constexpr std::size_t k_id_bytes = 16;
constexpr auto k_turn_patience = 1s;  // of who comes again soon

std::string short_name(const std::string& ref) {
  for (const auto prefix : {k_heads, k_tags}) {
    if (ref.starts_with(prefix)) return ref.substr(prefix.size());
  }
  return ref;
}

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string short_sha(const std::string& sha) { return sha.substr(0, 7); }

Push push_of(const ProjectState& project, const receive::PendingPush& pending,
             const receive::RefChange& change) {
  Push push;
  push.repository_urls = {project.repository_url};
  push.default_branch = project.branch;
  push.ref = change.ref;
  push.before = change.before;
  push.after = change.after;
  push.deleted = change.after == receive::k_no_commit;
  push.forced = change.forced;
  push.pushed_at_s = pending.at_s;
  push.delivery_id = pending.id + "/" + change.ref;
  push.pusher = pending.pusher;
  return push;
}

std::string sentence_of(const actors::PushReceipt& receipt, const receive::RefChange& change) {
  const auto what = change.after == receive::k_no_commit
                        ? short_name(change.ref)
                        : short_name(change.ref) + " at " + short_sha(change.after);
  if (receipt.verdict == actors::PushReceipt::Verdict::ignored) return what + ": " + receipt.reason;
  return what + " is deployment " + receipt.deployment.str() + " of " + receipt.project +
         (change.forced ? ", by force" : "") + "; follow it with 'atlasflow logs " +
         receipt.deployment.str() + " --build -f'";
}

}  // namespace

Result<void> PushIntake::record(const ProjectState& project, const receive::PendingPush& pending,
                                const receive::RefChange& change, PushOutcome& outcome) const {
  auto push = push_of(project, pending, change);
  const auto target = target_of(project, push);
  if (target.environment.empty() && !target.ends_preview) {
    // Nothing follows from it later either, so it is no event.
    outcome.lines.push_back(target.reason + (push.deleted ? "" : "; it is kept"));
    return {};
  }
  ATLAS_TRY(const auto receipts,
            context_.control.execute(Principal::webhook("push"),
                                     commands::TakeProjectPush{project.name, std::move(push)}));
  for (const auto& receipt : receipts) {
    outcome.lines.push_back(sentence_of(receipt, change));
    if (!receipt.deployment.empty()) outcome.deployments.push_back(receipt.deployment);
    log_event("api", "pushed",
              {{"project", project.name},
               {"ref", change.ref},
               {"commit", change.after},
               {"deployment", receipt.deployment.str()},
               {"reason", receipt.reason}});
  }
  return {};
}

Result<ProjectState> PushIntake::project(const ProjectId& id) const {
  if (auto view = context_.control.catalog().project(id); view && view->state.exists()) {
    return std::move(view->state);
  }
  return fail(ErrorCode::not_found, "the project was deleted; nothing follows from a push to it");
}

Result<void> PushIntake::begin(const ProjectState& project, const std::string& pusher,
                               const std::stop_token& stop) const {
  receive::PendingPush pending{to_hex(random_bytes(k_id_bytes)), pusher, now_s(), {}, {}};
  ATLAS_TRY(auto seen, look_at(project, pending.only, stop));
  pending.before = std::move(seen.refs);
  return receive::write_pending(repositories_.pending_file(project.id.str()), pending);
}

// only: not empty any more where there are too many to look at all of them.
Result<receive::RefsSeen> PushIntake::look_at(const ProjectState& project, std::string& only,
                                              const std::stop_token& stop) const {
  const auto path = receive::repository_path(repositories_.root(), project.id.str());
  const auto& bounds = repositories_.bounds();
  auto seen = receive::read_refs(path, only, bounds, stop);
  if (seen || seen.error().code != ErrorCode::too_large || !only.empty()) return seen;
  only = std::string(k_heads) + project.branch;
  return receive::read_refs(path, only, bounds, stop);
}

// By what the push began with, and what the repository has become.
Result<std::vector<receive::RefChange>> PushIntake::changes_of(const ProjectState& project,
                                                               receive::PendingPush pending,
                                                               PushOutcome& outcome,
                                                               const std::stop_token& stop) const {
  const bool has_all_before = pending.only.empty();
  ATLAS_TRY(const auto after, look_at(project, pending.only, stop));
  if (has_all_before && !pending.only.empty()) {
    std::erase_if(pending.before, [&](const auto& ref) { return ref.first != pending.only; });
  }
  if (!pending.only.empty()) {
    outcome.lines.push_back(
        "the repository has too many branches and tags to look at all: of this push only '" +
        short_name(pending.only) + "' was looked at; remove some of them");
  }
  if (after.has_nameless) {
    outcome.lines.emplace_back(
        "branches and tags whose names are no UTF-8 are kept, and nothing follows from them");
  }
  return receive::changes_between(pending.before, after.refs);
}

Result<PushOutcome> PushIntake::settle(const ProjectId& id, const std::stop_token& stop) const {
  ATLAS_TRY(const auto project, this->project(id));
  const auto file = repositories_.pending_file(id.str());
  PushOutcome outcome;
  const auto read = receive::read_pending(file);
  if (!read && read.error().code == ErrorCode::corrupt) {
    log_event(LogLevel::error, "api", "pending_push_unreadable",
              {{"project", project.name}, {"error", to_string(read.error())}});
    ATLAS_TRYV(receive::remove_pending(file));
    return outcome;
  }
  if (!read) return tl::unexpected(read.error());
  if (!*read) return outcome;
  const auto& pending = **read;
  const auto path = receive::repository_path(repositories_.root(), id.str());
  ATLAS_TRY(auto changes, changes_of(project, pending, outcome, stop));
  // Production's comes first: it is what the pusher waits for.
  std::ranges::stable_partition(changes, [&](const receive::RefChange& change) {
    return change.ref == std::string(k_heads) + project.branch;
  });
  std::size_t recorded = 0;
  for (auto& change : changes) {
    const bool is_branch = change.ref.starts_with(k_heads);
    if (is_branch && ++recorded > k_recorded_max) {
      outcome.lines.push_back("more than " + std::to_string(k_recorded_max) +
                              " branches were pushed at once; of the others nothing follows");
      break;
    }
    if (is_branch) {
      ATLAS_TRY(change.forced, receive::was_forced(path, change, repositories_.bounds(), stop));
    }
    ATLAS_TRYV(record(project, pending, change, outcome));
  }
  ATLAS_TRYV(receive::remove_pending(file));
  if (outcome.lines.size() > k_lines_max) {
    const auto more = outcome.lines.size() - k_lines_max;
    outcome.lines.resize(k_lines_max);
    outcome.lines.push_back("and " + std::to_string(more) + " more");
  }
  return outcome;
}

bool PushIntake::look_after(const std::string& id, const std::stop_token& stop) const {
  const auto turn = repositories_.take(id, k_turn_patience);
  if (!turn) return false;
  const auto view = context_.control.catalog().project(ProjectId(id));
  if (!view || !view->state.exists()) {
    const auto removed = repositories_.remove(id);
    log_event(removed ? LogLevel::info : LogLevel::warn, "api", "repository_removed",
              {{"project", view ? view->state.name : id},
               {"result", removed ? std::string("ok") : to_string(removed.error())}});
    return removed.has_value();
  }
  const auto settled = settle(view->state.id, stop);
  if (!settled) {
    log_event(LogLevel::warn, "api", "push_not_recorded",
              {{"project", view->state.name}, {"error", to_string(settled.error())}});
  }
  return settled.has_value();
}

bool PushIntake::look_after(const std::stop_token& stop) const {
  // A project that the read model does not know yet is not gone.
  if (!context_.control.catalog().wait_for(context_.control.log().last_position(), 5s)) {
    return false;
  }
  bool is_done = true;
  for (const auto& id : repositories_.ids()) {
    if (stop.stop_requested()) return false;
    is_done = look_after(id, stop) && is_done;
  }
  return is_done;
}

}  // namespace atlasflow::api
