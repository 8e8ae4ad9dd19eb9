#include "base/process.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.hpp"

namespace atlasflow {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* k_program_folders[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                             "/usr/bin",        "/sbin",          "/bin"};
constexpr int k_gate_limit_ms = 120'000;  // longer than what is done before a child executes
constexpr std::chrono::milliseconds k_start_deadline{30'000};
constexpr int k_high_fd =
    200;  // inherited descriptors are moved here first, out of each other's way

// What the child tells before it execs: a null step means "prepared, waiting for the gate".
struct ChildReport {
  const char* step;
  int error;
};

// All that the child needs, made before the clone: after it, a child of a threaded process may not
// allocate.
struct ChildPlan {
  const SpawnRequest* request;
  const char* program;
  std::vector<char*> argv;
  std::vector<char*> environment;
  int null_fd;
  int report_fd;
  int gate_fd;
  int gate_write_fd;  // the parent's end, of which the child has a copy
};

[[noreturn]] void give_up(const ChildPlan& plan, const char* step, int error) {
  const ChildReport report{step, error};
  [[maybe_unused]] const ssize_t n = ::write(plan.report_fd, &report, sizeof report);
  ::_exit(127);
}

void reset_signals() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; ++number) ::sigaction(number, &action, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

[[noreturn]] void child_main(const ChildPlan& plan) {
  const SpawnRequest& request = *plan.request;
  // Else a parent that dies before it is told below leaves a child that waits for itself for ever,
  // with all that the parent had open, its locks among it.
  ::close(plan.gate_write_fd);
  reset_signals();
  ::setsid();
  for (const int fd : request.cgroup_procs) {
    if (::write(fd, "0", 1) != 1) give_up(plan, "join the cgroup", errno);
  }
  if (request.prepare != nullptr) {
    const char* step = "prepare";
    const int error = request.prepare(request.prepare_context, &step);
    if (error != 0) give_up(plan, step, error);
  }
  // After the change of user, which clears it.
  if (request.dies_with_parent && ::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
    give_up(plan, "tie to the parent", errno);
  }
  const ChildReport ready{nullptr, 0};
  char go = 0;
  if (::write(plan.report_fd, &ready, sizeof ready) != sizeof ready) ::_exit(127);
  // Another child that is just being started may have a copy of the end too: so not for ever.
  pollfd gate{plan.gate_fd, POLLIN, 0};
  int polled = 0;
  do {
    polled = ::poll(&gate, 1, k_gate_limit_ms);
  } while (polled < 0 && errno == EINTR);
  if (polled != 1) ::_exit(127);
  ssize_t n = 0;
  do {
    n = ::read(plan.gate_fd, &go, 1);
  } while (n < 0 && errno == EINTR);
  if (n != 1) ::_exit(127);  // The parent is gone or changed its mind.

  const int input = request.input >= 0 ? request.input : plan.null_fd;
  const int output = request.output >= 0 ? request.output : plan.null_fd;
  const int error = request.error >= 0 ? request.error : output;
  const int count = static_cast<int>(request.inherit.size());
  const int report = ::fcntl(plan.report_fd, F_DUPFD_CLOEXEC, k_high_fd + count);
  const int out_high = ::fcntl(output, F_DUPFD_CLOEXEC, k_high_fd + count);
  const int error_high = ::fcntl(error, F_DUPFD_CLOEXEC, k_high_fd + count);
  const int in_high = ::fcntl(input, F_DUPFD_CLOEXEC, k_high_fd + count);
  std::array<int, k_inherited_max> high{};
  for (int i = 0; i < count; ++i) {
    high[static_cast<std::size_t>(i)] =
        ::fcntl(request.inherit[static_cast<std::size_t>(i)], F_DUPFD_CLOEXEC, k_high_fd);
  }
  bool ok = report >= 0 && ::dup2(in_high, 0) == 0 && ::dup2(out_high, 1) == 1 &&
            ::dup2(error_high, 2) == 2;
  for (int i = 0; i < count && ok; ++i)
    ok = ::dup2(high[static_cast<std::size_t>(i)], 3 + i) == 3 + i;
  if (!ok) give_up(plan, "hand over descriptors", errno);
  // Whatever another thread opened without O_CLOEXEC goes no further than this.
  ::syscall(SYS_close_range, 3U + static_cast<unsigned>(count), ~0U, CLOSE_RANGE_CLOEXEC);
  ::execve(plan.program, plan.argv.data(), plan.environment.data());
  const ChildReport failed{"execute", errno};
  [[maybe_unused]] const ssize_t written = ::write(report, &failed, sizeof failed);
  ::_exit(127);
}

std::vector<char*> pointers_to(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

struct Pipe {
  FileDescriptor read;
  FileDescriptor write;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::unavailable, "no pipe could be made", std::strerror(errno));
  }
  return Pipe{FileDescriptor(fds[0]), FileDescriptor(fds[1])};
}

enum class Heard : std::uint8_t { report, closed, nothing };

// By exec the child closes its end, which means success.
Heard read_report(int fd, ChildReport& report) {
  const auto until = Clock::now() + k_start_deadline;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    pollfd poll_fd{fd, POLLIN, 0};
    const int n = ::poll(&poll_fd, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Heard::nothing;
    const ssize_t size = ::read(fd, &report, sizeof report);
    if (size < 0 && errno == EINTR) continue;
    return size == sizeof report ? Heard::report : Heard::closed;
  }
}

tl::unexpected<Error> child_failed(const SpawnRequest& request, Heard heard,
                                   const ChildReport& report) {
  const bool told = heard == Heard::report && report.step != nullptr;
  return fail(
      ErrorCode::unavailable,
      request.argv.front() + " could not be started (" + (told ? report.step : "start") + ")",
      told                      ? std::strerror(report.error)
      : heard == Heard::nothing ? "it did not get ready in time"
                                : "it ended at once");
}

}  // namespace

