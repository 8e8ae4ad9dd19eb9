// The edge in a process of its own, as the control plane sees it. The process outlives this object
// and whoever owns it: attaching finds a running one and changes nothing of what it serves. Owned
// by the composition root; the calls may come from any thread, each ends within its time. A thread
// of its own watches the process.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "edge/edge.hpp"

namespace atlasflow::edge {

struct AttachConfig {
  EdgeConfig edge;
  std::filesystem::path state;         // absolute; edge_folder.hpp says what is made in it
  std::string build_id;                // of the program below
  std::string program;                 // is started for an edge process
  std::vector<std::string> arguments;  // from its own name on; "--launch-fd N" is added
  // How long a call waits for its answer; a drain so much longer than its own deadline. Above the
  // 10 s that a publish waits for slow workers.
  std::chrono::milliseconds call_timeout{12'000};
};

// Adopts the edge that runs over this state folder when it has the same configuration and build;
// replaces one that differs, handing over listeners and routes, so that no visitor notices; ends
// one that does not answer; starts one when there is none. Then keeps one running: one that dies is
// started again, and gets the newest table and own route that were in force. While there is no
// answer, calls fail as unavailable.
[[nodiscard]] Result<std::unique_ptr<Edge>> attach_edge(AttachConfig config);

}  // namespace atlasflow::edge
