#include "sim/log_disk.hpp"

namespace atlasflow::sim {
namespace {

class MemoryDisk final : public LogDisk {
 public:
  explicit MemoryDisk(std::shared_ptr<storage::MemoryStore> store) : store_(std::move(store)) {}

  Result<std::unique_ptr<storage::EventLog>> open() override {
    return storage::open_memory_event_log(store_, "sim");
  }
  bool is_shared() const override { return true; }
  void end_process(bool, Choices&) override {}
  void fail_next_sync() override {}
  void fill_up(bool) override {}
  void run_background() override {}

 private:
  std::shared_ptr<storage::MemoryStore> store_;
};

}  // namespace

std::unique_ptr<LogDisk> make_memory_disk(std::shared_ptr<storage::MemoryStore> store) {
  return std::make_unique<MemoryDisk>(std::move(store));
}

}  // namespace atlasflow::sim
