#include "sim/disk/log_disk.hpp"

#include "sim/disk/lossy_log.hpp"

namespace atlasflow::sim {
namespace {

// Every append is there at once and whole: what a power cut does to a database is tried on one.
class MemoryDisk final : public LogDisk {
 public:
  explicit MemoryDisk(std::shared_ptr<storage::MemoryStore> store) : store_(std::move(store)) {}

  Result<std::unique_ptr<storage::EventLog>> open(TimestampUs) override {
    return storage::open_memory_event_log(store_, "sim");
  }
  bool is_shared() const override { return true; }
  void kill_process() override {}
  bool cut_power_after(std::uint64_t) override { return false; }
  bool is_dead() const override { return false; }
  void lose_power(Choices&) override {}
  void fail_next_sync() override {}
  void fill_up(bool) override {}
  void run_background() override {}

 private:
  std::shared_ptr<storage::MemoryStore> store_;
};

class RocksdbDisk final : public LogDisk {
 public:
  Result<std::unique_ptr<storage::EventLog>> open(TimestampUs now) override {
    storage::EventLogConfig config;
    config.folder = k_folder;
    config.build_id = "sim";
    auto opened = open_lossy_log(disk_, config, now);
    if (!opened) return tl::unexpected(opened.error());
    env_ = std::move(opened->env);
    return std::move(opened->log);
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
  void fill_up(bool full) override {
    disk_->heal();
    if (full) disk_->set_capacity(disk_->used_bytes() + k_room_left_bytes);
  }
  void run_background() override {
    if (env_ != nullptr) env_->run_background();
  }

 private:
  static constexpr const char* k_folder = "/events";
  static constexpr std::uint64_t k_room_left_bytes = 700;  // an append or two
  std::shared_ptr<LossyDisk> disk_ = formatted_disk(k_folder);
  std::shared_ptr<LossyEnv> env_;
};

}  // namespace

std::unique_ptr<LogDisk> make_memory_disk(std::shared_ptr<storage::MemoryStore> store) {
  return std::make_unique<MemoryDisk>(std::move(store));
}

std::unique_ptr<LogDisk> make_rocksdb_disk() { return std::make_unique<RocksdbDisk>(); }

}  // namespace atlasflow::sim
