// How RocksDB is set up as the event log, with the reason for every setting. Internal to storage/
// and for the simulator, which puts the log on a faulty file system of its own.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>

#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::storage {

// In the order in which handles are kept. One database, so that one batch is atomic over all of
// them.
enum class Family : std::size_t {
  standard,  // RocksDB wants its "default" family to be opened; nothing is in it
  events,
  streams,
  heads,
  dedupe,
  snapshots,
  meta,
};
inline constexpr std::size_t k_family_count = 7;

// Where the simulator's database differs from a server's: in size, and in using no thread but the
// caller's. What is durable, checked or refused must not depend on it.
struct DatabaseTuning {
  std::size_t write_buffer_bytes = 0;           // of each family's memtable; 0: RocksDB's 64 MiB
  std::shared_ptr<rocksdb::Cache> block_cache;  // of all families; null: one of its own
  std::shared_ptr<rocksdb::Logger> text_log;    // null: the process's log, from warnings on
  bool one_thread = false;                      // table files are opened in turn; no statistics
};

[[nodiscard]] rocksdb::DBOptions database_options(rocksdb::Env* env,
                                                  const DatabaseTuning& tuning = {});
[[nodiscard]] std::vector<rocksdb::ColumnFamilyDescriptor> family_descriptors(
    const DatabaseTuning& tuning = {});

[[nodiscard]] rocksdb::WriteOptions synced_write();
// Memory that a write batch takes per key for its own checksums.
inline constexpr std::size_t k_protection_bytes_per_key = 8;
// Of one record or one stretch of an index.
[[nodiscard]] rocksdb::ReadOptions point_read();
// Of a long stretch; the caller sets the bounds.
[[nodiscard]] rocksdb::ReadOptions scan_read();

// open_event_log() on another file system. now: recorded_at of a LogTailLost that it may append.
[[nodiscard]] Result<std::unique_ptr<EventLog>> open_event_log(const EventLogConfig& config,
                                                               std::shared_ptr<rocksdb::Env> env,
                                                               TimestampUs now,
                                                               const DatabaseTuning& tuning = {});

}  // namespace atlasflow::storage
