// What the event log of a run lies on: memory, or RocksDB on a disk that loses what was not synced.
// Outlives the control planes. One thread.
#pragma once

#include <cstdint>
#include <memory>

#include "sim/run/choices.hpp"
#include "sim/run/scenario.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::sim {

class LogDisk {
 public:
  virtual ~LogDisk() = default;
  // The log, for a process that starts now.
  [[nodiscard]] virtual Result<std::unique_ptr<storage::EventLog>> open(TimestampUs now) = 0;
  // Two control planes can have it open: only the epoch keeps them apart.
  [[nodiscard]] virtual bool is_shared() const = 0;
  // kill -9 of the process: it changes nothing from here on. What it wrote is there.
  virtual void kill_process() = 0;
  // The power is cut in front of the count-th change that is made from now on, so in the middle of
  // an append, and is_dead() from then on. False: there is nothing that it could be in the middle
  // of.
  virtual bool cut_power_after(std::uint64_t count) = 0;
  [[nodiscard]] virtual bool is_dead() const = 0;
  // What was not synced is kept or lost as chosen.
  virtual void lose_power(Choices& choices) = 0;
  virtual void fail_next_sync() = 0;
  virtual void fill_up(Choices& choices) = 0;
  virtual void make_room() = 0;
  // After each step: what a database does by the way.
  virtual void run_background() = 0;
};

[[nodiscard]] std::unique_ptr<LogDisk> make_memory_disk(
    std::shared_ptr<storage::MemoryStore> store);
[[nodiscard]] std::unique_ptr<LogDisk> make_rocksdb_disk();

}  // namespace atlasflow::sim
