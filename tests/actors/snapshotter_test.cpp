// Snapshots as a running control plane takes them, and as its start goes on from them.
#include "actors/runtime/snapshotter.hpp"

#include <atomic>
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>

#include "actors/runtime/control_plane.hpp"
#include "actors/runtime/start_folds.hpp"
#include "events/settings.hpp"
#include "sim/checkers/fold_difference.hpp"
#include "sim/world/world.hpp"
#include "sim/world/world_secrets.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::actors {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

constexpr const char* k_build = "build-1";

// Notes the lowest position that somebody reads from.
class WatchedLog final : public storage::ForwardingEventLog {
 public:
  using ForwardingEventLog::ForwardingEventLog;
  mutable std::atomic<std::uint64_t> lowest{~std::uint64_t{0}};

  Result<void> read_all(Position first,
                        const std::function<bool(const storage::Record&)>& visit) const override {
    if (first.value() < lowest) lowest = first.value();
    return log().read_all(first, visit);
  }
};

// A project whose settings change again and again.
void grow(storage::EventLog& log, std::uint64_t events) {
  const auto stream = project_stream(ProjectId("pabc2345"));
  for (std::uint64_t i = 0; i < events; ++i) {
    storage::AppendRequest request;
    request.stream = stream;
    request.expected_version = *log.version_of(stream);
    request.actor = Principal::user();
    auto& event = request.events.emplace_back();
    if (request.expected_version == StreamVersion{}) {
      event.mutable_project_created()->set_name("web");
      *event.mutable_project_created()->mutable_settings() = default_settings();
    } else {
      event.mutable_env_set()->set_name("N" + std::to_string(i % 7));
      event.mutable_env_set()->set_sealed_ref("ref-" + std::to_string(i));
    }
    storage::append_one(log, request);
  }
}

class SnapshotsOfAPlane : public testing::Test {
 protected:
  struct WallClock final : Clock {
    TimestampUs now() const override { return storage::k_noon; }
  };

  SnapshotsOfAPlane() {
    EXPECT_TRUE(log_.begin_epoch());
    grow(log_, 100);
    config_.build_id = k_build;
    config_.snapshots = directory_.path() / "snapshots";
  }
  [[nodiscard]] storage::SnapshotStore store() const {
    return {config_.snapshots, {config_.build_id, config_.domain}};
  }
  void take() {
    const auto taken = take_snapshot(log_, store(), {});
    ASSERT_TRUE(taken) << to_string(taken.error());
  }
  // From which position a start reads. What it then holds is the fold of the whole log.
  [[nodiscard]] std::uint64_t first_read_by_a_start() {
    log_.lowest = ~std::uint64_t{0};
    auto engines = engines_.engines();
    engines.clock = &clock_;
    auto plane = start_control_plane(config_, log_, secrets_, engines);
    EXPECT_TRUE(plane);
    const std::uint64_t lowest = log_.lowest;
    const auto end = log_.last_position();
    EXPECT_TRUE((*plane)->catalog().wait_for(end, 10s));
    storage::Catalog whole;
    EXPECT_TRUE(fold_log(log_, config_.domain, whole));
    EXPECT_EQ(sim::fold_difference((*plane)->catalog().fold(), whole.fold()), "");
    return lowest;
  }

  storage::TemporaryDirectory directory_;
  WatchedLog log_{storage::open_memory_event_log()};
  sim::World world_;
  sim::WorldEngines engines_{world_};
  sim::WorldSecrets secrets_{world_};
  WallClock clock_;
  ControlPlaneConfig config_;
};

TEST_F(SnapshotsOfAPlane, a_start_reads_what_came_after_the_newest_and_no_more) {
  EXPECT_EQ(first_read_by_a_start(), 1U);
  take();
  const auto taken = log_.last_position();
  grow(log_, 20);
  EXPECT_EQ(first_read_by_a_start(), taken.next().value());
}

TEST_F(SnapshotsOfAPlane, a_start_of_another_build_or_domain_reads_everything_and_drops_it) {
  take();
  config_.build_id = "build-2";
  EXPECT_EQ(first_read_by_a_start(), 1U);
  // What is there now it took itself, as it stopped.
  EXPECT_THAT(store().positions(), ElementsAre(log_.last_position()));
  config_.domain = "example.test";
  EXPECT_EQ(first_read_by_a_start(), 1U);
  EXPECT_THAT(store().positions(), ElementsAre(log_.last_position()));
}

TEST_F(SnapshotsOfAPlane, what_github_is_owed_is_handed_out_once) {
  auto engines = engines_.engines();
  engines.clock = &clock_;
  take();
  const auto plane = start_control_plane(config_, log_, secrets_, engines);
  ASSERT_TRUE(plane);
  const auto begun = (*plane)->take_github_reports();
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->position, Position(100));
  EXPECT_FALSE((*plane)->take_github_reports());
}

template <typename Holds>
bool comes_true(Holds holds) {
  for (int i = 0; i < 1000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(10ms);
  }
  return false;
}

TEST_F(SnapshotsOfAPlane, one_is_taken_when_the_log_has_grown_enough_and_not_before) {
  const SnapshotRules rules{50, 4, 2ms, 2ms};
  const Snapshotter snapshotter(log_, store(), rules);
  ASSERT_TRUE(comes_true([&] { return !store().positions().empty(); }));
  EXPECT_THAT(store().positions(), ElementsAre(Position(100)));
  grow(log_, 49);
  std::this_thread::sleep_for(50ms);
  EXPECT_THAT(store().positions(), ElementsAre(Position(100))) << "too few records";
  grow(log_, 1);
  EXPECT_TRUE(comes_true([&] { return store().positions().front() == Position(150); }));
}

TEST_F(SnapshotsOfAPlane, where_none_can_be_written_the_next_is_tried_later_and_a_stop_waits_not) {
  config_.snapshots = "/proc/no-such-folder";
  const auto begin = std::chrono::steady_clock::now();
  {
    const Snapshotter snapshotter(log_, store(), {50, 4, 1ms, 1min});
    std::this_thread::sleep_for(50ms);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 20s);
}

TEST(SnapshotRules, of_a_long_log_a_part_must_follow) {
  const SnapshotRules rules;
  EXPECT_EQ(records_until_next(rules, Position{}), rules.records_min);
  EXPECT_EQ(records_until_next(rules, Position(32'000'000)), 1'000'000U);
}

}  // namespace
}  // namespace atlasflow::actors
