#include "base/process_identity.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow {
namespace {

constexpr std::uint64_t k_stat_bytes_max = 4'096;
constexpr std::uint64_t k_command_line_bytes_max = 4'194'304;  // what execve(2) lets through

std::string proc_path(pid_t pid, const char* name) {
  return "/proc/" + std::to_string(pid) + "/" + name;
}

std::optional<ProcessStat> stat_of(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  const auto line = read_file(proc_path(pid, "stat"), k_stat_bytes_max);
  return line ? parse_process_stat(*line) : std::nullopt;
}

bool is_over(const ProcessStat& stat) { return stat.state == 'Z' || stat.state == 'X'; }

}  // namespace

const std::string& host_boot_id() {
  static const std::string k_boot_id = [] {
    auto text = read_file("/proc/sys/kernel/random/boot_id", 256).value_or("");
    std::erase(text, '\n');
    return text.empty() ? "unknown" : text;
  }();
  return k_boot_id;
}

std::optional<ProcessStat> parse_process_stat(std::string_view line) {
  constexpr int k_state_field = 3;
  constexpr int k_start_field = 22;
  // proc(5): the name in field 2 may hold blanks and parentheses; fields after it do not.
  const std::size_t close = line.rfind(')');
  if (close == std::string_view::npos || close + 2 >= line.size()) return std::nullopt;
  line.remove_prefix(close + 2);
  ProcessStat stat;
  stat.state = line.front();
  for (int field = k_state_field; field < k_start_field; ++field) {
    const std::size_t blank = line.find(' ');
    if (blank == std::string_view::npos) return std::nullopt;
    line.remove_prefix(blank + 1);
  }
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), stat.start_ticks);
  if (parsed.ec != std::errc{}) return std::nullopt;
  return stat;
}

std::optional<ProcessIdentity> identify_process(pid_t pid) {
  const auto stat = stat_of(pid);
  if (!stat || is_over(*stat)) return std::nullopt;
  return ProcessIdentity{pid, stat->start_ticks, host_boot_id()};
}

bool is_running(const ProcessIdentity& process) { return identify_process(process.pid) == process; }

void reap(const ProcessIdentity& process) {
  const auto stat = stat_of(process.pid);
  if (!stat || !is_over(*stat) || stat->start_ticks != process.start_ticks ||
      process.boot_id != host_boot_id()) {
    return;
  }
  (void)::waitpid(process.pid, nullptr, WNOHANG);  // fails when it is no child, and that is fine
}

FileDescriptor open_process(const ProcessIdentity& process) {
  if (process.pid <= 0) return {};
  FileDescriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  // In this order: what is identified after the opening is what was opened.
  if (!pidfd || !is_running(process)) return {};
  return pidfd;
}

bool wait_for_end(const FileDescriptor& pidfd, std::chrono::milliseconds at_most) {
  const auto until = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd waiting{pidfd.get(), POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(std::max<long>(left.count(), 0)));
    if (ready == 1) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

Result<void> end_process(const ProcessIdentity& process, std::chrono::milliseconds grace,
                         std::chrono::milliseconds kill_limit) {
  const FileDescriptor pidfd = open_process(process);
  if (!pidfd && is_running(process)) {
    return fail(ErrorCode::unavailable,
                "process " + std::to_string(process.pid) + " cannot be ended: too many open files");
  }
  if (!pidfd) {
    reap(process);
    return {};
  }
  for (const int number : {SIGTERM, SIGKILL}) {
    if (number == SIGTERM && grace.count() == 0) continue;
    ::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
    if (wait_for_end(pidfd, number == SIGTERM ? grace : kill_limit)) {
      reap(process);
      return {};
    }
  }
  return fail(ErrorCode::timed_out,
              "process " + std::to_string(process.pid) + " does not die; look at what holds it");
}

std::string command_line_of(const ProcessIdentity& process) {
  auto text = read_file(proc_path(process.pid, "cmdline"), k_command_line_bytes_max).value_or("");
  // In this order: what is identified after the reading is what was read.
  if (!is_running(process)) return {};
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

}  // namespace atlasflow
