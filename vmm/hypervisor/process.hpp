// Processes of the host: short tools that are waited for, and QEMU, which outlives us. Free
// functions, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/error.hpp"
#include "base/process_identity.hpp"

namespace atlasflow::vmm {

class PrivateRoot;

// Runs a tool to its end and returns the last 4 MiB at least of its standard output. The tool's own
// process group is killed at the deadline (timed_out) and on stop (cancelled). A non-zero end is
// `internal` with the last lines of its standard error as the cause. stdin_text is fed to it.
[[nodiscard]] Result<std::string> run_tool(const std::vector<std::string>& args,
                                           std::chrono::milliseconds limit,
                                           std::stop_token stop = {},
                                           const std::string& stdin_text = {});

using ProcessId = ProcessIdentity;

// False when the process is gone or a zombie. Reaps it when it is a zombie child of ours.
[[nodiscard]] bool is_alive(const ProcessId& process);

// Whether this process may change the limits of one of another user; not in every container.
[[nodiscard]] bool may_change_limits();

// Sets the size of files that the process may write to (RLIMIT_FSIZE) to at least that.
void raise_file_limit(const ProcessId& process, std::uint64_t bytes);

// SIGKILL when it is still that process; waits up to limit for its end. True: it is gone.
bool kill_process(const ProcessId& process, std::chrono::milliseconds limit);

struct DaemonSpec {
  std::vector<std::string> args;  // args[0] as find_program (base/process.hpp) takes it
  std::vector<int> fds;           // fds[i] becomes 3 + i in the daemon; at most k_inherited_max
  int stdin_fd = -1;              // -1: /dev/null
  int stderr_fd = -1;             // standard output and error; -1: /dev/null
  bool change_user = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  std::uint64_t file_bytes_max = 0;   // RLIMIT_FSIZE; 0: unlimited
  std::vector<int> cgroup_procs;      // open cgroup.procs files that it joins before anything else
  const PrivateRoot* root = nullptr;  // null: it sees what this process sees
};

// Starts a process of its own session that outlives this one. `record` is called with its identity
// before it executes its program; when record fails, or this process dies meanwhile, it ends
// without having done anything. So there is never a daemon that nobody wrote down.
[[nodiscard]] Result<ProcessId> spawn_daemon(
    const DaemonSpec& spec, const std::function<Result<void>(const ProcessId&)>& record);

}  // namespace atlasflow::vmm
