// Thin ownership and whole-buffer calls over POSIX files. Free functions, any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.hpp"

namespace atlasflow::storage {

class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd();
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// errno as an Error: not_found for ENOENT, else internal.
[[nodiscard]] Error errno_error(std::string message);

// All of the bytes, across interrupted and short writes.
[[nodiscard]] Result<void> write_all(int fd, std::string_view bytes, const std::string& name);
// Up to size bytes from offset; fewer only at the end of the file.
[[nodiscard]] Result<std::string> read_at_most(int fd, std::uint64_t offset, std::size_t size,
                                               const std::string& name);

// Makes the names in the folder durable.
[[nodiscard]] Result<void> sync_folder(const std::filesystem::path& folder);

// Writes a new file of mode 0600 and fsyncs it; its name is made durable by sync_folder.
// already_exists: it was there.
[[nodiscard]] Result<void> write_new_file(const std::filesystem::path& path,
                                          std::string_view bytes);

}  // namespace atlasflow::storage
