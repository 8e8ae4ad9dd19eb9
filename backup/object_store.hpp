// Files by what they hold: "objects/ab/<SHA-256>", each written once and never changed, so that
// what two backups have in common is there once. Whoever holds the backup folder's lock uses it,
// one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "base/running_digest.hpp"

namespace atlasflow::backup {

struct Object {
  std::string sha256;  // 64 lower-case hex digits
  std::uint64_t bytes = 0;
  friend bool operator==(const Object&, const Object&) = default;
};

// disk_full where the operating system's reason is that, and then says that a repetition goes on
// where this one stopped.
[[nodiscard]] Error disk_error(Error error);

class ObjectStore {
 public:
  explicit ObjectStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Takes one object in pieces. One that is not finished leaves nothing behind but, after a kill,
  // a temporary file, which remove_unneeded() removes.
  class Writer {
   public:
    ~Writer();
    Writer(Writer&& other) noexcept;
    Writer& operator=(Writer&&) = delete;

    [[nodiscard]] Result<void> add(std::string_view bytes);
    // Durable but for its name, which sync() makes so. Whether it was new is in `added`.
    [[nodiscard]] Result<Object> finish();

   private:
    friend class ObjectStore;
    Writer(ObjectStore& store, std::filesystem::path temporary, FileDescriptor fd)
        : store_(store), temporary_(std::move(temporary)), fd_(std::move(fd)) {}

    ObjectStore& store_;
    std::filesystem::path temporary_;  // empty: finished, or moved from
    FileDescriptor fd_;
    RunningDigest digest_;
    std::uint64_t bytes_ = 0;
  };

  // Makes its folder.
  [[nodiscard]] Result<void> prepare();
  [[nodiscard]] Result<Writer> begin();
  // The file's bytes from offset up to end, or as many as there are.
  [[nodiscard]] Result<Object> put(int fd, std::uint64_t offset, std::uint64_t end,
                                   const std::string& name);
  // The names of all that is in it are durable.
  [[nodiscard]] Result<void> sync() const;

  // Whether it is there with that size; its bytes are not looked at.
  [[nodiscard]] bool has(const Object& object) const;
  // Hands its bytes on. corrupt: it is missing, or its bytes are not those that were put; the
  // message names its file. What was handed on is worth nothing then.
  [[nodiscard]] Result<void> read(const Object& object,
                                  const std::function<Result<void>(std::string_view)>& take) const;

  // Removes objects that are not named, and what was half made.
  void remove_unneeded(const std::set<std::string>& needed) const;

  [[nodiscard]] std::uint64_t objects_added() const { return objects_added_; }
  [[nodiscard]] std::uint64_t bytes_added() const { return bytes_added_; }
  [[nodiscard]] std::filesystem::path path_of(const std::string& sha256) const;

 private:
  std::filesystem::path folder_;
  std::uint64_t objects_added_ = 0;
  std::uint64_t bytes_added_ = 0;
};

}  // namespace atlasflow::backup
