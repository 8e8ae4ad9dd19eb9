// Runs images as microVMs on this machine. One object per host; its calls block and may come from
// several threads at once (one call at a time per vm_id). VMs are processes of their own session:
// they survive the death of the control plane, and a new Hypervisor over the same folder finds them
// again.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "events/ids.hpp"
#include "vmm/guest/listeners.hpp"

namespace atlasflow::vmm {

enum class Accelerator : std::uint8_t { kvm, tcg };

struct HostConfig {
  std::filesystem::path state_dir;  // vm/<vm_id>/, layers/, images/, cache/; created when missing
  std::filesystem::path
      kernel_dir;  // an unpacked linux-image package: boot/vmlinuz-*, lib/modules/*
  std::filesystem::path guest_init;  // the static PID 1, bin/atlasflow-guest-init
  std::filesystem::path log_dir;     // <log_dir>/<vm_id>.run.log: the app's output, append only
  bool registry_plain_http = true;   // the registry speaks HTTP (loopback)
  std::optional<Accelerator> accelerator;  // unset: probe for KVM, else TCG
  std::int64_t disk_reserve_mib = 512;     // of the state folder's disk: not promised to VMs
};

// From the stop signal to SIGKILL, unless the owner says otherwise.
inline constexpr std::chrono::milliseconds k_default_stop_grace{30'000};

struct VmSpec {
  VmId vm_id;  // [a-z0-9-]{1,48}; names the folder and the process
  std::string hostname;
  ImageRef image;
  // The project's environment; wins over the image's. Secret: reaches the guest by the private
  // config drive only. PORT and HOST come from port and are not to be listed.
  std::vector<std::pair<std::string, std::string>> env;
  std::uint16_t port = 3000;  // where the app listens inside the guest
  bool port_given = true;     // false: the only port that the image exposes comes before it
  std::string command;  // for the image's sh, in place of its ENTRYPOINT and CMD; empty: those
  int memory_mib = 512;
  int vcpus = 1;
  int disk_mib = 2048;  // of the writable disk
  std::chrono::milliseconds stop_grace = k_default_stop_grace;
};

// Where the host reaches the app's port. Loopback only.
struct Endpoint {
  std::string address;
  std::uint16_t port = 0;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

struct VmExit {
  int exit_code = -1;  // of the app; -1: not known (killed VM, guest panic)
  int signal = 0;
  bool out_of_memory = false;
  bool lost = false;   // the VM went without a word of its guest: with its host, or killed
  std::string reason;  // a sentence: "the app exited with code 1"
};

enum class VmPhase : std::uint8_t { absent, starting, running, exited };

struct VmStatus {
  VmPhase phase = VmPhase::absent;
  Endpoint endpoint;           // set from starting on
  std::optional<VmExit> exit;  // set when exited
  // As the guest tells: where something listens in it, and that its disk is full.
  std::vector<guest::Listener> listeners = {};
  bool disk_full = false;
  std::uint16_t guest_port = 0;           // where the app is looked for in it
  std::vector<std::string> notices = {};  // about the image, for its owner
  std::chrono::milliseconds stop_grace = k_default_stop_grace;
};

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  [[nodiscard]] virtual Accelerator accelerator() const = 0;
  // What of a VM's confinement this machine does not allow: " without cgroup", " without
  // namespaces"; empty when all is there.
  [[nodiscard]] virtual std::string missing_confinement() const = 0;

  // Pulls the image, makes the disks, starts QEMU and returns when the guest init has started the
  // app. Idempotent by vm_id: a VM of that name that is running is returned as it is; remains of
  // one that is not are cleared first. On an error nothing is left running. user_error: the image
  // cannot run (no command, unknown user).
  [[nodiscard]] virtual Result<Endpoint> start(const VmSpec& spec, std::stop_token stop) = 0;

  // What the world says about a VM. Cheap: reads a file and /proc.
  [[nodiscard]] virtual VmStatus status(const VmId& vm_id) = 0;

  // Every vm_id that has a process or a folder here.
  [[nodiscard]] virtual std::vector<VmId> list() = 0;

  // The image's stop signal to the app, after grace SIGKILL, then the VM's end; returns how the app
  // ended. Removes disks, sockets and the folder; the log stays. A VM that does not exist is a
  // success (exit_code -1). cancelled: `leave` ended the wait; the guest goes on with its grace,
  // and a later stop finds it so.
  [[nodiscard]] virtual Result<VmExit> stop(const VmId& vm_id, std::chrono::milliseconds grace,
                                            std::stop_token leave) = 0;

  // Removes images and layer disks that neither the images to keep nor a VM that is there needs;
  // returns what it removed. `keep` is asked while no VM is being
  // started. unavailable: VMs were being started all the time; try again later.
  [[nodiscard]] virtual Result<std::vector<std::string>> collect(
      const std::function<Result<std::set<ImageRef>>()>& keep, std::stop_token stop) = 0;

  // Keeps what VMs write beside the app's log small, and lets them write on in that, which the
  // caller trims. To be called about once a second; cheap.
  virtual void bound_files() = 0;
};

// Probes KVM, prepares kernel and initramfs. Error unavailable: says which package or file is
// missing.
[[nodiscard]] Result<std::unique_ptr<Hypervisor>> make_qemu_hypervisor(const HostConfig& config);

}  // namespace atlasflow::vmm
