// The Hypervisor over QEMU: what start, status, list and stop do, step by step. The parts are in
// the files beside this one; README.md says which.
#include <algorithm>
#include <mutex>
#include <random>
#include <set>
#include <shared_mutex>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "events/settings.hpp"
#include "vmm/disk/config_drive.hpp"
#include "vmm/disk/scratch.hpp"
#include "vmm/hypervisor/accelerator.hpp"
#include "vmm/hypervisor/boot_gate.hpp"
#include "vmm/hypervisor/confinement.hpp"
#include "vmm/hypervisor/control.hpp"
#include "vmm/hypervisor/ending.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/hypervisor/kernel.hpp"
#include "vmm/hypervisor/launch.hpp"
#include "vmm/hypervisor/name_claim.hpp"
#include "vmm/hypervisor/process.hpp"
#include "vmm/hypervisor/record.hpp"
#include "vmm/hypervisor/running_machines.hpp"
#include "vmm/image/collect.hpp"
#include "vmm/image/image.hpp"
#include "vmm/image/layers.hpp"
#include "vmm/network/network.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr auto k_boot_limit_tcg = seconds(60);
constexpr auto k_boot_limit_kvm = seconds(30);
constexpr auto k_poll = milliseconds(5);
constexpr auto k_power_off_limit = seconds(3);
constexpr auto k_kill_limit = seconds(10);
constexpr int k_port_attempts = 3;
constexpr auto k_wait_for_starts = seconds(10);

struct HostFolders {
  fs::path vms;
  fs::path layers;
  fs::path images;
  fs::path cache;
  fs::path logs;
};

class QemuHypervisor final : public Hypervisor {
 public:
  QemuHypervisor(const HostConfig& config, HostFolders folders, GuestBoot boot,
                 Accelerator accelerator, const std::string& host_id)
      : config_(config),
        folders_(std::move(folders)),
        boot_(std::move(boot)),
        accelerator_(accelerator),
        confinement_(folders_.cache, accelerator == Accelerator::kvm),
        ledger_(folders_.vms, config.disk_reserve_mib),
        name_prefix_(machine_name_prefix(host_id)),
        boot_id_(host_boot_id()),
        layers_(folders_.layers, accelerator == Accelerator::kvm),
        gate_(std::max(1U, std::thread::hardware_concurrency()) *
              (accelerator == Accelerator::kvm ? 4U : 1U)) {}

  Accelerator accelerator() const override { return accelerator_; }
  std::string missing_confinement() const override { return confinement_.missing(); }
  Result<Endpoint> start(const VmSpec& spec, std::stop_token stop) override;
  VmStatus status(const VmId& vm_id) override;
  std::vector<VmId> list() override;
  Result<VmExit> stop(const VmId& vm_id, milliseconds grace, std::stop_token leave) override;
  Result<std::vector<std::string>> collect(const std::function<Result<std::set<ImageRef>>()>& keep,
                                           std::stop_token stop) override;
  void bound_files() override;

 private:
  // What start gathers before there is a process.
  struct Prepared {
    GuestRun run;
    std::vector<fs::path> disks;
    std::uint16_t port = 0;  // where the app is looked for
    std::vector<std::string> notices;
  };

  fs::path dir_of(const VmId& vm_id) const { return folders_.vms / vm_id.str(); }
  std::string name_of(const VmId& vm_id) const { return name_prefix_ + vm_id.str(); }

  std::optional<ProcessId> process_of(const VmId& vm_id, const VmRecord& record) const;
  Result<void> remove(const VmId& vm_id);
  Result<Endpoint> boot_vm(const VmSpec& spec, const std::stop_token& stop);
  Result<Prepared> prepare(const VmSpec& spec, const std::stop_token& stop);
  Result<void> await_started(const VmId& vm_id, const LaunchedVm& launched,
                             const std::stop_token& stop) const;
  VmExit explain(const VmId& vm) const;

  HostConfig config_;
  HostFolders folders_;
  GuestBoot boot_;
  Accelerator accelerator_;
  Confinement confinement_;
  DiskLedger ledger_;
  std::string name_prefix_;
  std::string boot_id_;
  LayerStore layers_;
  BootGate gate_;
  std::shared_timed_mutex disks_;  // shared by starts; alone: what removes disks
  std::mutex mutex_;
  std::set<VmId> starting_;  // in this process; a folder that is not in here was left behind
  std::set<VmId> stopping_;
};

