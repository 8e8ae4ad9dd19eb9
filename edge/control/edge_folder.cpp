#include "edge/control/edge_folder.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <system_error>

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "edge/control/control.pb.h"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds k_stop_grace{5'000};
constexpr milliseconds k_kill_limit{5'000};

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string host_boot_id() {
  std::string text = read_text("/proc/sys/kernel/random/boot_id");
  std::erase(text, '\n');
  return text;
}

std::optional<ProcessIdentity> still_there(std::int64_t pid, std::uint64_t start_ticks,
                                           const std::string& boot_id) {
  auto process = identify(static_cast<pid_t>(pid));
  if (!process || process->start_ticks != start_ticks || process->boot_id != boot_id) {
    return std::nullopt;
  }
  return process;
}

}  // namespace

Result<void> write_json(const std::filesystem::path& path,
                        const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto printed = google::protobuf::util::MessageToJsonString(message, &text, options);
  const std::string part = path.string() + ".part";
  const Fd file(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!printed.ok() || !file.valid() ||
      ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      std::rename(part.c_str(), path.c_str()) != 0) {
    return fail(ErrorCode::unavailable, "can't write " + path.string() + "; is the disk full?",
                std::generic_category().message(errno));
  }
  return {};
}

bool read_json(const std::filesystem::path& path, google::protobuf::Message& message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;  // of a newer version
  const std::string text = read_text(path);
  return !text.empty() && google::protobuf::util::JsonStringToMessage(text, &message, options).ok();
}

std::optional<ProcessIdentity> identify(pid_t pid) {
  if (pid <= 0) return std::nullopt;
  // proc(5): the name in field 2 may hold blanks and parentheses; fields after it do not.
  const std::string text = read_text("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t close = text.rfind(')');
  if (close == std::string::npos) return std::nullopt;
  std::istringstream rest(text.substr(close + 1));
  std::string state;
  rest >> state;
  std::string field;
  for (int i = 4; i < 22; ++i) rest >> field;
  ProcessIdentity process{pid, 0, host_boot_id()};
  if (!(rest >> process.start_ticks) || state == "Z" || state == "X") return std::nullopt;
  return process;
}

Fd open_process(const ProcessIdentity& process) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  // In this order: what is identified after the opening is what was opened.
  if (!pidfd.valid() || identify(process.pid) != process) return {};
  return pidfd;
}

bool wait_for_end(const Fd& process, pid_t pid, milliseconds at_most) {
  pollfd waiting{process.get(), POLLIN, 0};
  if (::poll(&waiting, 1, static_cast<int>(at_most.count())) != 1) return false;
  (void)::waitpid(pid, nullptr, WNOHANG);  // fails when it is no child of ours, and that is fine
  return true;
}

std::optional<ProcessIdentity> recorded_process(const EdgeFolder& folder) {
  wire::Record record;
  if (!read_json(folder.record(), record)) return std::nullopt;
  return still_there(record.pid(), record.start_ticks(), record.boot_id());
}

Result<void> end_process(const ProcessIdentity& process, milliseconds grace) {
  const Fd pidfd = open_process(process);
  if (!pidfd.valid()) return {};
  for (const int number : {SIGTERM, SIGKILL}) {
    ::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
    if (wait_for_end(pidfd, process.pid, number == SIGTERM ? grace : k_kill_limit)) return {};
  }
  return fail(ErrorCode::timed_out, "the edge's process " + std::to_string(process.pid) +
                                        " does not die; look at what holds it");
}

Result<pid_t> end_edge(const std::filesystem::path& state) {
  const EdgeFolder folder{state};
  wire::Record record;
  if (!read_json(folder.record(), record)) return 0;
  pid_t ended_pid = 0;
  for (const auto& process :
       {still_there(record.retiring_pid(), record.retiring_start_ticks(), record.boot_id()),
        still_there(record.pid(), record.start_ticks(), record.boot_id())}) {
    if (!process) continue;
    if (auto ended = end_process(*process, k_stop_grace); !ended) {
      return tl::unexpected(ended.error());
    }
    ended_pid = process->pid;
  }
  if (ended_pid != 0) ::unlink(folder.socket().c_str());
  return ended_pid;
}

}  // namespace atlasflow::edge
