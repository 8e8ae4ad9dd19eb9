#include "sim/lossy_log.hpp"

#include <map>
#include <mutex>
#include <utility>

#include <rocksdb/cache.h>

#include "events/assert.hpp"
#include "storage/rocksdb_options.hpp"

namespace atlasflow::sim {
namespace {

// Its only user is one thread, and shards are for many.
constexpr std::size_t k_block_cache_bytes = std::size_t{1} << 20U;
constexpr int k_block_cache_shard_bits = 0;

std::unique_ptr<const LossyDisk> format(const std::filesystem::path& folder) {
  const auto disk = std::make_shared<LossyDisk>();
  const auto opened = open_lossy_log(disk, {folder, "template", false}, 0);
  ATLAS_ASSERT(opened, "a log could not be made on an empty disk");
  disk->process_crash();
  disk->settle();
  return std::make_unique<const LossyDisk>(*disk);
}

}  // namespace

std::shared_ptr<LossyDisk> formatted_disk(const std::filesystem::path& folder) {
  static std::mutex mutex;
  static std::map<std::filesystem::path, std::unique_ptr<const LossyDisk>> made;
  const std::lock_guard lock(mutex);
  auto& disk = made[folder];
  if (!disk) disk = format(folder);
  return std::make_shared<LossyDisk>(*disk);
}

Result<LossyLog> open_lossy_log(const std::shared_ptr<LossyDisk>& disk,
                                const storage::EventLogConfig& config, TimestampUs now,
                                std::size_t write_buffer_bytes) {
  storage::DatabaseTuning tuning;
  tuning.write_buffer_bytes = write_buffer_bytes;
  tuning.block_cache = rocksdb::NewLRUCache(k_block_cache_bytes, k_block_cache_shard_bits);
  tuning.one_thread = true;
  auto env = std::make_shared<LossyEnv>(disk, now);
  auto log = storage::open_event_log(config, env, now, tuning);
  if (!log) return tl::unexpected(std::move(log.error()));
  env->run_background();
  return LossyLog{std::move(env), std::move(*log)};
}

}  // namespace atlasflow::sim
