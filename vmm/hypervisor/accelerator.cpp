#include "vmm/hypervisor/accelerator.hpp"

#include <cmath>
#include <thread>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "vmm/guest/config_format.hpp"
#include "vmm/hypervisor/machine.hpp"
#include "vmm/hypervisor/process.hpp"
#include "vmm/hypervisor/record.hpp"
#include "vmm/network/network.hpp"

namespace atlasflow::vmm {
namespace {

constexpr auto k_kvm_limit = std::chrono::seconds(5);
constexpr std::uint64_t k_cpuinfo_bytes_max = 16U << 20U;  // some 2 KiB for each processor

std::string processor_name() {
  const auto text = read_file("/proc/cpuinfo", k_cpuinfo_bytes_max).value_or("");
  const std::size_t at = text.find("model name");
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

// What the verdict depends on. boot_id: a host that was rebooted may have another BIOS setting.
std::string verdict_key(const GuestBoot& boot) {
  const auto version = run_tool({"qemu-system-x86_64", "--version"}, std::chrono::seconds(20));
  struct stat device {};
  ::stat("/dev/kvm", &device);
  return sha256_hex(boot.vmlinux.filename().string() + "\n" + boot.initramfs.filename().string() +
                    "\n" + version.value_or("") + "\n" + host_boot_id() + "\n" +
                    std::to_string(device.st_rdev) + "\n" + processor_name());
}

}  // namespace

unsigned host_tsc_khz() {
  static const unsigned k_khz = [] {
    timespec before{};
    timespec after{};
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &before);
    const std::uint64_t first = __rdtsc();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ::clock_gettime(CLOCK_MONOTONIC_RAW, &after);
    const std::uint64_t second = __rdtsc();
    const double ns = static_cast<double>(after.tv_sec - before.tv_sec) * 1e9 +
                      static_cast<double>(after.tv_nsec - before.tv_nsec);
    return static_cast<unsigned>(std::lround(static_cast<double>(second - first) / ns * 1e6));
  }();
  return k_khz;
}

Result<void> try_boot(const GuestBoot& boot, Accelerator accelerator,
                      const std::filesystem::path& work_dir, std::chrono::milliseconds limit) {
  if (auto made = make_folder(work_dir); !made) return made;
  const auto events_path = work_dir / "guest.events";
  std::error_code ignored;
  std::filesystem::remove(events_path, ignored);
  const FileDescriptor events(
      ::open(events_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const FileDescriptor kernel(::open(boot.vmlinux.c_str(), O_RDONLY | O_CLOEXEC));
  const FileDescriptor initramfs(::open(boot.initramfs.c_str(), O_RDONLY | O_CLOEXEC));
  if (!events || !kernel || !initramfs) {
    return fail(ErrorCode::internal, "cannot open the guest's kernel or " + events_path.string());
  }
  Machine machine;
  machine.name = "atlasflow-probe";
  machine.accelerator = accelerator;
  machine.tsc_khz = host_tsc_khz();
  machine.kernel = "/proc/self/fd/3";
  machine.initramfs = "/proc/self/fd/4";
  machine.events_fd = 5;
  machine.kernel_words = guest::k_probe_word;
  DaemonSpec spec;
  spec.args = qemu_arguments(machine);
  spec.fds = {kernel.get(), initramfs.get(), events.get()};
  struct stat device {};
  if (accelerator == Accelerator::kvm && ::stat("/dev/kvm", &device) == 0) {
    spec.groups.push_back(device.st_gid);
  }
  spec.change_user = true;
  spec.uid = k_vm_uid_base;
  spec.gid = k_vm_uid_base;

  ATLAS_TRY(const auto process,
            spawn_daemon(spec, [](const ProcessId&) -> Result<void> { return {}; }));
  const auto deadline = std::chrono::steady_clock::now() + limit;
  bool hello = false;
  bool alive = true;
  while (!hello && alive && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    alive = is_alive(process);
    hello = read_guest_events(work_dir).hello;
  }
  kill_process(process, std::chrono::seconds(5));
  if (hello) return {};
  return fail(ErrorCode::unavailable, alive ? "the guest kernel hangs under this accelerator"
                                            : "QEMU ended before the guest was up");
}

Accelerator choose_accelerator(const GuestBoot& boot, const std::filesystem::path& cache_dir) {
  const auto tcg = [](const std::string& why) {
    log_event(
        LogLevel::warn, "vm", "accelerator_chosen",
        {{"accelerator", "tcg"},
         {"reason", why},
         {"hint",
          "microVMs are emulated: several times slower, and no security boundary of QEMU's own"}});
    return Accelerator::tcg;
  };
  if (::access("/dev/kvm", R_OK | W_OK) != 0) return tcg("no /dev/kvm");

  const auto verdict_path = cache_dir / "accelerator.json";
  const std::string key = verdict_key(boot);
  if (const auto text = read_file(verdict_path, 4096)) {
    const auto verdict = nlohmann::json::parse(*text, nullptr, false);
    if (verdict.is_object() && verdict.value("key", "") == key) {
      if (verdict.value("kvm", false)) return Accelerator::kvm;
      return tcg(verdict.value("reason", "KVM did not work before"));
    }
  }
  const auto booted =
      try_boot(boot, Accelerator::kvm, temporary_beside(cache_dir / "kvm-probe"), k_kvm_limit);
  for (const auto& name : names_if_any(cache_dir)) {
    std::error_code ignored;
    if (name.starts_with("kvm-probe")) std::filesystem::remove_all(cache_dir / name, ignored);
  }
  const nlohmann::json verdict = {
      {"key", key}, {"kvm", booted.has_value()}, {"reason", booted ? "" : booted.error().message}};
  // Without the file the next start probes again; that is all.
  if (auto kept = replace_file(verdict_path, verdict.dump(2) + "\n", 0644); !kept) {
    log_event(LogLevel::warn, "vm", "accelerator_verdict_not_kept",
              {{"error", to_string(kept.error())}});
  }
  if (!booted) return tcg(booted.error().message);
  log_event("vm", "accelerator_chosen", {{"accelerator", "kvm"}});
  return Accelerator::kvm;
}

}  // namespace atlasflow::vmm
