// Compares the head of each project's branch, as GitHub has it, with the newest push that is known:
// a push that no delivery told of is deployed all the same, and a repository that was renamed is
// followed. At a start and every few minutes; what has not changed costs nothing of GitHub's limit.
// Owned by the composition root; a thread of its own.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "actors/runtime/control_plane.hpp"
#include "events/missed_push.hpp"
#include "github/connected_app.hpp"

namespace atlasflow::server {

// What stands between GitHub and the projects, as the last look found it; for `atlasflow status`.
// Any thread.
class GitHubHealth {
 public:
  // Each a sentence that says what to do.
  void set(std::vector<std::string> problems);
  void forget();  // no App is connected
  // "github", once it is known.
  [[nodiscard]] std::vector<actors::ControlPlane::PartStatus> parts() const;

 private:
  mutable std::mutex mutex_;  // guards what follows
  bool known_ = false;
  std::vector<std::string> problems_;
};

struct HeadWatchTimes {
  std::chrono::milliseconds interval{3 * 60 * 1000};  // between two looks
  std::int64_t pause_s = k_head_pause_s;              // before a head that is not known is believed
};

// Repositories that one look asks for; what is beyond comes with the next look.
inline constexpr std::size_t k_heads_max = 100;

class HeadWatch {
 public:
  // All of them must outlive it. While looks fail the pauses between them double, up to 16
  // intervals, unless another App is connected.
  HeadWatch(actors::ControlPlane& control, github::ConnectedApp& connected, GitHubHealth& health,
            HeadWatchTimes times = {});

 private:
  std::jthread thread_;  // stopped and joined by its destructor
};

}  // namespace atlasflow::server
