// A start that goes on from a snapshot begins with what the whole log says, whatever happened to
// the snapshots: at every position of the golden logs and of drawn ones, after a death between any
// two changes of their disk, with any byte damaged.
#include <set>
#include <string>

#include <gmock/gmock.h>

#include "actors/runtime/start_folds.hpp"
#include "sim/checkers/fold_difference.hpp"
#include "sim/disk/lossy_env.hpp"
#include "sim/run/life.hpp"
#include "sim/run/random.hpp"
#include "sim/run/run.hpp"
#include "tests/sim/golden_log.hpp"
#include "tests/sim/small_scenarios.hpp"

namespace atlasflow::sim {
namespace {

constexpr const char* k_folder = "/snapshots";
constexpr const char* k_domain = k_made_up_domain;

struct Begun {
  storage::Catalog catalog;
  actors::StartFolds folds;
};

std::unique_ptr<Begun> begin(const storage::EventLog& log,
                             const storage::SnapshotStore* snapshots = nullptr) {
  auto begun = std::make_unique<Begun>();
  auto folds = actors::fold_log(log, k_domain, begun->catalog, snapshots);
  EXPECT_TRUE(folds) << to_string(folds.error());
  if (folds) begun->folds = *std::move(folds);
  return begun;
}

std::string difference(const Begun& one, const Begun& other) {
  const auto differs = fold_difference(one.catalog.fold(), other.catalog.fold());
  return differs.empty() ? fold_difference(one.folds, other.folds) : differs;
}

// A process with a store on the disk.
struct Process {
  explicit Process(const std::shared_ptr<LossyDisk>& disk)
      : env(std::make_shared<LossyEnv>(disk, 0)), store(k_folder, {"build", k_domain}, env) {}
  std::shared_ptr<LossyEnv> env;
  storage::SnapshotStore store;
};

std::unique_ptr<storage::EventLog> open(std::shared_ptr<storage::MemoryStore> store) {
  return storage::open_memory_event_log(std::move(store), "test");
}

void expect_equal_from_every_position(const std::shared_ptr<storage::MemoryStore>& store) {
  const auto log = open(store);
  const auto whole = begin(*log);
  for (Position at{1}; at <= log->last_position(); at = at.next()) {
    const Process process(std::make_shared<LossyDisk>());
    const auto head = open(storage::fork_memory_store(*store, at));
    const auto taken = actors::take_snapshot(*head, process.store, {});
    ASSERT_TRUE(taken) << to_string(taken.error());
    ASSERT_EQ(*taken, at);
    const auto begun = begin(*log, &process.store);
    ASSERT_THAT(process.store.positions(), testing::ElementsAre(at)) << "it was dropped";
    ASSERT_EQ(difference(*begun, *whole), "") << "from position " << at.value();
  }
}

class GoldenSnapshot : public testing::TestWithParam<std::string> {};

TEST_P(GoldenSnapshot, at_every_position_and_the_rest_of_the_log_are_the_whole_log) {
  auto scenario = small_scenario(GetParam());
  scenario.choices.emplace();
  Fibers fibers;
  const auto report = run(scenario, fibers);
  ASSERT_FALSE(report.violation);
  expect_equal_from_every_position(report.log);
}

INSTANTIATE_TEST_SUITE_P(Logs, GoldenSnapshot, testing::ValuesIn(golden_names()),
                         [](const auto& name) { return name.param; });

class DrawnSnapshot : public testing::TestWithParam<std::uint64_t> {};

TEST_P(DrawnSnapshot, at_every_position_and_the_rest_of_the_log_are_the_whole_log) {
  auto scenario = drawn_scenario(GetParam());
  scenario.log = LogKind::memory;
  Fibers fibers;
  const auto report = run(scenario, fibers);
  ASSERT_FALSE(report.violation) << report.violation->sentence;
  expect_equal_from_every_position(report.log);
}

INSTANTIATE_TEST_SUITE_P(Seeds, DrawnSnapshot, testing::Range<std::uint64_t>(1, 41));

// On a log in memory and on RocksDB, whose own choices go by what is read.
TEST(SnapshotsInARun, change_none_of_its_choices_and_nothing_in_its_log) {
  Fibers fibers;
  RunOptions without;
  without.snapshots = false;
  std::size_t lives = 0;
  for (std::uint64_t seed = 3; seed <= 90; seed += 3) {
    auto scenario = drawn_scenario(seed);
    scenario.log = seed % 2 == 0 ? LogKind::rocksdb : LogKind::memory;
    const auto with_snapshots = run(scenario, fibers);
    const auto plain = run(scenario, fibers, without);
    ASSERT_FALSE(with_snapshots.violation) << with_snapshots.violation->sentence;
    EXPECT_EQ(with_snapshots.trace, plain.trace) << "seed " << seed;
    EXPECT_EQ(with_snapshots.chain, plain.chain) << "seed " << seed;
    lives += with_snapshots.lives;
  }
  EXPECT_GT(lives, 60U) << "servers that began anew";
}

// A log with something of everything in it, and its first half.
class SnapshotDamage : public testing::Test {
 protected:
  SnapshotDamage() {
    auto scenario = small_scenario("crash");
    scenario.choices.emplace();
    Fibers fibers;
    store_ = run(scenario, fibers).log;
    log_ = open(store_);
    whole_ = begin(*log_);
    const Position middle(log_->last_position().value() / 2);
    head_ = open(storage::fork_memory_store(*store_, middle));
  }

