// Tells GitHub of each deployment what became of it: a projection over the log with a thread of its
// own, so no deployment waits for it. What GitHub was told is recorded; whoever dies in between
// tells it again, and GitHub's deployment is found by ours and not made twice. Owned by the
// composition root.
#pragma once

#include <chrono>
#include <thread>

#include "actors/runtime/control_plane.hpp"
#include "api/json.hpp"
#include "github/connected_app.hpp"

namespace atlasflow::server {

class GitHubReporter {
 public:
  // control and connected must outlive it. Looks at the log each interval. After a failure a
  // project's reports wait for 5 s, then twice as long each time, up to 5 minutes; those of other
  // projects go on. A comment that fails waits alone.
  GitHubReporter(actors::ControlPlane& control, github::ConnectedApp& connected,
                 api::PublicAddress address,
                 std::chrono::milliseconds interval = std::chrono::seconds(1),
                 std::chrono::milliseconds pause = std::chrono::seconds(5));

 private:
  std::jthread thread_;  // stopped and joined by its destructor
};

}  // namespace atlasflow::server
