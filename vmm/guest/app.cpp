#include "vmm/guest/app.hpp"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/guest/host_link.hpp"
#include "vmm/guest/user.hpp"

namespace atlasflow::vmm::guest {
namespace {

void make_workdir(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos && at <= path.size();) {
    const std::size_t slash = path.find('/', at);
    const std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) {
      fail("user", "the image's WORKDIR '" + path + "' cannot be made: " + strerror(errno));
    }
    at = slash == std::string::npos ? slash : slash + 1;
  }
}

bool names(const std::vector<std::string>& env, std::string_view name) {
  for (const std::string& entry : env) {
    if (entry.size() > name.size() && entry.compare(0, name.size(), name) == 0 &&
        entry[name.size()] == '=') {
      return true;
    }
  }
  return false;
}

// What the child could not do before it became the app, sent over a pipe that exec closes.
struct LaunchFailure {
  int step = 0;
  int error = 0;
};

[[noreturn]] void become_app(const Config& config, const Identity& identity, int output,
                             int failure_fd) {
  const auto give_up = [failure_fd](int step) {
    const LaunchFailure failure{step, errno};
    (void)!write(failure_fd, &failure, sizeof failure);
    _exit(127);
  };
  setsid();
  const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (dup2(null_fd, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) give_up(0);
  if (chdir(config.workdir.c_str()) != 0) give_up(1);
  if (setgroups(identity.groups.size(), identity.groups.data()) != 0 ||
      setresgid(identity.gid, identity.gid, identity.gid) != 0 ||
      setresuid(identity.uid, identity.uid, identity.uid) != 0) {
    give_up(2);
  }
  std::vector<char*> args;
  for (const std::string& arg : config.args) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  std::vector<char*> env;
  for (const std::string& entry : config.env) env.push_back(const_cast<char*>(entry.c_str()));
  env.push_back(nullptr);
  environ = env.data();  // PATH of the app's environment finds the command.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvpe(args[0], args.data(), env.data());
  give_up(3);
  _exit(127);
}

std::string launch_error(const Config& config, const LaunchFailure& failure) {
  const std::string why = strerror(failure.error);
  switch (failure.step) {
    case 1:
      return "the image's WORKDIR '" + config.workdir + "' cannot be entered: " + why;
    case 2:
      return "cannot become the image's USER '" + config.user + "': " + why;
    case 3:
      if (failure.error == ENOENT) {
        return "the image's command '" + config.args[0] +
               "' was not found; check ENTRYPOINT and CMD";
      }
      return "the image's command '" + config.args[0] + "' cannot be run: " + why;
    default:
      return "cannot prepare the app: " + why;
  }
}

bool kernel_ran_out_of_memory() {
  const int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  std::array<char, 8192> record;
  bool seen = false;
  for (int records = 0; records < 100'000 && !seen; ++records) {
    const ssize_t n = read(fd, record.data(), record.size());
    if (n < 0 && errno == EPIPE) continue;  // overwritten meanwhile: the next read goes on
    if (n <= 0) break;
    seen = std::string_view(record.data(), static_cast<std::size_t>(n)).find("Killed process") !=
           std::string_view::npos;
  }
  close(fd);
  return seen;
}

class Supervisor {
 public:
  Supervisor(pid_t app, int output, int log, int control)
      : app_(app), output_(output), log_(log), control_(control) {}

  [[noreturn]] void run(int signals) {
    for (;;) {
      reap();
      std::array<pollfd, 2> waits{{{signals, POLLIN, 0}, {output_, POLLIN, 0}}};
      // The control port raises SIGIO; to poll it would spin while the host is not connected. The
      // one-second look is a net below a lost signal.
      poll(waits.data(), output_ >= 0 ? 2 : 1, stop_sent_ ? 50 : 1000);
      std::array<signalfd_siginfo, 16> infos;
      while (read(signals, infos.data(), sizeof infos) > 0) {
      }
      pump();
      read_control();
      if (stop_sent_ && now_ms() >= kill_at_ms_) kill(-1, SIGKILL);
    }
  }

 private:
  // Carries what is there now; at most 1 MiB, so that a chatty app cannot starve reaping and stop.
  void pump() {
    std::array<char, 16'384> buffer;
    for (int rounds = 0; rounds < 64 && output_ >= 0; ++rounds) {
      const ssize_t n = read(output_, buffer.data(), buffer.size());
      if (n < 0) return;  // EAGAIN: nothing more now
      if (n == 0) {
        close(output_);
        output_ = -1;
        return;
      }
      write_all(log_, std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    }
  }

  void reap() {
    int status = 0;
    while (true) {
      const pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return;
      if (pid == app_) finish(status);
    }
  }

  [[noreturn]] void finish(int status) {
    kill(-1, SIGKILL);  // what the app left behind ends with it
    pump();
    const int signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const int code = signal_number != 0 ? 128 + signal_number : WEXITSTATUS(status);
    // Only a SIGKILL that we did not send ourselves can be the kernel's.
    const bool out_of_memory = code == 137 && !killed_by_us() && kernel_ran_out_of_memory();
    say("exit " + std::to_string(code) + " " + std::to_string(signal_number) + " " +
        (out_of_memory ? "1" : "0"));
    power_off();
  }

  bool killed_by_us() const { return stop_sent_ && now_ms() >= kill_at_ms_; }

  // "stop <grace in ms>" lines. Said again, the shorter grace counts.
  void read_control() {
    std::array<char, 256> buffer;
    const ssize_t n = read(control_, buffer.data(), buffer.size());
    if (n <= 0) return;  // 0: the host is not connected
    pending_.append(buffer.data(), static_cast<std::size_t>(n));
    for (std::size_t end; (end = pending_.find('\n')) != std::string::npos;) {
      const std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      long grace_ms = 0;
      if (sscanf(line.c_str(), "stop %ld", &grace_ms) != 1) continue;
      const long due = now_ms() + (grace_ms < 0 ? 0 : grace_ms);
      if (!stop_sent_) {
        // The whole process group: a shell that wraps the app would not hand the signal on.
        kill(-app_, SIGTERM);
        say("stopping");
        kill_at_ms_ = due;
      } else if (due < kill_at_ms_) {
        kill_at_ms_ = due;
      }
      stop_sent_ = true;
    }
    if (pending_.size() > 4096) pending_.clear();
  }

  pid_t app_;
  int output_;
  int log_;
  int control_;
  std::string pending_;
  bool stop_sent_ = false;
  long kill_at_ms_ = 0;
};

}  // namespace

pid_t launch(Config& config, int& output) {
  const UserLookup lookup = resolve_user(config.user, read_file("/etc/passwd", 1 << 20),
                                         read_file("/etc/group", 1 << 20));
  if (!lookup.error.empty()) fail("user", lookup.error);
  make_workdir(config.workdir);
  if (!names(config.env, "HOME")) config.env.push_back("HOME=" + lookup.identity.home);

  std::array<int, 2> pipe_fds{};
  std::array<int, 2> failure_fds{};
  if (pipe2(pipe_fds.data(), O_CLOEXEC) != 0 || pipe2(failure_fds.data(), O_CLOEXEC) != 0) {
    fail_boot("cannot make a pipe");
  }
  fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);  // the read end only: an end's flags are its own
  // An app that opens /dev/stdout by name opens the pipe anew, and that asks for permission.
  (void)!fchown(pipe_fds[1], lookup.identity.uid, lookup.identity.gid);
  const rlimit files{65'536, 65'536};
  setrlimit(RLIMIT_NOFILE, &files);

  const pid_t app = fork();
  if (app < 0) fail_boot("cannot fork");
  if (app == 0) become_app(config, lookup.identity, pipe_fds[1], failure_fds[1]);
  close(pipe_fds[1]);
  close(failure_fds[1]);
  LaunchFailure failure;
  if (read(failure_fds[0], &failure, sizeof failure) == sizeof failure) {
    fail("user", launch_error(config, failure));
  }
  close(failure_fds[0]);
  output = pipe_fds[0];
  return app;
}

void supervise(pid_t app, int output, int log, int control, int signals) {
  Supervisor(app, output, log, control).run(signals);
}

}  // namespace atlasflow::vmm::guest