  // A disk with one snapshot, of the first half.
  [[nodiscard]] std::shared_ptr<LossyDisk> disk_with_one() const {
    auto disk = std::make_shared<LossyDisk>();
    const Process process(disk);
    EXPECT_TRUE(actors::take_snapshot(*head_, process.store, {}));
    return disk;
  }
  [[nodiscard]] static std::string newest_of(const LossyDisk& disk) {
    std::string newest;
    for (const auto& file : disk.files()) {
      if (file.ends_with(".snapshot")) newest = file;
    }
    return newest;
  }
  void expect_whole(const std::shared_ptr<LossyDisk>& disk, const std::string& after) const {
    const Process process(disk);
    EXPECT_EQ(difference(*begin(*log_, &process.store), *whole_), "") << after;
  }

  std::shared_ptr<storage::MemoryStore> store_;
  std::unique_ptr<storage::EventLog> log_;
  std::unique_ptr<storage::EventLog> head_;
  std::unique_ptr<Begun> whole_;
};

TEST_F(SnapshotDamage, a_death_between_any_two_steps_of_writing_leaves_the_older_or_the_newer) {
  const auto at_first = disk_with_one();
  {
    const auto disk = std::make_shared<LossyDisk>(*at_first);
    const Process process(disk);
    ASSERT_TRUE(actors::take_snapshot(*log_, process.store, {}));
    ASSERT_EQ(process.store.positions().size(), 2U);
  }
  std::set<std::size_t> seen;  // how many snapshots were left
  bool died = true;
  for (std::uint64_t count = 0; died; ++count) {
    ASSERT_LT(count, 100U);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const auto disk = std::make_shared<LossyDisk>(*at_first);
      {
        const Process process(disk);
        disk->kill_after(count);
        died = !actors::take_snapshot(*log_, process.store, {}).has_value();
      }
      if (seed == 0) {
        disk->process_crash();
      } else {
        Random random(seed);
        disk->crash([&](std::uint64_t n) { return random.below(n); }, TornSector::garbage);
      }
      seen.insert(Process(disk).store.positions().size());
      expect_whole(disk, "died at change " + std::to_string(count));
    }
  }
  EXPECT_THAT(seen, testing::IsSupersetOf({1U, 2U})) << "both sides of the rename were met";
}

TEST_F(SnapshotDamage, any_damaged_byte_costs_time_and_changes_nothing) {
  const auto good = disk_with_one();
  const auto file = newest_of(*good);
  const auto size = good->read(file)->size();
  // Every one of the header and the checksum, and some of what is between.
  const auto step = size / 300;
  for (std::uint64_t at = 0; at < size; at += at < 200 || at + 40 > size ? 1 : step) {
    const auto disk = std::make_shared<LossyDisk>(*good);
    ASSERT_TRUE(disk->flip(file, at));
    expect_whole(disk, "byte " + std::to_string(at));
    EXPECT_THAT(Process(disk).store.positions(), testing::IsEmpty()) << "it was not dropped";
  }
}

TEST_F(SnapshotDamage, beside_a_damaged_one_the_older_is_gone_on_from) {
  const auto disk = disk_with_one();
  {
    const Process process(disk);
    ASSERT_TRUE(actors::take_snapshot(*log_, process.store, {}));
  }
  ASSERT_TRUE(disk->flip(newest_of(*disk), 100));
  expect_whole(disk, "the newer is damaged");
  EXPECT_THAT(Process(disk).store.positions(), testing::ElementsAre(head_->last_position()));
}

// Restored from a backup, or begun anew, in a folder whose snapshots are still there.
TEST_F(SnapshotDamage, of_a_log_that_went_another_way_nothing_is_taken_over) {
  const auto disk = disk_with_one();
  auto scenario = small_scenario("cancel");
  scenario.choices.emplace();
  Fibers fibers;
  const auto other = open(run(scenario, fibers).log);
  const Process process(disk);
  EXPECT_EQ(difference(*begin(*other, &process.store), *begin(*other)), "");
  EXPECT_THAT(process.store.positions(), testing::IsEmpty());
}

TEST_F(SnapshotDamage, a_disk_that_is_nearly_full_gets_no_snapshot_and_keeps_what_it_had) {
  const auto disk = disk_with_one();
  disk->set_capacity(disk->used_bytes() + 1'000'000);
  const Process process(disk);
  const auto taken = actors::take_snapshot(*log_, process.store, {});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::disk_full);
  EXPECT_THAT(process.store.positions(), testing::ElementsAre(head_->last_position()));
}

TEST_F(SnapshotDamage, who_is_told_to_stop_writes_nothing) {
  const Process process(std::make_shared<LossyDisk>());
  const auto taken = actors::take_snapshot(*log_, process.store, [] { return true; });
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ErrorCode::cancelled);
  EXPECT_THAT(process.store.positions(), testing::IsEmpty());
}

}  // namespace
}  // namespace atlasflow::sim
