// A build that takes over proves that it makes of the log what the one before made: over golden and
// drawn logs, after any damage, a kill between any two changes, another log in the folder; and
// builds that fold otherwise, each in a program of its own (cmake/Canary.cmake), are found out.
#include <filesystem>
#include <set>
#include <string>

#include <gmock/gmock.h>

#include "actors/runtime/shadow_replay.hpp"
#include "sim/disk/lossy_env.hpp"
#include "sim/run/life.hpp"
#include "sim/run/random.hpp"
#include "sim/run/run.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "tests/sim/golden_log.hpp"
#include "tests/sim/small_scenarios.hpp"
#include "tests/storage/child_process.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::sim {
namespace {

namespace fs = std::filesystem;
using actors::ShadowReplay;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* k_folder = "/snapshots";

// A process of a build with a store on the disk.
struct Process {
  Process(const std::shared_ptr<LossyDisk>& disk, const std::string& build)
      : env(std::make_shared<LossyEnv>(disk, 0)), store(k_folder, {build, k_made_up_domain}, env) {}
  std::shared_ptr<LossyEnv> env;
  storage::SnapshotStore store;
};

std::unique_ptr<storage::EventLog> open(std::shared_ptr<storage::MemoryStore> store) {
  return storage::open_memory_event_log(std::move(store), "test");
}

actors::ShadowReport shadow_of(const storage::EventLog& log, const storage::SnapshotStore& store) {
  ShadowReplay shadow(log, store, ShadowReplay::Of::other_builds);
  auto report = shadow.run();
  EXPECT_TRUE(report) << to_string(report.error());
  return report ? *std::move(report) : actors::ShadowReport{};
}

// Build-1 writes down what it has at some positions of the log, as it grows.
void write_at_some(const std::shared_ptr<storage::MemoryStore>& store,
                   const std::shared_ptr<LossyDisk>& disk) {
  const Process process(disk, "build-1");
  const auto end = open(store)->last_position().value();
  for (std::uint64_t part = 1; part <= 5; ++part) {
    const auto head = open(storage::fork_memory_store(*store, Position(end * part / 5)));
    ASSERT_TRUE(actors::take_snapshot(*head, process.store, {}));
  }
}

void expect_proven(const std::shared_ptr<storage::MemoryStore>& store) {
  const auto disk = std::make_shared<LossyDisk>();
  write_at_some(store, disk);
  const Process process(disk, "build-2");
  const auto report = shadow_of(*open(store), process.store);
  EXPECT_FALSE(report.difference) << sentence_of(*report.difference);
  EXPECT_EQ(report.compared.size(), 5U);
  EXPECT_THAT(report.passed_over, IsEmpty());
  EXPECT_THAT(report.only_before, IsEmpty());
  EXPECT_THAT(report.only_now, IsEmpty());
  EXPECT_GT(report.fields, 500U);
}

class GoldenShadow : public testing::TestWithParam<std::string> {};

TEST_P(GoldenShadow, of_the_same_code_is_equal_at_every_position) {
  auto scenario = small_scenario(GetParam());
  scenario.choices.emplace();
  Fibers fibers;
  expect_proven(run(scenario, fibers).log);
}

INSTANTIATE_TEST_SUITE_P(Logs, GoldenShadow, testing::ValuesIn(golden_names()),
                         [](const auto& golden) { return golden.param; });

class DrawnShadow : public testing::TestWithParam<std::uint64_t> {};

TEST_P(DrawnShadow, of_the_same_code_is_equal_at_every_position) {
  auto scenario = drawn_scenario(GetParam());
  scenario.log = LogKind::memory;
  Fibers fibers;
  expect_proven(run(scenario, fibers).log);
}

INSTANTIATE_TEST_SUITE_P(Seeds, DrawnShadow, testing::Range<std::uint64_t>(1, 21));

class Shadow : public testing::Test {
 protected:
  Shadow() {
    auto scenario = small_scenario("crash");
    scenario.choices.emplace();
    Fibers fibers;
    store_ = run(scenario, fibers).log;
    log_ = open(store_);
    write_at_some(store_, disk_);
  }

