// Takes a snapshot of the folds whenever the log has grown enough, on a thread of its own with the
// lowest claim on the processor. It reads the log and nothing else, so no actor waits for it; for
// as long as one is made its folds take as much memory as those in use, and without that much free
// none is made. Owned by the control plane, which ends it first.
#pragma once

#include <chrono>
#include <cstdint>
#include <thread>

#include "storage/log/event_log.hpp"
#include "storage/snapshots/snapshot_store.hpp"

namespace atlasflow::actors {

struct SnapshotRules {
  // Folding a log of so many takes some milliseconds; a start needs no snapshot of a short one, but
  // the build after this one has digests to compare with (storage/snapshots/digest_store.hpp).
  std::uint64_t records_min = 2'000;
  // Of a long log one part in so many, so that the work for snapshots stays in proportion.
  std::uint64_t log_parts = 32;
  std::chrono::milliseconds look_period = std::chrono::seconds(10);
  std::chrono::milliseconds pause_after_failure = std::chrono::minutes(10);
};

// How many records must follow the newest snapshot, or the log's begin, before the next is taken.
[[nodiscard]] std::uint64_t records_until_next(const SnapshotRules& rules, Position newest);

// One as the control plane stops, of a log that is so short that nobody waits for it: what follows
// may be another build, and has digests of the very end then.
void take_snapshot_at_stop(const storage::EventLog& log, const storage::SnapshotStore& store);
inline constexpr std::uint64_t k_records_at_stop_max = 50'000;

class Snapshotter {
 public:
  // The log must outlive it.
  Snapshotter(const storage::EventLog& log, storage::SnapshotStore store, SnapshotRules rules = {});
  ~Snapshotter();  // ends what it is doing within milliseconds, but for the writing of a file

 private:
  void run(const std::stop_token& stop);
  // Whether it went well.
  bool take_if_due(const std::stop_token& stop);

  const storage::EventLog& log_;
  const storage::SnapshotStore store_;
  const SnapshotRules rules_;
  Position newest_;
  std::jthread thread_;
};

}  // namespace atlasflow::actors
