// Starts and ends child processes by clone3 and pidfd. A child that gets a PID namespace of its own
// is its init: ending it ends every process below it, by the kernel's word. Internal to builder/;
// any thread, but the child dies with the thread that spawned it (PR_SET_PDEATHSIG).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow::builder {

struct SpawnRequest {
  std::vector<std::string> argv;         // argv[0] is an absolute path
  std::vector<std::string> environment;  // all of it: nothing is inherited
  std::vector<int> inherit;              // become 3, 4, … in the child; everything else is closed
  int output = -1;                       // standard output and error; -1: /dev/null
  std::uint64_t clone_flags = 0;         // CLONE_NEWPID, CLONE_NEWNS, …
  std::vector<int> cgroup_procs;         // open cgroup.procs files that the child joins first
  bool dies_with_parent = true;
  // Runs in the child before exec: async-signal-safe calls only, no allocation. Returns 0, or errno
  // with
  // `*step` set to what failed.
  int (*prepare)(void* context, const char** step) = nullptr;
  void* prepare_context = nullptr;
  // Runs in the parent when the child is prepared and waits.
  std::function<Result<void>(pid_t)> before_exec;
};

struct Exit {
  int code = 0;  // of exit(); 128 + signal when a signal ended it
};

class Process {
 public:
  Process() = default;
  Process(pid_t pid, FileDescriptor pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();  // SIGKILL and wait

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  [[nodiscard]] bool running();
  // Waits at most so long; nullopt: still running.
  std::optional<Exit> wait(std::chrono::milliseconds at_most);
  void signal(int number) const;
  Exit kill();

 private:
  void reap();
  pid_t pid_ = -1;
  FileDescriptor pidfd_;
  std::optional<Exit> exit_;
};

[[nodiscard]] Result<Process> spawn(const SpawnRequest& request);

// How a run ended, and why.
struct RunOutcome {
  enum class End : std::uint8_t { exited, timed_out, cancelled };
  End end = End::exited;
  int exit_code = 0;
};

// Spawns, hands every piece of output to `on_output` and waits. At the deadline or on stop the
// child is killed; `request.output` is set here.
[[nodiscard]] Result<RunOutcome> run(SpawnRequest request, std::chrono::milliseconds deadline,
                                     const std::stop_token& stop,
                                     const std::function<void(std::string_view)>& on_output);

// Where an executable is on the fixed path /usr/local/sbin … /bin; empty when it is not installed.
[[nodiscard]] std::string find_program(std::string_view name);

}  // namespace atlasflow::builder
