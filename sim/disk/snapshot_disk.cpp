#include "sim/disk/snapshot_disk.hpp"

#include "actors/runtime/start_folds.hpp"
#include "sim/disk/lossy_log.hpp"

namespace atlasflow::sim {
namespace {

constexpr const char* k_folder = "/snapshots";
constexpr const char* k_code = "sim";
// Records between two snapshots; of a long log a part, or a long run would do little else.
constexpr std::uint64_t k_records_min = 10;
constexpr std::uint64_t k_records_drawn = 150;
constexpr std::uint64_t k_log_parts = 8;
// More changes than a snapshot takes: making the folder, the file and its parts, its sync, its
// name, the folder's sync, an older one's end.
constexpr std::uint64_t k_changes_max = 12;

}  // namespace

SnapshotDisk::SnapshotDisk(std::uint64_t seed) : random_(seed) { draw_next({}); }

void SnapshotDisk::draw_next(Position now) {
  next_ = Position(now.value() + k_records_min + random_.below(k_records_drawn) +
                   now.value() / k_log_parts);
}

const storage::SnapshotStore& SnapshotDisk::begin_process() {
  const auto choose = [this](std::uint64_t n) { return random_.below(n); };
  if (random_.chance(1, 2)) {
    disk_->crash(choose, TornSector::garbage);
  } else {
    disk_->process_crash();
  }
  if (random_.chance(1, 8)) static_cast<void>(disk_->flip(choose));
  env_ = std::make_shared<LossyEnv>(disk_, 0);
  return store_.emplace(k_folder, k_code, env_);
}

void SnapshotDisk::write_if_due(const storage::EventLog& log, const std::string& domain) {
  if (!store_ || log.last_position() < next_ || !env_->is_alive()) return;
  if (random_.chance(1, 3)) disk_->kill_after(random_.below(k_changes_max));
  const UnnoticedReading unnoticed;
  // Whatever comes of it: the next start sees what is there.
  static_cast<void>(actors::take_snapshot(log, domain, *store_, {}));
  draw_next(log.last_position());
}

}  // namespace atlasflow::sim
