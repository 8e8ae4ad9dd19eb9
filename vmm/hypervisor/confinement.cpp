#include "vmm/hypervisor/confinement.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "base/file.hpp"
#include "base/log.hpp"
#include "base/process.hpp"
#include "vmm/hypervisor/machine.hpp"
#include "vmm/hypervisor/process.hpp"
#include "vmm/network/network.hpp"

namespace atlasflow::vmm {
namespace {

constexpr const char* k_qemu = "qemu-system-x86_64";
constexpr auto k_trial_limit = std::chrono::seconds(20);
constexpr std::uint64_t k_output_bytes_max = 64U << 10U;
constexpr int k_other_threads_max = 128;  // of QEMU: up to 64 for its disks, and a handful
constexpr int k_other_cpu_percent = 50;   // its network and disks, beside the guest's processors

// Runs QEMU in that root as far as its version: everything that it loads is there, or this fails.
Result<void> try_root(const PrivateRoot& root, const std::filesystem::path& output) {
  const FileDescriptor out(::open(output.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!out) return tl::unexpected<Error>(errno_error("cannot make " + output.string()));
  DaemonSpec spec;
  spec.args = {k_qemu, "--version"};
  spec.stderr_fd = out.get();
  spec.change_user = true;
  spec.uid = k_vm_uid_base;
  spec.gid = k_vm_uid_base;
  spec.root = &root;
  ATLAS_TRY(const auto process,
            spawn_daemon(spec, [](const ProcessId&) -> Result<void> { return {}; }));
  const auto deadline = std::chrono::steady_clock::now() + k_trial_limit;
  while (is_alive(process) && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  kill_process(process, k_trial_limit);
  auto said = read_file(output, k_output_bytes_max).value_or("");
  if (said.find("QEMU emulator version") != std::string::npos) return {};
  while (said.ends_with('\n')) said.pop_back();
  return fail(ErrorCode::unavailable, "QEMU does not run in a root of its own", said);
}

}  // namespace

Confinement::Confinement(const std::filesystem::path& work, bool with_kvm)
    : hierarchies_(own_cgroups()) {
  const auto stand = work / "qemu-root";
  auto made = make_folder(stand);
  if (made) {
    root_.emplace(find_program(k_qemu), stand, with_kvm);
    made = try_root(*root_, work / "qemu-root.log");
  }
  if (!made) {
    root_.reset();
    log_event(LogLevel::warn, "vm", "namespaces_missing",
              {{"error", to_string(made.error())},
               {"hint",
                "QEMU sees the host's files as its user; a "
                "server with CAP_SYS_ADMIN can give it a root of its own"}});
  }
  remove_dead_trials();
  Cgroup trial = cgroup_of(k_trial_prefix + std::to_string(::getpid()));
  trial.create({});
  has_cgroup_ = !trial.procs().empty();
  if (!trial.remove() || !has_cgroup_) {
    log_event(LogLevel::warn, "vm", "cgroup_missing",
              {{"hint", "no cgroup can be made here: VMs have no limits"}});
  }
}

void Confinement::remove_dead_trials() const {
  for (const std::string& name : names()) {
    if (!name.starts_with(k_trial_prefix)) continue;
    const auto pid =
        static_cast<pid_t>(std::strtol(name.c_str() + std::strlen(k_trial_prefix), nullptr, 10));
    if (pid > 0 && (::kill(pid, 0) == 0 || errno != ESRCH)) continue;
    (void)cgroup_of(name).remove();  // what is stuck in it is in nobody's way
  }
}

Cgroup Confinement::cgroup_of(const std::string& machine_name) const {
  return {hierarchies_, k_vm_cgroups, machine_name};
}

std::vector<std::string> Confinement::names() const {
  return Cgroup::names(hierarchies_, k_vm_cgroups);
}

std::string Confinement::missing() const {
  return std::string(has_cgroup_ ? "" : " without cgroup") + (root_ ? "" : " without namespaces");
}

CgroupLimits limits_of(const VmSpec& spec) {
  return {.memory_mib = spec.memory_mib + k_overhead_mib,
          .processes = spec.vcpus + k_other_threads_max,
          .cpu_percent = 100 * spec.vcpus + k_other_cpu_percent};
}

}  // namespace atlasflow::vmm
