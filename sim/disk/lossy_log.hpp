// The production event log on a LossyDisk. A freshly made database is the slowest thing about it,
// so one is made per process and copied. Free functions for the simulator's thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/error.hpp"
#include "sim/disk/lossy_disk.hpp"
#include "sim/disk/lossy_env.hpp"
#include "storage/log/event_log.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::sim {

// A disk with an empty log in this folder, all of it durable; each call is a disk of its own.
[[nodiscard]] std::shared_ptr<LossyDisk> formatted_disk(const std::filesystem::path& folder);

// What one simulated process holds. The log goes first.
struct LossyLog {
  std::shared_ptr<LossyEnv> env;
  std::unique_ptr<storage::EventLog> log;
};

// Small enough that a run of some hundred events meets flushes and compactions.
inline constexpr std::size_t k_simulated_write_buffer_bytes = std::size_t{64} << 10U;

// RocksDB draws from one source in this thread whenever it reads a file, and for the heights of its
// skip lists, on which it depends when a file is written. What is read while one of these lives
// leaves no trace in that source: reading more or less changes nothing of a run.
class UnnoticedReading {
 public:
  UnnoticedReading();
  ~UnnoticedReading();
  UnnoticedReading(const UnnoticedReading&) = delete;
  UnnoticedReading& operator=(const UnnoticedReading&) = delete;

 private:
  std::uint32_t seed_;
};

// Starts a process on the disk and opens the log, with production's settings but for their size.
// Its background jobs have run. After each append: env->run_background().
[[nodiscard]] Result<LossyLog> open_lossy_log(
    const std::shared_ptr<LossyDisk>& disk, const storage::EventLogConfig& config, TimestampUs now,
    std::size_t write_buffer_bytes = k_simulated_write_buffer_bytes);

}  // namespace atlasflow::sim