Result<Process> spawn_process(const SpawnRequest& request) {
  auto report = make_pipe();
  auto gate = make_pipe();
  const FileDescriptor null_fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!report || !gate || !null_fd.valid()) {
    return fail(ErrorCode::unavailable, "no process could be started: too many open files");
  }
  ATLAS_ASSERT(request.inherit.size() <= k_inherited_max, "more descriptors than a child may have");
  ChildPlan plan{
      .request = &request,
      .program = request.program.empty() ? request.argv.front().c_str() : request.program.c_str(),
      .argv = pointers_to(request.argv),
      .environment = pointers_to(request.environment),
      .null_fd = null_fd.get(),
      .report_fd = report->write.get(),
      .gate_fd = gate->read.get(),
      .gate_write_fd = gate->write.get()};
  int pidfd = -1;
  clone_args arguments{};
  arguments.flags = request.clone_flags | CLONE_PIDFD;
  arguments.pidfd = reinterpret_cast<std::uint64_t>(&pidfd);
  arguments.exit_signal = SIGCHLD;
  // No signal handler of the server may run in the child: its handlers know nothing of this.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const long pid = ::syscall(SYS_clone3, &arguments, sizeof arguments);
  if (pid == 0) child_main(plan);
  const int clone_error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    return fail(ErrorCode::unavailable, "no process could be started", std::strerror(clone_error));
  }
  Process process(static_cast<pid_t>(pid), FileDescriptor(pidfd));
  report->write.reset();
  gate->read.reset();
  ChildReport said{};
  Heard heard = read_report(report->read.get(), said);
  if (heard != Heard::report || said.step != nullptr) return child_failed(request, heard, said);
  if (request.before_exec) {
    ATLAS_TRYV(request.before_exec(process.pid()));
  }
  if (::write(gate->write.get(), "g", 1) != 1) return child_failed(request, Heard::closed, said);
  heard = read_report(report->read.get(), said);
  if (heard != Heard::closed) return child_failed(request, heard, said);
  return process;
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      exit_(std::exchange(other.exit_, std::nullopt)) {}

Process& Process::operator=(Process&& other) noexcept {
  if (this != &other) {
    if (pid_ > 0) kill();
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    exit_ = std::exchange(other.exit_, std::nullopt);
  }
  return *this;
}

Process::~Process() {
  if (pid_ > 0) kill();
}

void Process::reap() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  exit_ = Exit{WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
  pidfd_.reset();
}

bool Process::running() { return pid_ > 0 && !wait(std::chrono::milliseconds(0)); }

std::optional<Exit> Process::wait(std::chrono::milliseconds at_most) {
  if (pid_ <= 0) return Exit{};
  if (exit_) return exit_;
  const auto until = Clock::now() + at_most;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    pollfd poll_fd{pidfd_.get(), POLLIN, 0};
    const int n =
        ::poll(&poll_fd, 1, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000)));
    if (n > 0) {
      reap();
      return exit_;
    }
    if (n == 0 && left.count() <= 60'000) return std::nullopt;
    if (n < 0 && errno != EINTR) return std::nullopt;
  }
}

