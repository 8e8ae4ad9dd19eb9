// The guest's kernel and initramfs, from the files of Debian's cloud kernel as script/bootstrap
// lays them out below kernel_dir. Blocking; prepare_kernel is called once per Hypervisor.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::vmm {

struct KernelFiles {
  std::string version;  // "6.1.0-56-cloud-amd64"
  std::filesystem::path vmlinuz;
  std::filesystem::path modules;  // lib/modules/<version>
};

struct GuestBoot {
  std::string version;
  std::filesystem::path vmlinux;  // uncompressed: booted by PVH, without the decompressor
  std::filesystem::path initramfs;
};

// The newest version below kernel_dir that has both an image (vmlinuz-* or boot/vmlinuz-*) and
// modules.
[[nodiscard]] Result<KernelFiles> find_kernel(const std::filesystem::path& kernel_dir);

// Uncompresses and assembles into cache_dir, or takes what an earlier life left there: the names
// hold the digests of what they were made from.
[[nodiscard]] Result<GuestBoot> prepare_kernel(const KernelFiles& kernel,
                                               const std::filesystem::path& guest_init,
                                               const std::filesystem::path& cache_dir);

// The ELF image inside a bzImage with an LZ4 payload (Debian's), or a plain ELF as it is.
[[nodiscard]] Result<std::string> extract_vmlinux(std::string_view vmlinuz);

// The names a module's "depends=" field lists (section .modinfo), without scanning lib/modules for
// a modules.dep: a package that was only unpacked has none.
[[nodiscard]] std::vector<std::string> module_dependencies(std::string_view module_bytes);

// wanted and all that they depend on, each after what it needs. `dependencies` returns nothing for
// a module that does not exist, which is then taken to be built into the kernel.
[[nodiscard]] Result<std::vector<std::string>> order_modules(
    const std::vector<std::string>& wanted,
    const std::function<std::vector<std::string>(const std::string&)>& dependencies);

}  // namespace atlasflow::vmm
