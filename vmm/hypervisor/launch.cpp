#include "vmm/hypervisor/launch.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"
#include "vmm/guest/config_format.hpp"
#include "vmm/hypervisor/accelerator.hpp"
#include "vmm/hypervisor/control.hpp"
#include "vmm/hypervisor/machine.hpp"
#include "vmm/hypervisor/record.hpp"
#include "vmm/hypervisor/running_machines.hpp"
#include "vmm/image/collect.hpp"
#include "vmm/network/network.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// A file in memory only: the secrets in it are on no disk, and end with QEMU.
Result<FileDescriptor> config_in_memory(const std::string& bytes, uid_t owner) {
  FileDescriptor fd(::memfd_create("atlasflow-config", MFD_CLOEXEC));
  if (!fd ||
      ::pwrite(fd.get(), bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()) ||
      ::fchmod(fd.get(), 0400) != 0 || ::fchown(fd.get(), owner, owner) != 0) {
    return fail(ErrorCode::internal, "cannot make the config drive", std::strerror(errno));
  }
  return fd;
}

// Files for QEMU to inherit; the n-th has the number 3 + n there.
class Inheritance {
 public:
  int add(FileDescriptor fd) {
    complete_ = complete_ && fd;
    fds_.push_back(std::move(fd));
    return static_cast<int>(fds_.size()) + 2;
  }
  int open(const fs::path& path, int flags, mode_t mode = 0) {
    return add(FileDescriptor(::open(path.c_str(), flags | O_CLOEXEC, mode)));
  }
  std::string open_as_path(const fs::path& path, int flags) {
    return "/proc/self/fd/" + std::to_string(open(path, flags));
  }
  [[nodiscard]] bool complete() const { return complete_; }
  [[nodiscard]] std::vector<int> numbers() const {
    std::vector<int> numbers;
    for (const FileDescriptor& fd : fds_) numbers.push_back(fd.get());
    return numbers;
  }

 private:
  std::vector<FileDescriptor> fds_;
  bool complete_ = true;
};

// Standard input for QEMU: what makes it tell its events, and no end, as it holds the pipe's other
// end itself.
struct Prompt {
  FileDescriptor read_end;
  FileDescriptor write_end;
};

Result<Prompt> prompt_for_events() {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return tl::unexpected<Error>(errno_error("cannot make a pipe"));
  }
  Prompt prompt{FileDescriptor(ends[0]), FileDescriptor(ends[1])};
  if (::write(ends[1], k_tell_events.data(), k_tell_events.size()) !=
      static_cast<ssize_t>(k_tell_events.size())) {
    return tl::unexpected<Error>(errno_error("cannot write into a pipe"));
  }
  return prompt;
}

DaemonSpec unprivileged(uid_t user, Accelerator accelerator, std::uint64_t disk_bytes) {
  DaemonSpec daemon;
  daemon.change_user = true;
  daemon.uid = user;
  daemon.gid = user;
  // Nobody else trims its log while the control plane is away. A limit that could not be moved on
  // (bound_vm_files) would end the log for good, so there it is the control plane's work alone.
  daemon.file_bytes_max = may_change_limits() ? std::max(k_file_bytes_max, disk_bytes) : 0;
  struct stat kvm {};
  if (accelerator == Accelerator::kvm && ::stat("/dev/kvm", &kvm) == 0) {
    daemon.groups.push_back(kvm.st_gid);
  }
  return daemon;
}

// QEMU listens before it runs the guest, so the guest's first sign of life says that it does. Until
// then the lease keeps others off the port.
void await_listening(const ProcessId& process, const fs::path& dir) {
  const auto deadline = steady_clock::now() + seconds(10);
  std::error_code ignored;
  while (is_alive(process) && steady_clock::now() < deadline && !read_guest_events(dir).hello &&
         fs::file_size(dir / "kernel.log", ignored) == 0) {
    std::this_thread::sleep_for(milliseconds(5));
  }
}

}  // namespace