Result<void> check(const VmSpec& spec) {
  if (!is_vm_id(spec.vm_id.str())) {
    return fail(ErrorCode::invalid_argument, "a VM's name is 1 to 48 of a-z, 0-9 and '-'");
  }
  if (!is_vm_id(spec.hostname)) {
    return fail(ErrorCode::invalid_argument, "a VM's hostname is 1 to 48 of a-z, 0-9 and '-'");
  }
  // The settings have these limits too, so nobody comes here with more.
  if (!k_memory_mib_range.holds(spec.memory_mib) || !k_vcpus_range.holds(spec.vcpus) ||
      !k_disk_mib_range.holds(spec.disk_mib)) {
    return fail(ErrorCode::invalid_argument, "a VM has " + k_memory_mib_range.text() +
                                                 " MiB of memory, " + k_vcpus_range.text() +
                                                 " processors and a writable disk of " +
                                                 k_disk_mib_range.text() + " MiB");
  }
  if (spec.port == 0) return fail(ErrorCode::invalid_argument, "the app's port is 1 to 65535");
  return {};
}

// ---- finding ------------------------------------------------------------------------------------

std::optional<ProcessId> QemuHypervisor::process_of(const VmId& vm_id,
                                                    const VmRecord& record) const {
  if (record.process.pid <= 0 || record.boot_id != boot_id_) return std::nullopt;
  // A control plane that was killed right after it let the process go leaves one that has not
  // executed QEMU yet; give it a moment to show its name.
  for (int tries = 0; tries < 40; ++tries) {
    if (!is_alive(record.process)) return std::nullopt;
    const std::string command = command_line_of(record.process) + " ";
    if (command.find(" -name " + name_of(vm_id) + " ") != std::string::npos) return record.process;
    std::this_thread::sleep_for(k_poll);
  }
  return std::nullopt;
}

std::vector<VmId> QemuHypervisor::list() {
  // The periodic inventory is also when a packet filter that somebody wiped comes back.
  if (const auto guarded = guard_host(); !guarded) {
    log_event(LogLevel::error, "vm", "packet_filter_missing",
              {{"error", to_string(guarded.error())}});
  }
  std::set<VmId> ids;
  for (auto& name : names_if_any(folders_.vms)) {
    if (is_vm_id(name)) ids.emplace(std::move(name));
  }
  for (auto& machine : running_machines(config_.state_dir)) ids.emplace(std::move(machine.vm_id));
  // One that was killed between making a VM's cgroup and its process leaves nothing else.
  for (const auto& name : confinement_.names()) {
    if (!name.starts_with(name_prefix_)) continue;
    if (auto vm_id = name.substr(name_prefix_.size()); is_vm_id(vm_id)) {
      ids.emplace(std::move(vm_id));
    }
  }
  return {ids.begin(), ids.end()};
}

VmStatus QemuHypervisor::status(const VmId& vm_id) {
  VmStatus status;
  if (!is_vm_id(vm_id.str())) return status;
  std::error_code unreadable;  // then it is not known not to be there
  if (!fs::exists(dir_of(vm_id), unreadable) && !unreadable) return status;
  const auto record = read_record(dir_of(vm_id));
  if (record) {
    status.endpoint = record->endpoint;
    status.guest_port = record->guest_port;
    status.notices = record->notices;
    status.stop_grace = record->stop_grace;
  }
  const bool alive = record && process_of(vm_id, *record).has_value();
  // After the look at the process: an exit it told before its end is then on disk.
  const GuestEvents events = read_guest_events(dir_of(vm_id));
  status.listeners = events.listeners;
  status.disk_full = events.disk_full;
  if (events.exit) {
    status.phase = VmPhase::exited;
    status.exit = events.exit;
    return status;
  }
  if (alive) {
    status.phase = events.started ? VmPhase::running : VmPhase::starting;
    return status;
  }
  {
    const std::lock_guard guard(mutex_);
    if (starting_.contains(vm_id)) {
      status.phase = VmPhase::starting;
      return status;
    }
  }
  status.phase = VmPhase::exited;
  status.exit = VmExit{};
  status.exit->lost = !events.failed;
  if (!record || record->process.pid == 0) {
    status.exit->reason = "the start of the microVM was interrupted";
  } else if (record->boot_id != boot_id_) {
    status.exit->reason = "the host was restarted";
  } else if (events.failed) {
    status.exit->reason = to_string(*events.failed);
  } else {
    status.exit = explain(vm_id);
  }
  return status;
}