  std::shared_ptr<LossyDisk> disk_ = std::make_shared<LossyDisk>();
  std::shared_ptr<storage::MemoryStore> store_;
  std::unique_ptr<storage::EventLog> log_;
};

TEST_F(Shadow, is_due_for_another_build_until_that_has_taken_over) {
  EXPECT_FALSE(ShadowReplay::is_due(Process(disk_, "build-1").store));
  const Process process(disk_, "build-2");
  ASSERT_TRUE(ShadowReplay::is_due(process.store));
  ShadowReplay shadow(*log_, process.store, ShadowReplay::Of::other_builds);
  ASSERT_TRUE(shadow.run());
  ASSERT_TRUE(shadow.settle());
  EXPECT_FALSE(ShadowReplay::is_due(process.store));
  // What it begins with is its own, and the way back is proven like the way there.
  EXPECT_THAT(process.store.positions(), ElementsAre(log_->last_position()));
  EXPECT_EQ(shadow_of(*log_, Process(disk_, "build-1").store).compared.size(), 5U);
}

TEST_F(Shadow, passes_over_what_is_damaged_and_says_so) {
  std::size_t passed = 0;
  for (const auto& file : disk_->files()) {
    const auto size = disk_->read(file)->size();
    for (std::uint64_t at = 0; at < size; at += 1 + size / 40) {
      const auto disk = std::make_shared<LossyDisk>(*disk_);
      ASSERT_TRUE(disk->flip(file, at));
      const Process process(disk, "build-2");
      ASSERT_TRUE(ShadowReplay::is_due(process.store));
      const auto report = shadow_of(*log_, process.store);
      ASSERT_FALSE(report.difference) << sentence_of(*report.difference);
      ASSERT_EQ(report.passed_over.size(), 1U) << file << " at " << at;
      // Of the newest two positions the snapshot or the digests are left.
      EXPECT_GE(report.compared.size(), 4U);
      ++passed;
    }
  }
  EXPECT_GT(passed, 200U);
}

TEST_F(Shadow, that_is_killed_between_any_two_changes_is_begun_again_by_the_next_start) {
  bool died = true;
  std::uint64_t count = 0;
  for (; died; ++count) {
    ASSERT_LT(count, 300U);
    const auto disk = std::make_shared<LossyDisk>(*disk_);
    {
      const Process process(disk, "build-2");
      ShadowReplay shadow(*log_, process.store, ShadowReplay::Of::other_builds);
      ASSERT_TRUE(shadow.run());
      disk->kill_after(count);
      died = !shadow.settle().has_value() || !disk->has_living_process();
    }
    Random random(count);
    disk->crash([&](std::uint64_t n) { return random.below(n); }, TornSector::garbage);
    const Process process(disk, "build-2");
    ShadowReplay shadow(*log_, process.store, ShadowReplay::Of::other_builds);
    const auto report = shadow.run();
    ASSERT_TRUE(report);
    EXPECT_FALSE(report->difference) << "after change " << count;
    ASSERT_TRUE(shadow.settle());
    EXPECT_FALSE(ShadowReplay::is_due(process.store));
    EXPECT_THAT(process.store.digests().positions(), testing::SizeIs(5)) << "one was lost";
  }
  EXPECT_GT(count, 30U);
}

// A folder whose log was replaced: of a backup that is older, or went on otherwise.
TEST_F(Shadow, of_another_log_compares_what_belongs_to_it) {
  const Process process(disk_, "build-2");
  const auto end = log_->last_position().value();
  const auto older = open(storage::fork_memory_store(*store_, Position(end / 2)));
  auto report = shadow_of(*older, process.store);
  EXPECT_FALSE(report.difference);
  EXPECT_EQ(report.compared.size(), 2U);
  EXPECT_THAT(report.passed_over, Contains(testing::Field(&actors::ShadowReport::PassedOver::reason,
                                                          HasSubstr("ends before"))));
  auto scenario = small_scenario("cancel");
  scenario.choices.emplace();
  Fibers fibers;
  const auto other = open(run(scenario, fibers).log);
  report = shadow_of(*other, process.store);
  EXPECT_THAT(report.compared, IsEmpty());
  EXPECT_FALSE(report.difference);
}

TEST_F(Shadow, of_two_domains_compares_the_newer) {
  const storage::SnapshotStore store(k_folder, {"build-1", "other.test"},
                                     std::make_shared<LossyEnv>(disk_, 0));
  ASSERT_TRUE(actors::take_snapshot(*log_, store, {}));
  const auto report = shadow_of(*log_, Process(disk_, "build-2").store);
  EXPECT_FALSE(report.difference) << sentence_of(*report.difference);
  EXPECT_THAT(report.compared, ElementsAre(log_->last_position()));
  EXPECT_THAT(report.passed_over, testing::SizeIs(testing::Ge(4U)));
}

// ---- other builds, in programs of their own ----

struct Answer {
  int code = 0;
  std::vector<std::string> lines;
};

Answer run_build(const char* executable, const char* what, const fs::path& folder,
                 const char* build) {
  storage::ChildProcess child({executable, what, folder.string(), build});
  Answer answer;
  while (auto line = child.read_line()) answer.lines.push_back(*line);
  answer.code = child.finish();
  return answer;
}

// The log of a real server, and what a build wrote down beside it.
class OtherBuilds : public testing::Test {
 protected:
  OtherBuilds() { fs::copy(RECORDED_LOG, events(), fs::copy_options::recursive); }
  [[nodiscard]] fs::path events() const { return directory_.path() / "events"; }
  [[nodiscard]] Answer run_on_log(const char* executable, const char* what, const char* build) {
    return run_build(executable, what, directory_.path(), build);
  }
  storage::TemporaryDirectory directory_;
};

TEST_F(OtherBuilds, the_same_code_under_another_name_is_equal) {
  ASSERT_EQ(run_on_log(SHADOW_NONE, "write", "older").code, 0);
  const auto answer = run_on_log(SHADOW_NONE, "compare", "newer");
  EXPECT_EQ(answer.code, 0);
  EXPECT_THAT(answer.lines, ElementsAre("1 compared"));
}

TEST_F(OtherBuilds, one_whose_fold_forgets_a_field_is_found_out_by_its_name_and_value) {
  ASSERT_EQ(run_on_log(SHADOW_NONE, "write", "older").code, 0);
  const auto answer = run_on_log(CANARY_CHANGED_FOLD, "compare", "newer");
  EXPECT_EQ(answer.code, 1);
  EXPECT_THAT(answer.lines, Contains("differs catalog.recent[].state.generation natural"));
  EXPECT_THAT(answer.lines, Contains("path catalog.recent[a2omrvgu].state.generation"));
  EXPECT_THAT(answer.lines, Contains("is -"));
  EXPECT_THAT(answer.lines, Contains(testing::StartsWith("was ")));
  // And what the world is owed by it.
  EXPECT_THAT(answer.lines, Contains(HasSubstr("differs effects[][].ClaimRouteEffect")));
}

TEST_F(OtherBuilds, one_with_a_field_more_or_less_is_equal_in_the_others) {
  ASSERT_EQ(run_on_log(CANARY_FEWER_FIELDS, "write", "older").code, 0);
  auto answer = run_on_log(SHADOW_NONE, "compare", "newer");
  EXPECT_EQ(answer.code, 0);
  EXPECT_THAT(answer.lines, Contains(testing::AllOf(testing::StartsWith("added folds.histories"),
                                                    HasSubstr("made_at"))));
  ASSERT_EQ(run_on_log(SHADOW_NONE, "write", "newer").code, 0);
  answer = run_on_log(CANARY_FEWER_FIELDS, "compare", "older");
  EXPECT_EQ(answer.code, 0);
  EXPECT_THAT(answer.lines, Contains(testing::AllOf(testing::StartsWith("removed folds.histories"),
                                                    HasSubstr("made_at"))));
}

}  // namespace
}  // namespace atlasflow::sim
