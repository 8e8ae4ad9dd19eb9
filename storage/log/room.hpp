// Room on the disk of the event log. A file beside the log, the reserve, holds some of it back, and
// is given back when others have filled the disk, so that the log can go on until there is room
// again. Used by the log's owner; the const members from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

#include <rocksdb/env.h>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::storage {

class Room {
 public:
  // reserve_bytes 0: no reserve.
  Room(std::shared_ptr<rocksdb::Env> env, std::filesystem::path folder,
       std::uint64_t reserve_bytes);

  // Whether so much is free. A disk that does not say counts as one that has room: a write will
  // tell.
  [[nodiscard]] bool is_there(std::uint64_t bytes) const;
  // Whether make() would find so much: with what the reserve holds.
  [[nodiscard]] bool could_make(std::uint64_t bytes) const;
  // As is_there(), and gives the reserve back when it is not. disk_full says what is missing for
  // what.
  [[nodiscard]] Result<void> make(std::uint64_t bytes, const char* what);
  // Takes the reserve again when there is room for it and as much beside it. Looks at the disk at
  // most every ten seconds of `now`.
  void restore(TimestampUs now);

 private:
  void give_back();
  [[nodiscard]] std::optional<std::uint64_t> free_bytes() const;
  [[nodiscard]] bool write_reserve() const;

  const std::shared_ptr<rocksdb::Env> env_;
  const std::filesystem::path folder_;
  const std::filesystem::path file_;
  const std::uint64_t reserve_bytes_;
  std::atomic<bool> held_ = false;
  std::optional<TimestampUs> looked_at_;
};

}  // namespace atlasflow::storage
