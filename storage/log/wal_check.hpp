// RocksDB's write-ahead logs, read whole before RocksDB reads them, which forgives too much: it
// takes a record that is longer than the rest of the file for a write that was cut short, and one
// of a type that it knows from recycled files for the end, and drops it with all behind it,
// acknowledged or not; zeros it skips. What stands behind such a place tells damage from a cut
// write: each batch is synced before the next one is written, so the end of a log may be torn, and
// nothing begins behind it. Used by whoever is about to open the log, one thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string_view>

#include <rocksdb/env.h>

#include "base/error.hpp"

namespace atlasflow::storage {

inline constexpr std::size_t k_wal_block_bytes = 32768;

// Takes the blocks of one log in their order: each of k_wal_block_bytes but the last, which may end
// anywhere.
class WalCheck {
 public:
  void take(std::string_view block);

  // Where in the file reading stops although a record is there or begins behind it; nothing when
  // the log ends as a kill or a power cut may leave it. Wrong checksums are RocksDB's to find.
  [[nodiscard]] std::optional<std::size_t> damage() const { return damage_; }

 private:
  [[nodiscard]] static bool batch_begins_behind(std::string_view block, std::size_t from);

  std::size_t begun_ = 0;            // of the block that is taken, in the file
  std::optional<std::size_t> stop_;  // where RocksDB would stop
  std::optional<std::size_t> damage_;
};

// corrupt: some log in the database's folder is damaged. Fine when there is no folder.
[[nodiscard]] Result<void> check_wals(rocksdb::Env& env, const std::filesystem::path& database);

}  // namespace atlasflow::storage
