// Whether this kernel really boots under KVM here. A /dev/kvm that opens proves nothing: on some
// hosts QEMU aborts with it, on others the guest hangs without a word. So one guest is booted to
// its init, with a deadline. Blocking, called once per Hypervisor.
#pragma once

#include <filesystem>

#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/hypervisor/kernel.hpp"

namespace atlasflow::vmm {

// The verdict is kept in cache_dir, for this kernel, QEMU, host boot and processor.
[[nodiscard]] Accelerator choose_accelerator(const GuestBoot& boot,
                                             const std::filesystem::path& cache_dir);

// Boots the guest to its init's first word and back off.
[[nodiscard]] Result<void> try_boot(const GuestBoot& boot, Accelerator accelerator,
                                    const std::filesystem::path& work_dir,
                                    std::chrono::milliseconds limit);

// The frequency of the host's time stamp counter, measured over 50 ms once per process.
[[nodiscard]] unsigned host_tsc_khz();

}  // namespace atlasflow::vmm
