// The disk of a run's snapshots: production's store on a disk of its own, where the process dies
// between any two changes of a file or the folder, the power fails, and bytes rot. What happens to
// it comes from a source of chance of its own, so that a run's choices and its log are the same
// with snapshots and without. Outlives the control planes; one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "sim/disk/lossy_disk.hpp"
#include "sim/disk/lossy_env.hpp"
#include "sim/run/random.hpp"
#include "storage/log/event_log.hpp"
#include "storage/snapshots/snapshot_store.hpp"

namespace atlasflow::sim {

class SnapshotDisk {
 public:
  explicit SnapshotDisk(std::uint64_t seed);

  // The process before is gone, by a kill or with the power; another begins. Its store, until the
  // next call.
  [[nodiscard]] const storage::SnapshotStore& begin_process();
  // After each step of the control plane: writes one when the log has grown enough, as far as the
  // process comes with it.
  void write_if_due(const storage::EventLog& log, const std::string& domain);

 private:
  void draw_next(Position now);

  Random random_;
  std::shared_ptr<LossyDisk> disk_ = std::make_shared<LossyDisk>();
  std::shared_ptr<LossyEnv> env_;
  std::optional<storage::SnapshotStore> store_;
  Position next_;  // none is written before the log has come so far
};

}  // namespace atlasflow::sim
