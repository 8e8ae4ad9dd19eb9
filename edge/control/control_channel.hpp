// The control connection to the edge's process: a unix socket, messages with their length before
// them, and a deadline on every wait. Free functions; any thread, one at a time per socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <vector>

#include <google/protobuf/message_lite.h>

#include "edge/proxy/socket.hpp"

namespace atlasflow::edge {

// Raised by a change of control.proto that an older side cannot live with.
inline constexpr std::uint32_t k_control_version = 1;

using Deadline = std::chrono::steady_clock::time_point;

// A listener of mode 0600 that takes the place of whatever had the name before, at once: nobody
// finds the name missing. Clear it away with unlink.
[[nodiscard]] Result<FileDescriptor> listen_control(const std::filesystem::path& path);

// unavailable: nobody listens there.
[[nodiscard]] Result<FileDescriptor> connect_control(const std::filesystem::path& path);

// unavailable: the other side has gone, or the deadline passed. At most 16 MiB.
[[nodiscard]] Result<void> send_message(const FileDescriptor& socket,
                                        const google::protobuf::MessageLite& message,
                                        Deadline deadline);
// corrupt: what came is no such message.
[[nodiscard]] Result<void> receive_message(const FileDescriptor& socket,
                                           google::protobuf::MessageLite& message,
                                           Deadline deadline);

// Hello both ways. conflict: the other side speaks another version.
[[nodiscard]] Result<void> exchange_hello(const FileDescriptor& socket, Deadline deadline);

// Copies of open descriptors (SCM_RIGHTS, unix(7)); at most 200 per call.
[[nodiscard]] Result<void> send_descriptors(const FileDescriptor& socket,
                                            const std::vector<int>& descriptors, Deadline deadline);
[[nodiscard]] Result<std::vector<FileDescriptor>> receive_descriptors(const FileDescriptor& socket,
                                                                      std::size_t count,
                                                                      Deadline deadline);

}  // namespace atlasflow::edge