VmExit QemuHypervisor::explain(const VmId& vm) const {
  const std::string qemu = read_end(dir_of(vm) / "qemu.log");
  const std::string kernel = read_end(dir_of(vm) / "kernel.log");
  return explain_end({qemu, kernel, recorded_cgroup(config_.state_dir, vm.str()).oom_kills() > 0});
}

// ---- starting -----------------------------------------------------------------------------------

Result<Endpoint> QemuHypervisor::start(const VmSpec& spec, std::stop_token stop) {
  ATLAS_TRYV(check(spec));
  const VmStatus before = status(spec.vm_id);
  if (before.phase == VmPhase::running) return before.endpoint;
  ATLAS_TRYV(remove(spec.vm_id));

  const NameClaim claim(mutex_, starting_, spec.vm_id);
  if (!claim.holds()) {
    return fail(ErrorCode::conflict, "the VM " + spec.vm_id.str() + " is being started already");
  }
  const auto begin = steady_clock::now();
  auto endpoint = [&] {
    const std::shared_lock uses_disks(disks_);
    return boot_vm(spec, stop);
  }();
  if (!endpoint) {
    if (auto removed = remove(spec.vm_id); !removed) {
      log_event(LogLevel::error, "vm", "remains",
                {{"vm", spec.vm_id}, {"error", to_string(removed.error())}});
    }
  }
  const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin).count();
  if (endpoint) {
    log_event(
        "vm", "started",
        {{"vm", spec.vm_id}, {"image", spec.image}, {"port", endpoint->port}, {"took_ms", took}});
  } else {
    log_event("vm", "start_failed",
              {{"vm", spec.vm_id},
               {"image", spec.image},
               {"took_ms", took},
               {"error", to_string(endpoint.error())}});
  }
  return endpoint;
}

Result<Endpoint> QemuHypervisor::boot_vm(const VmSpec& spec, const std::stop_token& stop) {
  const fs::path dir = dir_of(spec.vm_id);
  ATLAS_TRYV(make_folder(dir));
  ::chmod(dir.c_str(), 0700);
  ATLAS_TRYV(write_record(dir, {spec.vm_id.str(), spec.image.str(), boot_id_, {}, {}}));
  ATLAS_TRY(const auto prepared, prepare(spec, stop));
  ATLAS_TRYV(guard_host());

  const auto place = gate_.enter(stop);
  if (!place) return fail(ErrorCode::cancelled, "the start was stopped on request");
  VmSpec placed = spec;
  placed.port = prepared.port;
  for (int attempt = 1;; ++attempt) {
    ATLAS_TRY(const auto launched,
              launch_vm({placed, prepared.run, boot_, prepared.disks, config_.state_dir, dir,
                         folders_.logs / (spec.vm_id.str() + ".run.log"), ledger_, confinement_,
                         name_of(spec.vm_id), prepared.notices, accelerator_}));
    const auto started = await_started(spec.vm_id, launched, stop);
    if (started) return launched.endpoint;
    kill_process(launched.process, k_kill_limit);
    const bool port_taken =
        read_file(dir / "qemu.log", 1 << 20).value_or("").find("host forwarding rule") !=
        std::string::npos;
    if (!port_taken || attempt == k_port_attempts) return tl::unexpected<Error>(started.error());
  }
}

Result<QemuHypervisor::Prepared> QemuHypervisor::prepare(const VmSpec& spec,
                                                         const std::stop_token& stop) {
  ATLAS_TRY(const auto image,
            pull_image(spec.image.str(), config_.registry_plain_http, folders_.images, stop));
  const auto port = port_of(image.config, spec.port, spec.port_given);
  ATLAS_TRY(auto run, merge_run(image.config, spec.env, port, spec.command));
  // Before the dear steps: an environment that does not fit should not cost an unpacked image.
  ATLAS_TRYV(encode_config_drive(run, spec.hostname, guest_network(), 1));
  ATLAS_TRY(auto disks, layers_.disks_for(image.layers, stop));
  return Prepared{std::move(run), std::move(disks), port,
                  notices_of(image.config, spec.port, port)};
}

