// Pushes that nobody told of: a branch's head, as its host has it, is compared with the newest push
// that is known. A delivery may only be late, and a host's answer minutes old, so a head counts as
// missed once it was seen twice with a pause in between. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "events/environment.hpp"
#include "events/fields.hpp"
#include "events/push.hpp"

namespace atlasflow {

// What is known of the branch of one environment, which is production unless it is said.
struct KnownHead {
  std::string ref;
  std::string commit;     // of its newest push; empty: none is known
  std::int64_t at_s = 0;  // when that was pushed, or found; 0: unknown
  bool inferred = false;  // nobody told of it
  // The newest commits that somebody had deployed since, oldest first; bounded.
  std::deque<std::string> newest_commanded;
};
ATLAS_FIELDS(KnownHead, ref, commit, at_s, inferred, newest_commanded)

inline constexpr std::size_t k_commanded_max = 100;
// Whether it is the newest push's, or was deployed since.
[[nodiscard]] bool is_known(const KnownHead& head, const std::string& commit);

// By environment, without those of pull requests, which are no branches of the repository.
using KnownHeads = std::map<std::string, KnownHead, std::less<>>;
// Takes what a project's deployments were made of, as they are made.
void take_newer(KnownHeads& heads, const pb::PushReceived& push);

// The head as the branch's host tells it. at_s: by the host's clock, once the answer was there.
struct SeenHead {
  std::string ref;  // "refs/heads/main"
  std::string commit;
  std::int64_t at_s = 0;
};

struct MissedPush {
  std::string before;        // the newest commit that is known
  std::int64_t since_s = 0;  // when the head was first seen
};

inline constexpr std::int64_t k_head_pause_s = 60;

// What was seen of the projects' branches. It begins anew with each start of the server.
class SeenHeads {
 public:
  explicit SeenHeads(std::int64_t pause_s = k_head_pause_s) : pause_s_(pause_s) {}

  // Set when the push of that head was missed; again at each look until it is known.
  [[nodiscard]] std::optional<MissedPush> look(const ProjectId& project, const KnownHead& known,
                                               const SeenHead& seen);
  // Whether a second look is to tell what became of a head.
  [[nodiscard]] bool is_in_doubt() const { return !doubts_.empty(); }
  // The project's branch can't be seen just now.
  void lose_sight_of(const ProjectId& project) { doubts_.erase(project); }
  // Forgets all others.
  void keep(const std::set<ProjectId>& projects);

 private:
  struct Doubt {
    SeenHead first;
    std::string known;  // the commit that was then
  };
  std::int64_t pause_s_;
  std::map<ProjectId, Doubt> doubts_;
  // Of projects whose branch no push is known of: nobody wants what was there before the project.
  std::map<ProjectId, SeenHead> beginnings_;
};

// As it is told to the control plane.
[[nodiscard]] Push inferred_push(const ProjectState& project, const SeenHead& seen,
                                 const MissedPush& missed);

}  // namespace atlasflow
