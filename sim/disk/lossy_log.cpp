#include "sim/disk/lossy_log.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include <rocksdb/cache.h>

#include "base/assert.hpp"
#include "sim/disk/lossy_file_system.hpp"
#include "storage/log/rocksdb_options.hpp"

// RocksDB 7.8's own (util/random.h), which it exports and does not install: a state of 32 bits per
// thread, begun with the thread's address. The heights of a memtable's skip list are drawn from it;
// they decide how much memory the table takes, so when it is written to a file, and so how full the
// disk is.
namespace rocksdb {
class Random {
 public:
  static Random* GetTLSInstance();  // NOLINT(readability-identifier-naming): its name there
  std::uint32_t seed_;
};
}  // namespace rocksdb

namespace atlasflow::sim {
namespace {

// The same in every run.
constexpr std::uint32_t k_skip_list_seed = 301;

// Its only user is one thread, and shards are for many.
constexpr std::size_t k_block_cache_bytes = std::size_t{1} << 20U;
constexpr int k_block_cache_shard_bits = 0;

Result<LossyLog> open_on(const std::shared_ptr<LossyDisk>& disk,
                         const storage::EventLogConfig& config, TimestampUs now,
                         std::size_t write_buffer_bytes) {
  storage::DatabaseTuning tuning;
  tuning.write_buffer_bytes = write_buffer_bytes;
  tuning.block_cache = rocksdb::NewLRUCache(k_block_cache_bytes, k_block_cache_shard_bits);
  tuning.text_log = make_no_log();
  tuning.one_thread = true;
  rocksdb::Random::GetTLSInstance()->seed_ = k_skip_list_seed;
  auto env = std::make_shared<LossyEnv>(disk, now);
  ATLAS_TRY(auto log, storage::open_event_log(config, env, now, tuning));
  env->run_background();
  return LossyLog{std::move(env), std::move(log)};
}

LossyLog make_log(const std::shared_ptr<LossyDisk>& disk, const std::filesystem::path& folder) {
  auto made = open_on(disk, {folder, "template", false}, 0, k_simulated_write_buffer_bytes);
  ATLAS_ASSERT(made, "a log on an empty disk: " + to_string(made.error()));
  return std::move(*made);
}

std::unique_ptr<const LossyDisk> format(const std::filesystem::path& folder) {
  const auto disk = std::make_shared<LossyDisk>();
  make_log(disk, folder).log.reset();
  disk->process_crash();
  disk->settle();
  return std::make_unique<const LossyDisk>(*disk);
}

// RocksDB has one timer thread, which does nothing here but ends with the last open database and
// is started again for the next. A log that stays open spares every other one that.
void keep_timer_thread() {
  static const LossyLog kept = make_log(std::make_shared<LossyDisk>(), "/");
}

}  // namespace

UnnoticedReading::UnnoticedReading() : seed_(rocksdb::Random::GetTLSInstance()->seed_) {}

UnnoticedReading::~UnnoticedReading() { rocksdb::Random::GetTLSInstance()->seed_ = seed_; }

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
  keep_timer_thread();
  return open_on(disk, config, now, write_buffer_bytes);
}

}  // namespace atlasflow::sim
