// The ends of RocksDB's write-ahead logs, looked at before RocksDB forgives them. It takes a record
// that is longer than the rest of the file for a write that was cut short, and drops it with all
// behind it. One flipped bit in a record's length looks the same and would silently cost every
// acknowledged event since the anchor; what stands behind it tells the two apart. Used once, by
// whoever is about to open the log for writing.
#pragma once

#include <filesystem>
#include <string_view>

#include <rocksdb/env.h>

#include "base/error.hpp"

namespace atlasflow::storage {

inline constexpr std::size_t k_wal_block_bytes = 32768;

// Of the last block of a log, which may be cut anywhere. False: its end is no cut write, because a
// whole record stands where RocksDB would stop reading or behind it.
[[nodiscard]] bool ends_like_a_cut_write(std::string_view last_block);

// corrupt: the end of some log in the database's folder is damaged. Fine when there is no folder.
[[nodiscard]] Result<void> check_wal_tails(rocksdb::Env& env,
                                           const std::filesystem::path& database);

}  // namespace atlasflow::storage
