// Which process it is, beyond its number: what outlives this server is on record with its pid, its
// start time and the host's boot id, and is believed only with all three. So nobody has to look
// through the machine's processes for his own. Free functions, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow {

// A pid is reused; a pid with the moment of its start is not, within one boot of the host.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // clock ticks since boot, field 22 of /proc/PID/stat (proc(5))
  std::string boot_id = {};       // /proc/sys/kernel/random/boot_id
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

// Of this boot of the host; "unknown" where /proc does not tell.
[[nodiscard]] const std::string& host_boot_id();

// Nothing when there is no such process, or only its zombie.
[[nodiscard]] std::optional<ProcessIdentity> identify_process(pid_t pid);

[[nodiscard]] bool is_running(const ProcessIdentity& process);

// Clears the zombie of a child of this process away, when it is that process's and nobody else's.
void reap(const ProcessIdentity& process);

// A pidfd: refers to that very process from then on, and is readable once it has ended. Invalid
// when it is gone.
[[nodiscard]] FileDescriptor open_process(const ProcessIdentity& process);

// Whether the process of the pidfd ends within the time; it may be a zombie then.
[[nodiscard]] bool wait_for_end(const FileDescriptor& pidfd, std::chrono::milliseconds at_most);

inline constexpr std::chrono::milliseconds k_kill_limit{5'000};

// SIGTERM, and SIGKILL when that had no effect within the grace; zero: SIGKILL at once. A child of
// this process is reaped. timed_out: nor had that, within kill_limit. unavailable: no descriptor
// was left to reach it by, so nothing was done.
[[nodiscard]] Result<void> end_process(const ProcessIdentity& process,
                                       std::chrono::milliseconds grace,
                                       std::chrono::milliseconds kill_limit = k_kill_limit);

// What it was started with, joined by single spaces; empty when it is gone. Nobody's business but
// that of who started it.
[[nodiscard]] std::string command_line_of(const ProcessIdentity& process);

// State ('R', 'S', 'Z', …) and start time of a line of /proc/PID/stat; nothing when it is none.
struct ProcessStat {
  char state = '?';
  std::uint64_t start_ticks = 0;
};
[[nodiscard]] std::optional<ProcessStat> parse_process_stat(std::string_view line);

}  // namespace atlasflow
