#include "events/missed_push.hpp"

#include <algorithm>

namespace atlasflow {

void take_newer(KnownHeads& heads, const pb::PushReceived& push) {
  if (push.has_pull_request()) return;
  auto& known = heads[push.environment()];
  if (push.trigger() != pb::TRIGGER_WEBHOOK) {
    std::erase(known.newest_commanded, push.after());
    known.newest_commanded.push_back(push.after());
    if (known.newest_commanded.size() > k_commanded_max) known.newest_commanded.pop_front();
    return;
  }
  known.ref = push.ref();
  known.commit = push.after();
  known.inferred = push.inferred_at_s() != 0;
  known.at_s = known.inferred ? push.inferred_at_s() : push.pushed_at_s();
  known.newest_commanded.clear();
}

bool is_known(const KnownHead& head, const std::string& commit) {
  return commit == head.commit ||
         std::ranges::find(head.newest_commanded, commit) != head.newest_commanded.end();
}

std::optional<MissedPush> SeenHeads::look(const ProjectId& project, const KnownHead& known,
                                          const SeenHead& seen) {
  bool is_beginning = false;
  if (known.ref != seen.ref) {
    auto& first = beginnings_.try_emplace(project, seen).first->second;
    if (first.ref != seen.ref) first = seen;
    is_beginning = first.commit == seen.commit;
  }
  if (is_known(known, seen.commit) || is_beginning) {
    doubts_.erase(project);
    return std::nullopt;
  }
  const auto doubt = doubts_.find(project);
  const bool seen_before = doubt != doubts_.end() && doubt->second.known == known.commit &&
                           doubt->second.first.ref == seen.ref &&
                           doubt->second.first.commit == seen.commit;
  if (!seen_before) {
    doubts_.erase(project);
    // In the second of the newest push nobody can tell which of the two came first.
    if (seen.at_s > known.at_s) doubts_[project] = {seen, known.commit};
    return std::nullopt;
  }
  if (seen.at_s - doubt->second.first.at_s < pause_s_) return std::nullopt;
  return MissedPush{known.commit, doubt->second.first.at_s};
}

void SeenHeads::keep(const std::set<ProjectId>& projects) {
  const auto is_other = [&](const auto& each) { return !projects.contains(each.first); };
  std::erase_if(doubts_, is_other);
  std::erase_if(beginnings_, is_other);
}

Push inferred_push(const ProjectState& project, const SeenHead& seen, const MissedPush& missed) {
  Push push;
  push.repository_urls = {project.repository_url};
  push.repository_id = project.repository_id;
  constexpr std::string_view k_heads = "refs/heads/";
  push.default_branch = seen.ref.substr(k_heads.size());
  push.ref = seen.ref;
  push.before = missed.before;
  push.after = seen.commit;
  push.inferred_at_s = missed.since_s;
  push.delivery_id = "inferred-" + std::to_string(missed.since_s) + "-" + seen.commit;
  push.signed_for = {project.name};
  return push;
}

}  // namespace atlasflow
