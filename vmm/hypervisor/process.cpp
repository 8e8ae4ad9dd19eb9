#include "vmm/hypervisor/process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "base/file.hpp"
#include "vmm/hypervisor/private_root.hpp"

namespace atlasflow::vmm {
namespace {

constexpr std::size_t k_tool_output_bytes_max = 4 * 1024 * 1024;
constexpr std::size_t k_tool_error_bytes_max = 2'000;
constexpr std::size_t k_daemon_fds_max = 40;

std::string errno_text() { return std::strerror(errno); }

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

struct Pipe {
  Fd read_end;
  Fd write_end;
};

std::optional<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) return std::nullopt;
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

// Only async-signal-safe calls between fork and exec: other threads may hold any lock.
void reset_signals() {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int number = 1; number < 32; ++number) {
    if (number != SIGKILL && number != SIGSTOP) ::signal(number, SIG_DFL);
  }
}

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

// Moves bytes between the tool and us until it closed both outputs, or the deadline, or stop.
// Returns the reason of an early end.
std::optional<ErrorCode> converse(Pipe& out, Pipe& err,
                                  std::chrono::steady_clock::time_point deadline,
                                  const std::stop_token& stop, std::string& output,
                                  std::string& error) {
  std::array<char, 16'384> buffer;
  while (out.read_end || err.read_end) {
    if (stop.stop_requested()) return ErrorCode::cancelled;
    if (std::chrono::steady_clock::now() >= deadline) return ErrorCode::timed_out;
    std::array<pollfd, 2> waits{{{out.read_end.get(), POLLIN, 0}, {err.read_end.get(), POLLIN, 0}}};
    if (::poll(waits.data(), waits.size(), 20) <= 0) continue;
    const auto take = [&](Fd& fd, short events, std::string& into, std::size_t limit) {
      if (events == 0) return;
      const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
      if (n <= 0) {
        fd.reset();
        return;
      }
      into.append(buffer.data(), static_cast<std::size_t>(n));
      if (into.size() > 2 * limit) into.erase(0, into.size() - limit);
    };
    take(out.read_end, waits[0].revents, output, k_tool_output_bytes_max);
    take(err.read_end, waits[1].revents, error, k_tool_error_bytes_max);
  }
  return std::nullopt;
}