Result<void> QemuHypervisor::await_started(const VmId& vm_id, const LaunchedVm& launched,
                                           const std::stop_token& stop) const {
  const auto limit = accelerator_ == Accelerator::kvm ? k_boot_limit_kvm : k_boot_limit_tcg;
  const auto deadline = steady_clock::now() + limit;
  for (;;) {
    // In this order: what the guest said before its end is on disk once the process is gone.
    const bool alive = is_alive(launched.process);
    const GuestEvents events = read_guest_events(dir_of(vm_id));
    if (events.started) return {};
    if (events.failed) return tl::unexpected<Error>(*events.failed);
    if (!alive) {
      return fail(ErrorCode::unavailable, "the microVM ended before the app was started; try again",
                  explain(vm_id).reason);
    }
    if (stop.stop_requested())
      return fail(ErrorCode::cancelled, "the start was stopped on request");
    if (steady_clock::now() >= deadline) {
      return fail(ErrorCode::timed_out,
                  "the microVM did not boot within " + std::to_string(limit.count()) +
                      " s; the host may be overloaded, try again",
                  last_message(read_end(dir_of(vm_id) / "kernel.log")));
    }
    std::this_thread::sleep_for(k_poll);
  }
}

// ---- stopping -----------------------------------------------------------------------------------

Result<VmExit> QemuHypervisor::stop(const VmId& vm_id, milliseconds grace, std::stop_token leave) {
  if (!is_vm_id(vm_id.str())) {
    return fail(ErrorCode::invalid_argument, "a VM's name is 1 to 48 of a-z, 0-9 and '-'");
  }
  // A stop that was given up on may still hang in here when the VM is stopped as an orphan.
  const NameClaim claim(mutex_, stopping_, vm_id);
  if (!claim.holds()) {
    return fail(ErrorCode::conflict, "the VM " + vm_id.str() + " is being stopped already");
  }
  const fs::path dir = dir_of(vm_id);
  const auto record = read_record(dir);
  const auto process = record ? process_of(vm_id, *record) : std::nullopt;
  GuestEvents events = read_guest_events(dir);
  bool asked = false;
  if (process && events.started && !events.exit) {
    const auto connection = ask_to_stop(dir, k_control_socket, grace);
    asked = connection.has_value();
    const auto deadline = steady_clock::now() + grace + k_power_off_limit;
    while (asked && !events.exit && is_alive(*process) && steady_clock::now() < deadline) {
      if (leave.stop_requested()) {
        return fail(ErrorCode::cancelled,
                    "the microVM " + vm_id.str() + " is left to stop by itself");
      }
      std::this_thread::sleep_for(k_poll);
      events = read_guest_events(dir);
    }
  }
  if (process && events.exit) {
    const auto deadline = steady_clock::now() + k_power_off_limit;
    while (is_alive(*process) && steady_clock::now() < deadline) {
      std::this_thread::sleep_for(k_poll);
    }
  }
  events = read_guest_events(dir);
  VmExit exit;
  if (events.exit) {
    exit = *events.exit;
  } else if (asked && is_alive(*process)) {
    exit.reason = "the microVM did not answer and was killed";
  } else {
    const VmStatus last = status(vm_id);
    exit = last.exit.value_or(
        VmExit{-1, 0, false, true, "the microVM was killed before its app started"});
    if (last.phase == VmPhase::absent) exit.reason = "there is no such microVM";
  }
  ATLAS_TRYV(remove(vm_id));
  log_event("vm", "stopped",
            {{"vm", vm_id},
             {"exit_code", exit.exit_code},
             {"signal", exit.signal},
             {"reason", exit.reason}});
  return exit;
}

