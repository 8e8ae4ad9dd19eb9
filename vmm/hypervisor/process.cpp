#include "vmm/hypervisor/process.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.hpp"
#include "base/process.hpp"
#include "vmm/hypervisor/private_root.hpp"

namespace atlasflow::vmm {
namespace {

constexpr std::size_t k_tool_output_bytes_max = 4 * 1024 * 1024;
constexpr std::size_t k_tool_error_bytes_max = 2'000;

// Returns the last lines of text, in one line.
std::string tail_line(const std::string& text) {
  std::string tail = text.size() > k_tool_error_bytes_max
                         ? text.substr(text.size() - k_tool_error_bytes_max)
                         : text;
  while (!tail.empty() && (tail.back() == '\n' || tail.back() == ' ')) tail.pop_back();
  for (char& c : tail) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return tail;
}

Error missing(const std::string& program) {
  return {ErrorCode::unavailable,
          "the program '" + program + "' is missing; script/bootstrap installs it",
          {}};
}

// All that a tool or a daemon gets to know: nothing of the control plane's environment.
const std::vector<std::string>& environment() {
  static const std::vector<std::string> k_environment = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  return k_environment;
}

}  // namespace

Result<std::string> run_tool(const std::vector<std::string>& args, std::chrono::milliseconds limit,
                             std::stop_token stop, const std::string& stdin_text) {
  SpawnRequest request{
      .argv = args, .program = find_program(args.front()), .environment = environment()};
  if (request.program.empty()) return tl::unexpected(missing(args.front()));
  // A file in memory and no pipe: a tool that ends early then cannot raise SIGPIPE here.
  const FileDescriptor in(::memfd_create("stdin", MFD_CLOEXEC));
  if (!in || ::pwrite(in.get(), stdin_text.data(), stdin_text.size(), 0) !=
                 static_cast<ssize_t>(stdin_text.size())) {
    return tl::unexpected(errno_error("cannot hand its input to " + args.front()));
  }
  request.input = in.get();
  std::string output;
  std::string error;
  ATLAS_TRY(
      const auto ran,
      run_process(
          std::move(request), limit, stop,
          [&](std::string_view text) { append_bounded(output, text, k_tool_output_bytes_max); },
          [&](std::string_view text) { append_bounded(error, text, k_tool_error_bytes_max); }));
  switch (ran.end) {
    case RunOutcome::End::cancelled:
      return fail(ErrorCode::cancelled, args.front() + " was stopped on request");
    case RunOutcome::End::timed_out:
      return fail(ErrorCode::timed_out, args.front() + " did not finish in time; try again");
    case RunOutcome::End::exited:
      break;
  }
  if (ran.exit_code == 0) return output;
  return fail(ErrorCode::internal, args.front() + " failed", tail_line(error));
}

bool is_alive(const ProcessId& process) {
  if (is_running(process)) return true;
  reap(process);
  return false;
}

bool may_change_limits() {
  const auto status = read_file("/proc/self/status", 65'536).value_or("");
  const std::size_t at = status.find("\nCapEff:");
  if (at == std::string::npos) return false;
  const auto effective = std::strtoull(status.c_str() + at + 8, nullptr, 16);
  return (effective >> CAP_SYS_RESOURCE & 1U) != 0;
}

void raise_file_limit(const ProcessId& process, std::uint64_t bytes) {
  rlimit limit{};
  if (!is_alive(process) || ::prlimit(process.pid, RLIMIT_FSIZE, nullptr, &limit) != 0) return;
  if (limit.rlim_cur >= bytes) return;  // unlimited is the largest number
  limit.rlim_cur = bytes;
  limit.rlim_max = std::max<rlim_t>(limit.rlim_max, bytes);
  ::prlimit(process.pid, RLIMIT_FSIZE, &limit, nullptr);
}

bool kill_process(const ProcessId& process, std::chrono::milliseconds limit) {
  return end_process(process, std::chrono::milliseconds::zero(), limit).has_value();
}

namespace {

// In the child of spawn_daemon, before it executes the program. Async-signal-safe calls only.
int prepare_daemon(void* context, const char** step) {
  const auto& spec = *static_cast<const DaemonSpec*>(context);
  ::signal(SIGXFSZ, SIG_IGN);  // a full log is a failed write, not the end of the VM
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  if (spec.file_bytes_max != 0) {
    const rlimit files{spec.file_bytes_max, spec.file_bytes_max};
    ::setrlimit(RLIMIT_FSIZE, &files);
  }
  // When the host runs out of memory, a VM goes before the control plane does.
  const int oom = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (oom >= 0) {
    (void)!::write(oom, "500", 3);
    ::close(oom);
  }
  if (spec.root != nullptr) {
    *step = spec.root->enter();
    if (*step != nullptr) return errno;
  }
  if (spec.change_user) {
    *step = "become the user of this VM; a container without its user ids?";
    // Raw calls: glibc's wrappers would signal threads that do not exist in this child.
    if (::syscall(SYS_setgroups, spec.groups.size(), spec.groups.data()) != 0 ||
        ::syscall(SYS_setresgid, spec.gid, spec.gid, spec.gid) != 0 ||
        ::syscall(SYS_setresuid, spec.uid, spec.uid, spec.uid) != 0) {
      return errno;
    }
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  *step = "enter /";
  return ::chdir("/") == 0 ? 0 : errno;
}

}  // namespace

Result<ProcessId> spawn_daemon(const DaemonSpec& spec,
                               const std::function<Result<void>(const ProcessId&)>& record) {
  SpawnRequest request{.argv = spec.args,
                       .program = find_program(spec.args.front()),
                       .environment = environment(),
                       .inherit = spec.fds,
                       .input = spec.stdin_fd,
                       .output = spec.stderr_fd,
                       .clone_flags = static_cast<std::uint64_t>(
                           spec.root == nullptr ? 0 : PrivateRoot::clone_flags()),
                       .cgroup_procs = spec.cgroup_procs,
                       .dies_with_parent = false,
                       .prepare = prepare_daemon};
  if (request.program.empty()) return tl::unexpected(missing(spec.args.front()));
  DaemonSpec prepared = spec;  // the child reads it, and changes nothing
  request.prepare_context = &prepared;
  std::optional<ProcessId> identity;
  request.before_exec = [&](pid_t pid) -> Result<void> {
    identity = identify_process(pid);
    if (!identity) {
      return fail(ErrorCode::internal, "the new process of " + spec.args.front() + " died at once");
    }
    return record(*identity);
  };
  ATLAS_TRY(auto process, spawn_process(request));
  static_cast<void>(process.release());
  return *identity;
}

}  // namespace atlasflow::vmm
