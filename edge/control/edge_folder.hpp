// The edge's files in the state folder, and who runs the edge of that folder. Free functions; any
// thread.
//
// <state>/edge.sock            the control socket; mode 0600
// <state>/edge/lock            held (flock) by the process that is in charge
// <state>/edge/record.json     which process that is; written by itself before it listens
// <state>/edge/edge.log        its log, and edge.log.1 the part before
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <google/protobuf/message.h>
#include <sys/types.h>

#include "base/process_identity.hpp"
#include "edge/proxy/socket.hpp"

namespace atlasflow::edge {

struct EdgeFolder {
  std::filesystem::path state;  // absolute

  [[nodiscard]] std::filesystem::path root() const { return state / "edge"; }
  [[nodiscard]] std::filesystem::path socket() const { return state / "edge.sock"; }
  [[nodiscard]] std::filesystem::path lock() const { return root() / "lock"; }
  [[nodiscard]] std::filesystem::path record() const { return root() / "record.json"; }
  [[nodiscard]] std::filesystem::path log() const { return root() / "edge.log"; }
};

// Whole or not at all, mode 0600.
[[nodiscard]] Result<void> write_json(const std::filesystem::path& path,
                                      const google::protobuf::Message& message);
// False when there is none or it can't be read: then there is nothing to trust.
[[nodiscard]] bool read_json(const std::filesystem::path& path, google::protobuf::Message& message);

// Ended, within the time. For a child this also clears its remains away.
[[nodiscard]] bool wait_for_end(const FileDescriptor& process, pid_t pid,
                                std::chrono::milliseconds at_most);

// Who is on record and runs.
[[nodiscard]] std::optional<ProcessIdentity> recorded_process(const EdgeFolder& folder);

// That one last, and before it those that still retire.
[[nodiscard]] std::vector<ProcessIdentity> recorded_processes(const EdgeFolder& folder);

// Ends the edge that is on record, and those that still retire, for a machine that is to be quiet;
// the pid, 0 when none ran.
[[nodiscard]] Result<pid_t> end_edge(const std::filesystem::path& state);

}  // namespace atlasflow::edge
