// Bounds on what VMs cost on disk: what lies there for images and is needed no more, what a killed
// control plane left half made, and how far a VM's own files may grow. Blocking.
#pragma once

#include <cstdint>
#include <filesystem>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {

// How large a file of a VM may get while no server trims it; the server moves the limit on.
inline constexpr std::uint64_t k_file_bytes_max = 2ULL << 30;

// The files below `folder` that a process has open, by name. Empty when the process is gone.
[[nodiscard]] std::set<std::string> open_files_in(const ProcessId& process,
                                                  const std::filesystem::path& folder);

// Removes image folders and blobs in `images`, and disks in `layers`, that none of the wanted
// images is made of, and what is half made; disks in disks_in_use stay whatever the images say.
// wanted: references by digest. The caller sees to it that no VM is being started meanwhile.
// Returns what it removed. Stops between two files.
[[nodiscard]] std::vector<std::string> remove_unwanted_images(
    const std::filesystem::path& images, const std::filesystem::path& layers,
    const std::set<std::string>& wanted, const std::set<std::string>& disks_in_use,
    const std::stop_token& stop);

// What a killed control plane left half made. Younger than an hour may be another thread's.
void sweep_temporaries(const std::filesystem::path& dir);

// Cuts what a VM writes beside its log once it is larger than it ever should be. True when the log
// is so long that the VM's process needs let_log_grow.
[[nodiscard]] bool bound_vm_files(const std::filesystem::path& vm_dir,
                                  const std::filesystem::path& log);

// Moves the limit on the size of its files on for a process whose log has come near to it. The log
// may be trimmed: its size is where the process goes on.
void let_log_grow(const ProcessId& process, const std::filesystem::path& log);

}  // namespace atlasflow::vmm