// A tool may close its outputs and hang: the deadline holds for its end as well.
std::optional<int> wait_until(pid_t pid, std::chrono::steady_clock::time_point deadline,
                              const std::stop_token& stop) {
  int status = 0;
  for (;;) {
    const pid_t done = ::waitpid(pid, &status, WNOHANG);
    if (done == pid) return status;
    if (done < 0 && errno != EINTR) return std::nullopt;
    if (stop.stop_requested() || std::chrono::steady_clock::now() >= deadline) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  // Fixed, so that the control plane's environment cannot choose the tools, and with sbin, where
  // mkfs and nft live and which a service's PATH may lack.
  for (const char* dir :
       {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"}) {
    const std::string path = dir + name;
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

Result<std::string> run_tool(const std::vector<std::string>& args, std::chrono::milliseconds limit,
                             std::stop_token stop, const std::string& stdin_text) {
  const std::string program = find_program(args.front());
  if (program.empty()) {
    return fail(ErrorCode::unavailable,
                "the program '" + args.front() + "' is missing; script/bootstrap installs it");
  }
  // A file in memory and no pipe: a tool that ends early then cannot raise SIGPIPE here.
  const Fd in(::memfd_create("stdin", MFD_CLOEXEC));
  auto out = make_pipe();
  auto err = make_pipe();
  if (!in || !out || !err ||
      ::pwrite(in.get(), stdin_text.data(), stdin_text.size(), 0) !=
          static_cast<ssize_t>(stdin_text.size())) {
    return fail(ErrorCode::internal, "cannot make a pipe", errno_text());
  }
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::vector<char*> arg_pointers = pointers(args);

  const pid_t pid = ::fork();
  if (pid < 0) return fail(ErrorCode::internal, "cannot start " + args.front(), errno_text());
  if (pid == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    reset_signals();
    ::dup2(in.get(), 0);
    ::dup2(out->write_end.get(), 1);
    ::dup2(err->write_end.get(), 2);
    ::close_range(3, ~0U, 0);
    ::execv(program.c_str(), arg_pointers.data());
    ::_exit(127);
  }
  ::setpgid(pid, pid);  // both sides: whoever comes first
  out->write_end.reset();
  err->write_end.reset();

  std::string output;
  std::string error;
  auto early = converse(*out, *err, deadline, stop, output, error);
  std::optional<int> status;
  if (!early) {
    status = wait_until(pid, deadline, stop);
    if (!status) early = stop.stop_requested() ? ErrorCode::cancelled : ErrorCode::timed_out;
  }
  if (early) {
    ::kill(-pid, SIGKILL);
    int ignored = 0;
    while (::waitpid(pid, &ignored, 0) < 0 && errno == EINTR) {
    }
    return fail(*early, *early == ErrorCode::cancelled
                            ? args.front() + " was stopped on request"
                            : args.front() + " did not finish in time; try again");
  }
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return output;
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

// Ends the child; the sentence goes where the daemon's errors go.
template <std::size_t size>
[[noreturn]] void give_up(const char (&sentence)[size]) {
  (void)!::write(2, sentence, size - 1);
  ::_exit(126);
}

// fork(2), with the child in new namespaces. The raw call: the child calls nothing that would need
// what glibc does at a fork.
pid_t fork_into(int namespaces) {
  return static_cast<pid_t>(
      ::syscall(SYS_clone, SIGCHLD | namespaces, nullptr, nullptr, nullptr, 0));
}

// The child of spawn_daemon. Async-signal-safe calls only; every failure ends it before exec.
[[noreturn]] void run_daemon(const DaemonSpec& spec, const char* program, char* const* args,
                             int go_fd, int null_fd) {
  ::setsid();
  reset_signals();
  ::signal(SIGXFSZ, SIG_IGN);  // a full log is a failed write, not the end of the VM
  for (const int procs : spec.cgroup_procs) {
    if (::write(procs, "0", 1) != 1) ::_exit(126);
  }

  // First to free numbers above the final ones, then down: no step can hit a source of a later one.
  const int count = static_cast<int>(spec.fds.size());
  std::array<int, k_daemon_fds_max> parked{};
  for (int i = 0; i < count; ++i) {
    parked[static_cast<std::size_t>(i)] =
        ::fcntl(spec.fds[static_cast<std::size_t>(i)], F_DUPFD_CLOEXEC, 4 + count);
    if (parked[static_cast<std::size_t>(i)] < 0) ::_exit(126);
  }
  const int parked_go = ::fcntl(go_fd, F_DUPFD_CLOEXEC, 4 + count);
  const int parked_input =
      ::fcntl(spec.stdin_fd >= 0 ? spec.stdin_fd : null_fd, F_DUPFD_CLOEXEC, 4 + count);
  const int parked_output =
      ::fcntl(spec.stderr_fd >= 0 ? spec.stderr_fd : null_fd, F_DUPFD_CLOEXEC, 4 + count);
  if (::dup2(parked_input, 0) < 0 || ::dup2(parked_output, 1) < 0 || ::dup2(parked_output, 2) < 0 ||
      ::dup2(parked_go, 3 + count) < 0) {
    ::_exit(126);
  }
  for (int i = 0; i < count; ++i) {
    if (::dup2(parked[static_cast<std::size_t>(i)], 3 + i) < 0) ::_exit(126);
  }
  // Before the wait: the other threads' pipes that fork copied here must not be kept open by us.
  ::close_range(static_cast<unsigned>(4 + count), ~0U, 0);
  char go = 0;
  if (::read(3 + count, &go, 1) != 1) ::_exit(1);  // the parent died or could not write us down
  ::close(3 + count);

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
    if (const char* const step = spec.root->enter()) {
      (void)!::write(2, step, std::strlen(step));
      give_up(": cannot be made for QEMU\n");
    }
  }
  if (spec.change_user) {
    // Raw calls: glibc's wrappers would signal threads that do not exist in this child.
    if (::syscall(SYS_setgroups, spec.groups.size(), spec.groups.data()) != 0 ||
        ::syscall(SYS_setresgid, spec.gid, spec.gid, spec.gid) != 0 ||
        ::syscall(SYS_setresuid, spec.uid, spec.uid, spec.uid) != 0) {
      give_up("cannot become the user of this VM; a container without its user ids?\n");
    }
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (::chdir("/") != 0) give_up("cannot enter /\n");
  static const char* const k_environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C", nullptr};
  ::execve(program, args, const_cast<char* const*>(k_environment));
  give_up("cannot execute the program\n");
}

}  // namespace

Result<ProcessId> spawn_daemon(const DaemonSpec& spec,
                               const std::function<Result<void>(const ProcessId&)>& record) {
  const std::string program = find_program(spec.args.front());
  if (program.empty()) {
    return fail(ErrorCode::unavailable,
                "the program '" + spec.args.front() + "' is missing; script/bootstrap installs it");
  }
  ATLAS_ASSERT(spec.fds.size() <= k_daemon_fds_max, "more file descriptors than a daemon may have");
  // A socket pair and no pipe: writing to a child that just died must not raise SIGPIPE.
  std::array<int, 2> go_fds{-1, -1};
  (void)::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, go_fds.data());
  Fd go_child(go_fds[0]);
  Fd go_parent(go_fds[1]);
  const Fd null_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!go_child || !null_fd) return fail(ErrorCode::internal, "cannot make a pipe", errno_text());
  std::vector<char*> args = pointers(spec.args);

  const pid_t pid = fork_into(spec.root == nullptr ? 0 : PrivateRoot::clone_flags());
  if (pid < 0) {
    return fail(ErrorCode::internal, "cannot start " + spec.args.front(), errno_text());
  }
  if (pid == 0) {
    ::close(go_parent.get());  // else our own copy would keep the read from ever ending
    run_daemon(spec, program.c_str(), args.data(), go_child.get(), null_fd.get());
  }
  const auto reap = [pid] {
    int ignored = 0;
    while (::waitpid(pid, &ignored, 0) < 0 && errno == EINTR) {
    }
  };
  const auto process = identify_process(pid);
  if (!process) {
    ::kill(pid, SIGKILL);
    reap();
    return fail(ErrorCode::internal, "the new process of " + spec.args.front() + " died at once");
  }
  if (auto recorded = record(*process); !recorded) {
    go_parent.reset();
    go_child.reset();
    reap();
    return tl::unexpected<Error>(recorded.error());
  }
  if (::send(go_parent.get(), "g", 1, MSG_NOSIGNAL) != 1) {
    ::kill(pid, SIGKILL);
    reap();
    return fail(ErrorCode::internal, "cannot start " + spec.args.front());
  }
  return *process;
}

}  // namespace atlasflow::vmm
