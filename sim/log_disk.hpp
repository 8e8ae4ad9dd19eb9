// What the event log of a run lies on: memory, or RocksDB on a disk that loses what was not synced.
// Outlives the control planes. One thread.
#pragma once

#include <memory>

#include "sim/choices.hpp"
#include "sim/scenario.hpp"
#include "storage/memory_event_log.hpp"

namespace atlasflow::sim {

class LogDisk {
 public:
  virtual ~LogDisk() = default;
  [[nodiscard]] virtual Result<std::unique_ptr<storage::EventLog>> open() = 0;
  // Two control planes can have it open: only the epoch keeps them apart.
  [[nodiscard]] virtual bool is_shared() const = 0;
  // The process is gone; with the power, so is what was not synced.
  virtual void end_process(bool power_cut, Choices& choices) = 0;
  virtual void fail_next_sync() = 0;
  virtual void fill_up(bool full) = 0;
  // After each step: what a database does by the way.
  virtual void run_background() = 0;
};

[[nodiscard]] std::unique_ptr<LogDisk> make_memory_disk(
    std::shared_ptr<storage::MemoryStore> store);

}  // namespace atlasflow::sim
