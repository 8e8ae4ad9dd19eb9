// Takes a snapshot of the folds whenever the log has grown enough, on a thread of its own with the
// lowest claim on the processor. It reads the log and nothing else, so no actor waits for it; for
// as long as one is made its folds take as much memory as those in use, and without that much free
// none is made. Owned by the control plane, which ends it first.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "storage/log/event_log.hpp"
#include "storage/snapshots/snapshot_store.hpp"

namespace atlasflow::actors {

struct SnapshotRules {
  // A start folds so many records in less than a tenth of a second.
  std::uint64_t records_min = 20'000;
  // Of a long log one part in so many, so that the work for snapshots stays in proportion.
  std::uint64_t log_parts = 32;
  std::chrono::milliseconds look_period = std::chrono::seconds(10);
  std::chrono::milliseconds pause_after_failure = std::chrono::minutes(10);
};

// How many records must follow the newest snapshot, or the log's begin, before the next is taken.
[[nodiscard]] std::uint64_t records_until_next(const SnapshotRules& rules, Position newest);

class Snapshotter {
 public:
  // The log must outlive it.
  Snapshotter(const storage::EventLog& log, storage::SnapshotStore store, std::string domain,
              SnapshotRules rules = {});
  ~Snapshotter();  // ends what it is doing within milliseconds, but for the writing of a file

 private:
  void run(const std::stop_token& stop);
  // Whether it went well.
  bool take_if_due(const std::stop_token& stop);

  const storage::EventLog& log_;
  const storage::SnapshotStore store_;
  const std::string domain_;
  const SnapshotRules rules_;
  Position newest_;
  std::jthread thread_;
};

}  // namespace atlasflow::actors
