// A microVM as QEMU's command line. Pure. Paths are what QEMU opens; files that its user may not
// reach by their path are inherited and named /proc/self/fd/N or /dev/fdset/N.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/hypervisor/hypervisor.hpp"

namespace atlasflow::vmm {

struct Disk {
  std::string serial;  // the guest finds it by this
  std::string path;
  bool read_only = true;
};

struct Machine {
  std::string name;
  Accelerator accelerator = Accelerator::tcg;
  unsigned tsc_khz = 0;  // of the host; needed under TCG
  int memory_mib = 256;
  int vcpus = 1;
  std::string kernel;
  std::string initramfs;
  std::string kernel_words;  // appended to the kernel's command line
  std::vector<Disk> disks;
  std::uint16_t host_port = 0;  // 0: no network
  std::uint16_t guest_port = 0;
  int events_fd = -1;  // inherited, appended to
  int log_fd = -1;     // inherited, appended to; -1: no port for it
  int kernel_log_fd = -1;
  int control_fd = -1;  // inherited, a listening unix socket; -1: none
  int monitor_fd = -1;
  // Its events go to standard output once k_tell_events was read from standard input: the last one
  // tells a guest's own end from one from outside (ending.hpp).
  bool tells_its_end = false;
};

// What QEMU may take beside the guest's memory: under TCG 128 MiB of translated code and some 50
// MiB of its own; pages of its disks come and go.
inline constexpr int k_overhead_mib = 256;

// QEMU Machine Protocol: nothing is told before the capabilities are agreed on.
inline constexpr std::string_view k_tell_events = "{\"execute\":\"qmp_capabilities\"}\n";

[[nodiscard]] std::vector<std::string> qemu_arguments(const Machine& machine);

}  // namespace atlasflow::vmm
