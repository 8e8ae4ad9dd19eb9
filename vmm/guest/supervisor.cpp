#include "vmm/guest/supervisor.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/guest/command.hpp"
#include "vmm/guest/config_format.hpp"
#include "vmm/guest/host_link.hpp"
#include "vmm/guest/listeners.hpp"

namespace atlasflow::vmm::guest {
namespace {

// A start is looked at closely, what runs for long rarely: each look wakes an idle VM.
constexpr long k_look_ms = 500;
constexpr long k_late_look_ms = 5000;
constexpr long k_start_ms = 120'000;
// The host reads only the beginning of what is said, and the end of the app must be in it.
constexpr int k_reports_max = 100;
constexpr std::size_t k_socket_table_bytes_max = 1 << 20;
constexpr unsigned long k_disk_full_bytes = 1 << 20;  // less than that left is none left

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

bool disk_is_full() {
  struct statvfs disk {};
  if (statvfs("/", &disk) != 0 || disk.f_blocks == 0) return false;
  return disk.f_bavail * disk.f_frsize < k_disk_full_bytes || disk.f_favail == 0;
}

// To what runs outside of that process group: the kernel's own threads are in none.
void signal_others(pid_t group, int signal_number) {
  DIR* const processes = opendir("/proc");
  if (processes == nullptr) return;
  while (const dirent* const entry = readdir(processes)) {
    const pid_t pid = static_cast<pid_t>(strtol(entry->d_name, nullptr, 10));
    if (pid <= 1) continue;
    const pid_t its_group = getpgid(pid);
    if (its_group > 0 && its_group != group) kill(pid, signal_number);
  }
  closedir(processes);
}

class Supervisor {
 public:
  explicit Supervisor(const Supervised& what)
      : what_(what), output_(what.output), began_ms_(now_ms()), next_look_ms_(began_ms_) {}

  [[noreturn]] void run() {
    for (;;) {
      reap();
      std::array<pollfd, 2> waits{{{what_.signals, POLLIN, 0}, {output_, POLLIN, 0}}};
      // The control port raises SIGIO; to poll it would spin while the host is not connected. The
      // timeout is a net below a lost signal.
      const long look = std::max(0L, next_look_ms_ - now_ms());
      poll(waits.data(), output_ >= 0 ? 2 : 1,
           stop_sent_ ? 50 : static_cast<int>(std::min(look, 1000L)));
      std::array<signalfd_siginfo, 16> infos;
      while (read(what_.signals, infos.data(), sizeof infos) > 0) {
      }
      pump();
      read_control();
      if (stop_sent_ && now_ms() >= kill_at_ms_) end_all();
      if (now_ms() >= next_look_ms_) look_around();
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
      write_all(what_.log, std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    }
  }

  // Every process of the guest ends up as a child of this one, so that none is left means that all
  // have ended.
  void reap() {
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid == what_.app) app_ended(status);
    }
    if (pid < 0 && errno == ECHILD && ended_) finish();
  }

  // What a stopped app leaves behind may be what serves: under a shell or npm, the main process
  // ends first. It has the rest of the grace; those that did not get the signal with the main
  // process's group get SIGTERM now.
  void app_ended(int status) {
    ended_ = true;
    status_ = status;
    if (!stop_sent_ || killed_) finish();
    signal_others(what_.app, SIGTERM);
  }

  void end_all() {
    killed_ = true;
    kill(-1, SIGKILL);
    if (ended_) finish();
  }

  [[noreturn]] void finish() {
    kill(-1, SIGKILL);  // what the app left behind ends with it
    pump();
    const int signal_number = WIFSIGNALED(status_) ? WTERMSIG(status_) : 0;
    const int code = signal_number != 0 ? 128 + signal_number : WEXITSTATUS(status_);
    // Only a SIGKILL that we did not send ourselves can be the kernel's.
    const bool killed_by_us = killed_ || (stop_sent_ && what_.stop_signal == SIGKILL);
    const bool out_of_memory = code == 137 && !killed_by_us && kernel_ran_out_of_memory();
    std::string why;
    if (code != 0 && !stop_sent_) {
      why = disk_is_full() ? k_disk_is_full
                           : why_shell_failed(what_.args, code, what_.path, what_.workdir);
    }
    say("exit " + std::to_string(code) + " " + std::to_string(signal_number) + " " +
        (out_of_memory ? "1" : "0") + (why.empty() ? "" : " " + why));
    power_off();
  }

  // "stop <grace in ms>" lines. Said again, the earlier end counts; the signal is sent once.
  void read_control() {
    std::array<char, 256> buffer;
    const ssize_t n = read(what_.control, buffer.data(), buffer.size());
    if (n <= 0) return;  // 0: the host is not connected
    pending_.append(buffer.data(), static_cast<std::size_t>(n));
    for (std::size_t end; (end = pending_.find('\n')) != std::string::npos;) {
      const std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      long grace_ms = 0;
      if (sscanf(line.c_str(), "stop %ld", &grace_ms) != 1) continue;
      const long due = now_ms() + std::max(0L, grace_ms);
      if (!stop_sent_) {
        // The whole process group: a shell that wraps the app would not hand the signal on.
        kill(-what_.app, what_.stop_signal);
        say("stopping");
        kill_at_ms_ = due;
      }
      kill_at_ms_ = std::min(kill_at_ms_, due);
      stop_sent_ = true;
    }
    if (pending_.size() > 4096) pending_.clear();
  }

  // Tells the host what has changed: where something listens, and whether the disk is full.
  void look_around() {
    const long now = now_ms();
    next_look_ms_ = now + (now - began_ms_ < k_start_ms ? k_look_ms : k_late_look_ms);
    std::vector<Listener> listeners;
    add_listeners(read_file("/proc/net/tcp", k_socket_table_bytes_max), false, listeners);
    add_listeners(read_file("/proc/net/tcp6", k_socket_table_bytes_max), true, listeners);
    report(listens_, "listens " + words_of(listeners));
    const bool full = disk_is_full();
    // Also where its owner looks first: an app that goes on with a full disk fails nowhere else.
    if (report(disk_, full ? "disk full" : "disk free") && full) {
      write_all(what_.log, std::string("atlasflow: ") + k_disk_is_full + "\n");
    }
  }

  // Whether it was news.
  bool report(std::string& told, std::string now) {
    if (told == now || reports_ >= k_reports_max) return false;
    ++reports_;
    say(now);
    told = std::move(now);
    return true;
  }

  const Supervised& what_;
  int output_;
  std::string pending_;
  bool stop_sent_ = false;
  bool killed_ = false;
  bool ended_ = false;  // the app; what it left behind may still run
  int status_ = 0;      // as waitpid gives it
  long kill_at_ms_ = 0;
  long began_ms_;
  long next_look_ms_;
  int reports_ = 0;
  std::string listens_ = "listens ";
  std::string disk_ = "disk free";
};

}  // namespace

void supervise(const Supervised& what) { Supervisor(what).run(); }

}  // namespace atlasflow::vmm::guest
