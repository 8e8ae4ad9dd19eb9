// The writable disk of a VM: a sparse ext4 that dies with it, so that what an app writes costs disk
// and not the guest's memory. Blocking, any thread.
#pragma once

#include <cstdint>
#include <filesystem>

#include <sys/types.h>

#include "base/error.hpp"

namespace atlasflow::vmm {

inline constexpr std::uint64_t k_scratch_bytes = 2ULL << 30;  // what an app can write

// Formats the template once.
[[nodiscard]] Result<std::filesystem::path> prepare_scratch(const std::filesystem::path& cache_dir);

// A copy of the template that keeps its holes and belongs to owner.
[[nodiscard]] Result<void> copy_scratch(const std::filesystem::path& from,
                                        const std::filesystem::path& to, uid_t owner);

}  // namespace atlasflow::vmm
