// The writable disk of a VM: a sparse ext4 that dies with it, so that what an app writes costs disk
// and not the guest's memory. It is sparse, but promised: DiskLedger lets no VM have a disk that
// the host could not give it whole. Blocking, any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>

#include <sys/types.h>

#include "base/error.hpp"

namespace atlasflow::vmm {

inline constexpr const char* k_scratch_file = "scratch.ext4";

// Makes the disk's file with its whole size, all of it holes. Refuses when the file system does not
// have room for that beside what it has promised to the disks before.
class DiskLedger {
 public:
  // vms: the folder with one folder for each VM. reserve_mib: what stays free for the host itself.
  DiskLedger(std::filesystem::path vms, std::int64_t reserve_mib)
      : vms_(std::move(vms)), reserve_mib_(reserve_mib) {}

  // no_capacity: not enough free disk; says how much is missing. user_error: the file system is
  // smaller.
  [[nodiscard]] Result<void> promise(const std::filesystem::path& disk, std::int64_t mib);

 private:
  // What the disks may still take from the file system, in bytes.
  [[nodiscard]] std::uint64_t promised_bytes() const;

  std::filesystem::path vms_;
  std::int64_t reserve_mib_;
  std::mutex mutex_;
};

// Formats a disk that was promised, and gives it to owner.
[[nodiscard]] Result<void> format_scratch(const std::filesystem::path& disk, uid_t owner);

}  // namespace atlasflow::vmm
