// Starts and ends child processes by clone3 and pidfd; no shell. A child has a session of its own,
// the environment and the descriptors that it is given, and nothing else of this process. One that
// gets a PID namespace is its init: ending it ends every process below it, by the kernel's word.
// Any thread; a child that dies with its parent dies with the thread that spawned it
// (PR_SET_PDEATHSIG).
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

namespace atlasflow {

struct SpawnRequest {
  std::vector<std::string> argv;         // what the program is told
  std::string program = {};              // absolute path of what is executed; empty: argv[0]
  std::vector<std::string> environment;  // all of it: nothing is inherited
  std::vector<int> inherit = {};         // become 3, 4, … in the child; everything else is closed
  int input = -1;                        // standard input; -1: /dev/null
  int output = -1;                       // standard output; -1: /dev/null
  int error = -1;                        // standard error; -1: where the output goes
  std::uint64_t clone_flags = 0;         // CLONE_NEWPID, CLONE_NEWNS, …
  std::vector<int> cgroup_procs = {};    // open cgroup.procs files that the child joins first
  bool dies_with_parent = true;
  // Runs in the child before exec: async-signal-safe calls only, no allocation. Returns 0, or errno
  // with `*step` set to what failed, which the error then says.
  int (*prepare)(void* context, const char** step) = nullptr;
  void* prepare_context = nullptr;
  // Runs in the parent when the child is prepared and waits. When this fails, or this process dies
  // meanwhile, the child ends without having executed anything: so there is none that nobody wrote
  // down.
  std::function<Result<void>(pid_t)> before_exec = {};
};

inline constexpr std::size_t k_inherited_max = 40;

struct Exit {
  int code = 0;  // of exit(); 128 + signal when a signal ended it
};

class Process {
 public:
  Process() = default;
  Process(pid_t pid, FileDescriptor pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}
  Process(Process&& other) noexcept;
  Process& operator=(Process&& other) noexcept;
  ~Process();  // kill()

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }
  [[nodiscard]] bool running();
  // Waits at most so long; nullopt: still running.
  std::optional<Exit> wait(std::chrono::milliseconds at_most);
  void signal(int number) const;
  // SIGKILL to it and to its process group, and waits for its end.
  Exit kill();
  // Gives it away: it runs on, and whoever has its identity collects its end.
  [[nodiscard]] pid_t release();

 private:
  void reap();
  pid_t pid_ = -1;
  FileDescriptor pidfd_;
  std::optional<Exit> exit_;
};

// unavailable: there was no process to be had, or it could not execute the program, with the step.
[[nodiscard]] Result<Process> spawn_process(const SpawnRequest& request);

// How a run ended, and why.
struct RunOutcome {
  enum class End : std::uint8_t { exited, timed_out, cancelled };
  End end = End::exited;
  int exit_code = 0;
};

using OutputTaker = std::function<void(std::string_view)>;

// Spawns, hands every piece of output to `on_output` and waits; what goes to standard error too,
// unless on_error takes that. At the deadline or on stop the child is killed with its process
// group. request.output and request.error are set here.
[[nodiscard]] Result<RunOutcome> run_process(SpawnRequest request,
                                             std::chrono::milliseconds deadline,
                                             const std::stop_token& stop,
                                             const OutputTaker& on_output,
                                             const OutputTaker& on_error = {});

// Keeps the end of a text that may be endless: at least the last `bytes` of it, at most twice that.
void append_bounded(std::string& kept, std::string_view more, std::size_t bytes);

// Where an executable is on the fixed path /usr/local/sbin … /bin, whatever PATH says; empty when
// it is not installed. A name with a slash is a path already.
[[nodiscard]] std::string find_program(std::string_view name);

}  // namespace atlasflow
