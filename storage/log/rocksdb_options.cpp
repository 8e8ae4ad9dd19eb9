#include "storage/log/rocksdb_options.hpp"

#include <array>
#include <cstdarg>
#include <cstdio>

#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>

#include "base/log.hpp"

namespace atlasflow::storage {
namespace {

// The stream's name with the NUL that ends it. Names have no common length, so none of RocksDB's
// fixed prefixes fits. The class name is written into every table file: a change of meaning needs a
// new name.
class StreamPrefix final : public rocksdb::SliceTransform {
 public:
  const char* Name() const override { return "atlasflow.StreamPrefix"; }
  rocksdb::Slice Transform(const rocksdb::Slice& key) const override {
    return {key.data(), key.size() - k_version_size};
  }
  bool InDomain(const rocksdb::Slice& key) const override {
    return key.size() > k_version_size && key[key.size() - k_version_size - 1] == '\0';
  }

 private:
  static constexpr std::size_t k_version_size = 8;
};

// What RocksDB says of itself, said in the process's log. RocksDB's own text file stands on the
// same disk as the database, and after one failed write to it the next line is an assertion that
// ends the process (7.8, sync_without_flush_called_): a full disk would.
class ProcessLog final : public rocksdb::Logger {
 public:
  ProcessLog() : Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}
  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    Logv(rocksdb::InfoLogLevel::HEADER_LEVEL, format, arguments);
  }
  void Logv(rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    // Headers are the options, and that the database was closed.
    if (level < GetInfoLogLevel() || level == rocksdb::InfoLogLevel::HEADER_LEVEL) return;
    std::array<char, 1024> line{};  // a longer one is cut
    if (std::vsnprintf(line.data(), line.size(), format, arguments) < 0) return;
    for (char& byte : line) {
      if (byte == '"' || (byte > 0 && byte < ' ')) byte = ' ';
    }
    const bool grave = level >= rocksdb::InfoLogLevel::ERROR_LEVEL;
    log_event(grave ? LogLevel::error : LogLevel::warn, "log", "rocksdb", {{"text", line.data()}});
  }
};

// Whoever opens the log, to write or to look, reads the write-ahead logs into memory first. Beyond
// this they are made tables, so that what is read then does not grow with the log.
constexpr std::uint64_t k_wal_bytes_max = 8ULL << 20U;
// Of all families together. What is looked at again and again, what lives, fits.
constexpr std::size_t k_block_cache_bytes = 32ULL << 20U;

rocksdb::BlockBasedTableOptions table_options(const DatabaseTuning& tuning,
                                              std::size_t block_size_bytes, bool filter) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = tuning.block_cache;
  table.block_size = block_size_bytes;
  // Newest format that 7.8 reads and writes; its block checksums (XXH3) are verified on every read.
  table.format_version = 5;
  if (filter) table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  return table;
}

rocksdb::ColumnFamilyOptions family_options(const DatabaseTuning& tuning,
                                            const rocksdb::BlockBasedTableOptions& table) {
  rocksdb::ColumnFamilyOptions options;
  if (tuning.write_buffer_bytes != 0) options.write_buffer_size = tuning.write_buffer_bytes;
  // Positions only grow, so files never overlap and level compaction moves them without rewriting.
  // FIFO compaction would delete the oldest events at 1 GB.
  options.compaction_style = rocksdb::kCompactionStyleLevel;
  options.compression = rocksdb::kLZ4Compression;
  options.bottommost_compression = rocksdb::kZSTD;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

}  // namespace

rocksdb::DBOptions database_options(rocksdb::Env* env, const DatabaseTuning& tuning) {
  rocksdb::DBOptions options;
  options.env = env;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  // The default, point-in-time recovery, opens with success and silently drops every acknowledged
  // event after a flipped byte. This mode refuses then, and forgives a torn tail only: what a power
  // cut leaves of a write that was never acknowledged. The anchor tells when the tail was more.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  // All families are flushed together; a rarely written one would else pin the write-ahead log.
  options.atomic_flush = true;
  options.paranoid_checks = true;
  // Read-only secondaries need every table file kept open.
  options.max_open_files = -1;
  options.max_total_wal_size = k_wal_bytes_max;
  // One writer gains nothing from these, atomic_flush forbids the first, the others relax what a
  // reader may see or what is on disk after a write.
  options.enable_pipelined_write = false;
  options.unordered_write = false;
  options.two_write_queues = false;
  options.manual_wal_flush = false;
  // Each of these had a recovery bug that was fixed only after 7.8 (stale records in recycled
  // files, lost records in compressed ones, false corruption reports from the tracking).
  options.recycle_log_file_num = 0;
  options.wal_compression = rocksdb::kNoCompression;
  options.track_and_verify_wals_in_manifest = false;
  options.info_log = tuning.text_log ? tuning.text_log : std::make_shared<ProcessLog>();
  if (tuning.one_thread) {
    options.max_file_opening_threads = 1;
    options.stats_dump_period_sec = 0;
    options.stats_persist_period_sec = 0;
  }
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> family_descriptors(const DatabaseTuning& wanted) {
  auto tuning = wanted;
  if (!tuning.block_cache) tuning.block_cache = rocksdb::NewLRUCache(k_block_cache_bytes);
  // Read in order, where larger compresses better, and one by one, where each costs a whole block:
  // a deployment's records lie far apart.
  constexpr std::size_t k_scan_block_bytes = 16ULL << 10U;
  constexpr std::size_t k_point_block_bytes = 4ULL << 10U;
  // Events are found by position or scanned, never missed, so a filter would only cost memory.
  const auto events = family_options(tuning, table_options(tuning, k_scan_block_bytes, false));

  auto streams = family_options(tuning, table_options(tuning, k_point_block_bytes, true));
  streams.prefix_extractor = std::make_shared<const StreamPrefix>();
  streams.memtable_prefix_bloom_size_ratio = 0.1;

  // Most look-ups here are for streams and keys that do not exist: that is what filters answer.
  const auto looked_up = family_options(tuning, table_options(tuning, k_point_block_bytes, true));
  const auto plain = family_options(tuning, table_options(tuning, k_point_block_bytes, false));
  return {{rocksdb::kDefaultColumnFamilyName, plain},
          {"events", events},
          {"streams", streams},
          {"heads", looked_up},
          {"dedupe", looked_up},
          {"snapshots", plain},
          {"meta", plain}};
}

rocksdb::WriteOptions synced_write() {
  rocksdb::WriteOptions options;
  options.sync = true;
  // Checksums travel with every key from the batch to the memtable, against flipped memory.
  options.protection_bytes_per_key = k_protection_bytes_per_key;
  return options;
}

rocksdb::ReadOptions point_read() {
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  return options;
}

rocksdb::ReadOptions scan_read() {
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  options.readahead_size = 2ULL << 20U;
  options.fill_cache = false;  // a replay must not push out what the actors read
  options.total_order_seek = true;
  return options;
}

}  // namespace atlasflow::storage