Result<LaunchedVm> launch_vm(const VmLaunch& launch) {
  const fs::path& dir = launch.dir;
  const VmSpec& spec = launch.spec;
  std::error_code ignored;
  for (const char* name :
       {"guest.events", "qemu.log", "kernel.log", k_scratch_file, k_control_socket}) {
    fs::remove(dir / name, ignored);  // of an attempt whose port was taken
  }
  ATLAS_TRY(auto port, lease_port());
  const uid_t user = uid_of_port(port.port);
  const fs::path scratch = dir / k_scratch_file;
  auto disk = launch.ledger.promise(scratch, spec.disk_mib);
  if (disk) disk = format_scratch(scratch, user);
  if (!disk) return tl::unexpected<Error>(disk.error());
  ATLAS_TRY(const auto drive, encode_config_drive(launch.run, spec.hostname, guest_network(),
                                                  static_cast<int>(launch.disks.size())));
  ATLAS_TRY(auto config, config_in_memory(drive, user));
  ATLAS_TRY(auto control, listen_at(dir, k_control_socket));

  constexpr int k_append = O_WRONLY | O_CREAT | O_APPEND;
  Inheritance files;
  Machine machine;
  machine.name = launch.machine_name;
  machine.accelerator = launch.accelerator;
  machine.tsc_khz = host_tsc_khz();
  machine.memory_mib = spec.memory_mib;
  machine.vcpus = spec.vcpus;
  machine.kernel = files.open_as_path(launch.boot.vmlinux, O_RDONLY);
  machine.initramfs = files.open_as_path(launch.boot.initramfs, O_RDONLY);
  machine.host_port = port.port;
  machine.guest_port = spec.port;
  machine.events_fd = files.open(dir / "guest.events", k_append, 0600);
  machine.log_fd = files.open(launch.log, k_append, 0640);
  machine.kernel_log_fd = files.open(dir / "kernel.log", k_append, 0600);
  machine.control_fd = files.add(std::move(control));
  for (std::size_t i = 0; i < launch.disks.size(); ++i) {
    machine.disks.push_back({guest::k_serial_layer + std::to_string(i),
                             files.open_as_path(launch.disks[i], O_RDONLY), true});
  }
  machine.disks.push_back({guest::k_serial_config,
                           "/proc/self/fd/" + std::to_string(files.add(std::move(config))), true});
  machine.disks.push_back({guest::k_serial_scratch, files.open_as_path(scratch, O_RDWR), false});
  const FileDescriptor output(::open((dir / "qemu.log").c_str(), k_append | O_CLOEXEC, 0600));
  if (!files.complete() || !output) {
    return fail(ErrorCode::internal, "cannot open a file of the VM " + spec.vm_id.str(),
                std::strerror(errno));
  }

  Cgroup cgroup = launch.confinement.cgroup_of(launch.machine_name);
  cgroup.create(limits_of(spec));
  ATLAS_TRY(auto prompt, prompt_for_events());
  (void)files.add(std::move(prompt.write_end));
  machine.tells_its_end = true;
  DaemonSpec daemon =
      unprivileged(user, launch.accelerator, static_cast<std::uint64_t>(spec.disk_mib) << 20U);
  for (const FileDescriptor& procs : cgroup.procs()) daemon.cgroup_procs.push_back(procs.get());
  daemon.root = launch.confinement.root();
  daemon.args = qemu_arguments(machine);
  daemon.fds = files.numbers();
  daemon.stdin_fd = prompt.read_end.get();
  daemon.stderr_fd = output.get();
  const Endpoint endpoint{"127.0.0.1", port.port};
  ATLAS_TRY(
      const auto process, spawn_daemon(daemon, [&](const ProcessId& id) {
        if (auto noted = note_running(launch.state_dir, spec.vm_id.str(), id, cgroup.folders());
            !noted) {
          return noted;
        }
        return write_record(dir, {spec.vm_id.str(), spec.image.str(), host_boot_id(), endpoint, id,
                                  spec.port, spec.stop_grace, launch.notices});
      }));
  await_listening(process, dir);
  return LaunchedVm{process, endpoint};
}

}  // namespace atlasflow::vmm
