// From prepared parts to a QEMU process that is on record. Blocking, any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "vmm/disk/config_drive.hpp"
#include "vmm/disk/scratch.hpp"
#include "vmm/hypervisor/confinement.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/hypervisor/kernel.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {

inline constexpr const char* k_control_socket = "control.sock";

struct VmLaunch {
  const VmSpec& spec;  // its port: where the app is looked for
  const GuestRun& run;
  const GuestBoot& boot;
  const std::vector<std::filesystem::path>& disks;  // of the image, bottom first
  std::filesystem::path state_dir;                  // of the host
  std::filesystem::path dir;                        // the VM's folder, which exists
  std::filesystem::path log;
  DiskLedger& ledger;
  const Confinement& confinement;
  std::string machine_name;
  std::vector<std::string> notices;
  Accelerator accelerator = Accelerator::tcg;
};

struct LaunchedVm {
  ProcessId process;
  Endpoint endpoint;
};

// Makes what is the VM's own (scratch disk, config drive, port, sockets), writes its record and
// lets QEMU go. Returns when QEMU listens on the port, or is dead. May be called again for the same
// folder.
[[nodiscard]] Result<LaunchedVm> launch_vm(const VmLaunch& launch);

}  // namespace atlasflow::vmm