void Process::signal(int number) const {
  if (pidfd_.valid()) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), number, nullptr, 0);
}

pid_t Process::release() {
  pidfd_.reset();
  return std::exchange(pid_, -1);
}

Exit Process::kill() {
  if (pid_ > 0 && !exit_) {
    // Not collected yet, so the number is nobody else's. The first is for what it has started.
    ::kill(-pid_, SIGKILL);
    signal(SIGKILL);
    reap();
  }
  return exit_.value_or(Exit{});
}

namespace {

// One of a child's outputs, on its way to who takes it.
struct OutputPipe {
  FileDescriptor end;
  const OutputTaker* take;

  // Closes the end when the last writer has.
  void pass_on(std::string& buffer) {
    const ssize_t n = ::read(end.get(), buffer.data(), buffer.size());
    if (n > 0) (*take)(std::string_view(buffer).substr(0, static_cast<std::size_t>(n)));
    if (n == 0 || (n < 0 && errno != EINTR)) end.reset();
  }
};

// Until the last writer of both has closed its end, the time is over or the stop is asked for.
RunOutcome::End pass_on(std::array<OutputPipe, 2>& pipes, const FileDescriptor& wake,
                        Clock::time_point until, const std::stop_token& stop) {
  std::string buffer(32UL * 1024, '\0');
  while (pipes[0].end || pipes[1].end) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (stop.stop_requested()) return RunOutcome::End::cancelled;
    if (left.count() <= 0) return RunOutcome::End::timed_out;
    // poll(2) passes a descriptor of -1 over.
    std::array<pollfd, 3> fds{pollfd{pipes[0].end.get(), POLLIN, 0},
                              pollfd{pipes[1].end.get(), POLLIN, 0}, pollfd{wake.get(), POLLIN, 0}};
    const int n = ::poll(fds.data(), fds.size(),
                         static_cast<int>(std::min<std::int64_t>(left.count(), 60'000)));
    for (std::size_t i = 0; i < pipes.size() && n > 0; ++i) {
      if (fds[i].revents != 0) pipes[i].pass_on(buffer);
    }
  }
  return RunOutcome::End::exited;
}

}  // namespace

Result<RunOutcome> run_process(SpawnRequest request, std::chrono::milliseconds deadline,
                               const std::stop_token& stop, const OutputTaker& on_output,
                               const OutputTaker& on_error) {
  ATLAS_TRY(auto output, make_pipe());
  Pipe error;
  if (on_error) {
    ATLAS_TRY(error, make_pipe());
  }
  const FileDescriptor wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) {
    return fail(ErrorCode::unavailable, "no process could be started: too many open files");
  }
  if (stop.stop_requested()) return RunOutcome{RunOutcome::End::cancelled, 0};
  request.output = output.write.get();
  request.error = error.write.get();
  const auto until = Clock::now() + deadline;
  ATLAS_TRY(auto process, spawn_process(request));
  output.write.reset();
  error.write.reset();
  const std::stop_callback on_stop(stop, [&wake] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(wake.get(), &one, sizeof one);
  });
  std::array<OutputPipe, 2> pipes{OutputPipe{std::move(output.read), &on_output},
                                  OutputPipe{std::move(error.read), &on_error}};
  RunOutcome outcome;
  outcome.end = pass_on(pipes, wake, until, stop);
  while (outcome.end == RunOutcome::End::exited) {
    // All writers have closed; the process itself may take a moment more, or have closed its
    // outputs only.
    constexpr std::chrono::milliseconds k_step{50};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
    if (const auto exit = process.wait(std::clamp(left, std::chrono::milliseconds(0), k_step))) {
      outcome.exit_code = exit->code;
      return outcome;
    }
    if (left.count() <= 0) outcome.end = RunOutcome::End::timed_out;
    if (stop.stop_requested()) outcome.end = RunOutcome::End::cancelled;
  }
  outcome.exit_code = process.kill().code;
  return outcome;
}

void append_bounded(std::string& kept, std::string_view more, std::size_t bytes) {
  kept += more;
  if (kept.size() > 2 * bytes) kept.erase(0, kept.size() - bytes);
}

std::string find_program(std::string_view name) {
  if (name.find('/') != std::string_view::npos) return std::string(name);
  for (const char* folder : k_program_folders) {
    std::string path = std::string(folder) + "/" + std::string(name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

}  // namespace atlasflow
