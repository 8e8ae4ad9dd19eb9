#include "receive/spool.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow::receive {
namespace {

constexpr std::uint64_t k_between_looks = 8ULL << 20;

}  // namespace

Result<void> expect_room(const std::filesystem::path& folder, std::uint64_t bytes) {
  struct statvfs disk {};
  // One that does not say counts as one that has room: a write will tell.
  if (::statvfs(folder.c_str(), &disk) != 0) return {};
  const auto is_free = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (is_free >= bytes) return {};
  return fail(ErrorCode::disk_full, "the server's disk has " + std::to_string(is_free >> 20U) +
                                        " MiB free, and the push needs " +
                                        std::to_string(bytes >> 20U) +
                                        " MiB; free some room there and push again");
}

Result<Spool> Spool::make(const std::filesystem::path& folder, std::uint64_t free_bytes_min) {
  ATLAS_TRYV(expect_room(folder, free_bytes_min));
  FileDescriptor file(::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file) {
    return fail(errno == ENOSPC ? ErrorCode::disk_full : ErrorCode::unavailable,
                "the server has no file for the push; try again", std::strerror(errno));
  }
  return Spool(std::move(file), free_bytes_min);
}

void Spool::take(std::string_view bytes) {
  if (error_) return;
  if (size_ - checked_at_ >= k_between_looks) {
    checked_at_ = size_;
    if (const auto room =
            expect_room("/proc/self/fd/" + std::to_string(file_.get()), free_bytes_min_);
        !room) {
      error_ = room.error();
      return;
    }
  }
  if (!write_all(file_.get(), bytes, "the push")) {
    error_ = Error{ErrorCode::disk_full,
                   "the server's disk is full; free some room there and push again", ""};
    return;
  }
  size_ += bytes.size();
}

Result<int> Spool::rewound() {
  if (::lseek(file_.get(), 0, SEEK_SET) == 0) return file_.get();
  return fail(ErrorCode::internal, "the push can't be read again", std::strerror(errno));
}

}  // namespace atlasflow::receive
