#include "sim/disk/snapshot_disk.hpp"

#include <utility>

#include "actors/runtime/shadow_replay.hpp"
#include "actors/runtime/start_folds.hpp"
#include "base/probe.hpp"
#include "sim/disk/lossy_log.hpp"

namespace atlasflow::sim {
namespace {

constexpr const char* k_folder = "/snapshots";
// Of a longer log every comparison folds too much.
constexpr std::uint64_t k_compared_max = 5'000;
// Records between two snapshots; of a long log a part, or a long run would do little else.
constexpr std::uint64_t k_records_min = 10;
constexpr std::uint64_t k_records_drawn = 150;
constexpr std::uint64_t k_log_parts = 8;
// More changes than a snapshot and its digests take: making the folder, each file and its parts,
// its sync, its name, the folder's sync, an older one's end.
constexpr std::uint64_t k_changes_max = 24;

}  // namespace

SnapshotDisk::SnapshotDisk(std::uint64_t seed, std::string domain)
    : random_(seed), domain_(std::move(domain)) {
  draw_next({});
}

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
  if (random_.chance(1, 4)) ++build_;
  return store_.emplace(k_folder, storage::FoldMaker{"sim-" + std::to_string(build_), domain_},
                        env_);
}

std::string SnapshotDisk::take_over(const storage::EventLog& log) {
  const bool dies = random_.chance(1, 3);
  const auto changes = random_.below(k_changes_max);
  if (!actors::ShadowReplay::is_due(*store_) || log.last_position().value() > k_compared_max) {
    return {};
  }
  const UnnoticedReading unnoticed;
  actors::ShadowReplay shadow(log, *store_, actors::ShadowReplay::Of::other_builds);
  const auto report = shadow.run();
  if (!report) return to_string(report.error());
  if (report->difference) return sentence_of(*report->difference);
  ATLAS_PROBE(!report->compared.empty(), "another build took over and made the same of the log");
  if (dies) disk_->kill_after(changes);
  // Whatever is left of it: the next start sees what is there.
  static_cast<void>(shadow.settle());
  return {};
}

void SnapshotDisk::write_if_due(const storage::EventLog& log) {
  if (!store_ || log.last_position() < next_ || !env_->is_alive()) return;
  if (random_.chance(1, 3)) disk_->kill_after(random_.below(k_changes_max));
  const UnnoticedReading unnoticed;
  // Whatever comes of it: the next start sees what is there.
  static_cast<void>(actors::take_snapshot(log, *store_, {}));
  draw_next(log.last_position());
}

}  // namespace atlasflow::sim
