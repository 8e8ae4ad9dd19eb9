// The body of a push on its way to git: a file without a name, which is gone with its owner. One
// thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow::receive {

class Spool {
 public:
  // free_bytes_min: what must stay free on the folder's disk.
  [[nodiscard]] static Result<Spool> make(const std::filesystem::path& folder,
                                          std::uint64_t free_bytes_min);

  // After an error what comes is dropped: who sends it reads no answer before it is through.
  void take(std::string_view bytes);
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  // From its beginning.
  [[nodiscard]] Result<int> rewound();

 private:
  Spool(FileDescriptor file, std::uint64_t free_bytes_min)
      : file_(std::move(file)), free_bytes_min_(free_bytes_min) {}

  FileDescriptor file_;
  std::uint64_t free_bytes_min_;
  std::uint64_t size_ = 0;
  std::uint64_t checked_at_ = 0;  // the size at the last look at the disk
  std::optional<Error> error_;
};

// disk_full: less than that is free on the folder's disk.
[[nodiscard]] Result<void> expect_room(const std::filesystem::path& folder, std::uint64_t bytes);

}  // namespace atlasflow::receive
