// The disk of a run's snapshots: production's store on a disk of its own, where the process dies
// between any two changes of a file or the folder, the power fails, and bytes rot. Now and then the
// next process is another build, which must make the same of the log. What happens to
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
  SnapshotDisk(std::uint64_t seed, std::string domain);

  // The process before is gone, by a kill or with the power; another begins. Its store, until the
  // next call.
  [[nodiscard]] const storage::SnapshotStore& begin_process();
  // As a server's start does: where this process is another build, compares what it makes of the
  // log with what those before it wrote down, and takes over. What differs; empty: nothing.
  [[nodiscard]] std::string take_over(const storage::EventLog& log);
  // After each step of the control plane: writes one when the log has grown enough, as far as the
  // process comes with it.
  void write_if_due(const storage::EventLog& log);

 private:
  void draw_next(Position now);

  Random random_;
  std::string domain_;
  std::uint64_t build_ = 0;
  std::shared_ptr<LossyDisk> disk_ = std::make_shared<LossyDisk>();
  std::shared_ptr<LossyEnv> env_;
  std::optional<storage::SnapshotStore> store_;
  Position next_;  // none is written before the log has come so far
};

}  // namespace atlasflow::sim
