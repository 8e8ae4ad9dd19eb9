#include "sim/disk/log_disk.hpp"

#include <array>
#include <atomic>
#include <utility>

#include "sim/disk/lossy_log.hpp"
#include "storage/log/forwarding_event_log.hpp"

namespace atlasflow::sim {
namespace {

// Refuses appends while its disk is full, as the log on a disk does.
class FillableLog final : public storage::ForwardingEventLog {
 public:
  FillableLog(std::unique_ptr<storage::EventLog> log, std::shared_ptr<const std::atomic<bool>> full)
      : ForwardingEventLog(std::move(log)), full_(std::move(full)) {}

  Result<std::vector<storage::AppendOutcome>> append(
      const std::vector<storage::AppendRequest>& requests, TimestampUs now) override {
    ATLAS_TRYV(has_room());
    return log().append(requests, now);
  }
  Result<Epoch> begin_epoch() override {
    ATLAS_TRYV(has_room());
    return log().begin_epoch();
  }
  Result<void> has_room() const override {
    if (!full_->load()) return {};
    return fail(ErrorCode::disk_full, "the disk is full");
  }

 private:
  std::shared_ptr<const std::atomic<bool>> full_;
};

// Every append is there at once and whole: what a power cut does to a database is tried on one.
class MemoryDisk final : public LogDisk {
 public:
  explicit MemoryDisk(std::shared_ptr<storage::MemoryStore> store) : store_(std::move(store)) {}

  Result<std::unique_ptr<storage::EventLog>> open(TimestampUs) override {
    return std::make_unique<FillableLog>(storage::open_memory_event_log(store_, "sim"),
                                         store_full_);
  }
  bool is_shared() const override { return true; }
  void kill_process() override {}
  bool cut_power_after(std::uint64_t) override { return false; }
  bool is_dead() const override { return false; }
  void lose_power(Choices&) override {}
  void fail_next_sync() override {}
  void fill_up(Choices&) override { store_full_->store(true); }
  void make_room() override { store_full_->store(false); }
  void run_background() override {}

 private:
  std::shared_ptr<storage::MemoryStore> store_;
  std::shared_ptr<std::atomic<bool>> store_full_ = std::make_shared<std::atomic<bool>>(false);
};

class RocksdbDisk final : public LogDisk {
 public:
  Result<std::unique_ptr<storage::EventLog>> open(TimestampUs now) override {
    storage::EventLogConfig config;
    config.folder = k_folder;
    config.build_id = "sim";
    ATLAS_TRY(auto opened, open_lossy_log(disk_, config, now));
    env_ = std::move(opened.env);
    return std::move(opened.log);
  }
  bool is_shared() const override { return false; }
  void kill_process() override { disk_->process_crash(); }
  bool cut_power_after(std::uint64_t count) override {
    disk_->kill_after(count);
    return true;
  }
  bool is_dead() const override { return env_ != nullptr && !env_->is_alive(); }
  void lose_power(Choices& choices) override {
    disk_->crash([&choices](std::uint64_t n) { return choices.below(n); });
  }
  void fail_next_sync() override { disk_->fail_next_sync(); }
  void fill_up(Choices& choices) override {
    constexpr std::array k_kinds{FullDisk::known, FullDisk::racing, FullDisk::deferred};
    const auto kind = k_kinds.at(choices.below(k_kinds.size()));
    disk_->heal();
    disk_->set_capacity(disk_->used_bytes() + choices.below(k_room_left_bytes_max), kind);
  }
  void make_room() override { disk_->heal(); }
  void run_background() override {
    if (env_ != nullptr) env_->run_background();
  }

 private:
  static constexpr const char* k_folder = "/events";
  static constexpr std::uint64_t k_room_left_bytes_max = 2000;  // an append or two
  std::shared_ptr<LossyDisk> disk_ = formatted_disk(k_folder);
  std::shared_ptr<LossyEnv> env_;
};

}  // namespace

std::unique_ptr<LogDisk> make_memory_disk(std::shared_ptr<storage::MemoryStore> store) {
  return std::make_unique<MemoryDisk>(std::move(store));
}

std::unique_ptr<LogDisk> make_rocksdb_disk() { return std::make_unique<RocksdbDisk>(); }

}  // namespace atlasflow::sim
