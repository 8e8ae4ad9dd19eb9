#include "vmm/disk/scratch.hpp"

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {
namespace {

constexpr std::uint64_t k_bytes_per_mib = 1U << 20U;
constexpr std::uint64_t k_block_bytes = 512;  // of st_blocks, whatever the file system's are

}  // namespace

std::uint64_t DiskLedger::promised_bytes() const {
  std::uint64_t promised = 0;
  std::error_code error;
  for (auto it = std::filesystem::directory_iterator(vms_, error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    struct stat disk {};
    if (::stat((it->path() / k_scratch_file).c_str(), &disk) != 0) continue;
    const auto size = static_cast<std::uint64_t>(disk.st_size);
    const auto taken = static_cast<std::uint64_t>(disk.st_blocks) * k_block_bytes;
    if (size > taken) promised += size - taken;
  }
  return promised;
}

Result<void> DiskLedger::promise(const std::filesystem::path& disk, std::int64_t mib) {
  // The settings' limits have been checked: a negative size would make room.
  ATLAS_ASSERT(mib > 0 && reserve_mib_ >= 0, std::to_string(mib) + " MiB are asked for, " +
                                                 std::to_string(reserve_mib_) + " kept");
  const std::lock_guard guard(mutex_);  // two that look at once would both take the last room
  struct statvfs room {};
  if (::statvfs(vms_.c_str(), &room) != 0) {
    return fail(ErrorCode::internal, "cannot look at the disk of " + vms_.string(),
                std::strerror(errno));
  }
  const auto all_mib =
      static_cast<std::int64_t>(std::uint64_t{room.f_blocks} * room.f_frsize / k_bytes_per_mib);
  if (all_mib < mib) {
    return fail(ErrorCode::user_error, "the host's disk has " + std::to_string(all_mib) +
                                           " MiB in all, and " + std::to_string(mib) +
                                           " MiB are asked for: lower disk_mib");
  }
  const auto free_mib =
      static_cast<std::int64_t>(std::uint64_t{room.f_bavail} * room.f_frsize / k_bytes_per_mib);
  const auto promised_mib = static_cast<std::int64_t>(promised_bytes() / k_bytes_per_mib);
  const std::int64_t left_mib = free_mib - promised_mib - reserve_mib_;
  ATLAS_ASSERT(promised_mib >= 0 && left_mib <= free_mib,
               std::to_string(left_mib) + " MiB left of " + std::to_string(free_mib));
  if (left_mib < mib) {
    return fail(
        ErrorCode::no_capacity,
        "the host has no room for a writable disk of " + std::to_string(mib) +
            " MiB: " + std::to_string(free_mib) + " MiB are free, " + std::to_string(promised_mib) +
            " of them are promised to other VMs and " + std::to_string(reserve_mib_) +
            " are kept; free space on the host, stop apps that are not needed, or lower disk_mib");
  }
  const FileDescriptor fd(::open(disk.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd ||
      ::ftruncate(fd.get(), static_cast<off_t>(mib) * static_cast<off_t>(k_bytes_per_mib)) != 0) {
    return fail(ErrorCode::internal, "cannot make the writable disk " + disk.string(),
                std::strerror(errno));
  }
  return {};
}

Result<void> format_scratch(const std::filesystem::path& disk, uid_t owner) {
  // No journal: the disk never outlives a crash. mke2fs discards what is in the file first and then
  // knows that it reads as zeros, so the inode tables (1.6 % of the size) stay holes.
  ATLAS_TRYV(run_tool({"mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-O",
                       "^has_journal,^metadata_csum,^resize_inode", disk.string()},
                      std::chrono::minutes(1)));
  if (::chown(disk.c_str(), owner, owner) != 0) {
    return fail(ErrorCode::internal, "cannot give the writable disk to its VM",
                std::strerror(errno));
  }
  return {};
}

}  // namespace atlasflow::vmm