// Kills what runs under that name, recorded or not, and removes the folder. The log stays.
Result<void> QemuHypervisor::remove(const VmId& vm_id) {
  const fs::path dir = dir_of(vm_id);
  // Its cgroup first: whoever else is in it is its as well, and no signal ends who is frozen there.
  bool gone = recorded_cgroup(config_.state_dir, vm_id.str()).remove();
  gone = confinement_.cgroup_of(name_of(vm_id)).remove() && gone;
  if (const auto record = read_record(dir)) {
    if (const auto process = process_of(vm_id, *record)) {
      gone = kill_process(*process, k_kill_limit) && gone;
    }
  }
  for (const auto& machine : running_machines(config_.state_dir)) {
    if (machine.vm_id == vm_id.str()) gone = kill_process(machine.process, k_kill_limit) && gone;
  }
  if (!gone) {
    return fail(ErrorCode::timed_out,
                "the microVM " + vm_id.str() + " does not die; look at its process");
  }
  std::error_code error;
  fs::remove_all(dir, error);
  if (error) {
    return fail(ErrorCode::internal, "cannot remove the folder " + dir.string(), error.message());
  }
  forget_running(config_.state_dir, vm_id.str());
  return {};
}

// ---- bounds -------------------------------------------------------------------------------------

Result<std::vector<std::string>> QemuHypervisor::collect(
    const std::function<Result<std::set<ImageRef>>()>& keep, std::stop_token stop) {
  const std::unique_lock alone(disks_, k_wait_for_starts);
  if (!alone) return fail(ErrorCode::unavailable, "VMs are being started; disks stay for now");
  ATLAS_TRY(const auto kept, keep());
  std::set<std::string> wanted;
  for (const auto& image : kept) wanted.insert(image.str());
  std::set<std::string> in_use;
  for (const auto& machine : running_machines(config_.state_dir)) {
    in_use.merge(open_files_in(machine.process, folders_.layers));
  }
  for (const auto& vm_id : list()) {
    if (const auto record = read_record(dir_of(vm_id))) wanted.insert(record->image);
  }
  return remove_unwanted_images(folders_.images, folders_.layers, wanted, in_use, stop);
}

void QemuHypervisor::bound_files() {
  for (const auto& name : names_if_any(folders_.vms)) {
    const VmId vm_id{name};
    const auto log = folders_.logs / (name + ".run.log");
    const bool near_limit = bound_vm_files(dir_of(vm_id), log);
    const auto record = near_limit ? read_record(dir_of(vm_id)) : std::nullopt;
    const auto process = record ? process_of(vm_id, *record) : std::nullopt;
    if (process) let_log_grow(*process, log);
  }
}

// ---- making -------------------------------------------------------------------------------------

// Names the processes of this state folder, so that two of them on one host leave each other alone.
Result<std::string> host_id_of(const fs::path& state_dir) {
  if (auto known = read_host_id(state_dir)) return *known;
  std::random_device random;
  const std::string id =
      sha256_hex(std::to_string(random()) + "-" + std::to_string(random())).substr(0, 10);
  ATLAS_TRYV(replace_file(host_id_path(state_dir), id, 0600));
  return id;
}

}  // namespace

Result<std::unique_ptr<Hypervisor>> make_qemu_hypervisor(const HostConfig& config) {
  if (::geteuid() != 0) {
    return fail(ErrorCode::unavailable,
                "microVMs need root, to give each one a user of its own; run the server as root");
  }
  const HostFolders folders{config.state_dir / "vm", config.state_dir / "layers",
                            config.state_dir / "images", config.state_dir / "cache",
                            config.log_dir};
  for (const auto& dir :
       {folders.vms, folders.layers, folders.images, folders.cache, folders.logs}) {
    ATLAS_TRYV(make_folder(dir));
  }
  // Unpacked layers hold setuid files and other people's data.
  for (const auto& dir : {folders.vms, folders.layers, folders.images}) ::chmod(dir.c_str(), 0700);
  sweep_temporaries(folders.layers);
  sweep_temporaries(folders.images);

  ATLAS_TRY(const auto kernel, find_kernel(config.kernel_dir));
  ATLAS_TRY(const auto boot, prepare_kernel(kernel, config.guest_init, folders.cache));
  ATLAS_TRY(const auto host_id, host_id_of(config.state_dir));
  ATLAS_TRYV(guard_host());
  ATLAS_TRYV(run_tool({"qemu-system-x86_64", "--version"}, seconds(20)));
  const Accelerator accelerator =
      config.accelerator ? *config.accelerator : choose_accelerator(boot, folders.cache);
  return std::make_unique<QemuHypervisor>(config, folders, boot, accelerator, host_id);
}

}  // namespace atlasflow::vmm
