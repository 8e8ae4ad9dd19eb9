// The edge as a process of its own: what runs inside of it, and how the control plane starts one.
// The process outlives the control plane; only a signal, the control socket or a successor ends it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "edge/control/control.pb.h"
#include "edge/control/control_server.hpp"
#include "edge/control/edge_folder.hpp"
#include "edge/control/given_record.hpp"

namespace atlasflow::edge {

// ---- inside ----

class EdgeProcess {
 public:
  // Runs the edge of this state folder as it is told over the socket by who starts it (message
  // Launch), answers there once, and then on its control socket. When who started it has gone by
  // then, the edge ends too, so that nothing runs that nobody knows of. on_stop is called from
  // another thread when the process should end.
  [[nodiscard]] static Result<std::unique_ptr<EdgeProcess>> start(
      const std::filesystem::path& state, int launch_fd, std::function<void()> on_stop);

 private:
  EdgeProcess() = default;
  [[nodiscard]] Result<void> start(const EdgeFolder& folder, std::function<void()> on_stop);
  [[nodiscard]] Result<void> start_fresh();
  [[nodiscard]] Result<void> receive_given(const FileDescriptor& server);
  [[nodiscard]] Result<EdgeInheritance> take_over(const EdgeFolder& folder) const;
  [[nodiscard]] Result<void> retire_before(const EdgeFolder& folder) const;
  [[nodiscard]] Result<void> take_lock(const EdgeFolder& folder);
  [[nodiscard]] Result<void> write_record(const EdgeFolder& folder) const;

  wire::Launch launch_;
  GivenRecord given_;  // came with the launch
  std::mutex lock_mutex_;
  FileDescriptor lock_;
  std::unique_ptr<LocalEdge> edge_;
  std::unique_ptr<ControlServer> control_;  // after the edge that it serves
};

// ---- outside ----

struct StartedEdge {
  ProcessIdentity process;
  FileDescriptor pidfd;
  wire::Status status;
};

// Starts the program in a session of its own, with "--launch-fd 3" as its last arguments and
// nothing of this process but that socket. `given` ends with a page without certificates when
// launch.given_follows, and is empty when not. The error of a process that could not start is
// its own.
[[nodiscard]] Result<StartedEdge> start_edge_process(const EdgeFolder& folder,
                                                     const std::string& program,
                                                     const std::vector<std::string>& arguments,
                                                     const wire::Launch& launch,
                                                     const std::vector<wire::Given>& given);

}  // namespace atlasflow::edge
