// A push that was refused on a full disk and is in the log all the same, found there when a later
// one is recorded.
#include <utility>

#include <gtest/gtest.h>

#include "sim/run/life.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"
#include "tests/actors/settled.hpp"

namespace atlasflow::actors {
namespace {

// As RocksDB on a disk that fills up in the middle of a write: what was whole by then is found by
// the next append, which opens the database again.
class TornLog final : public storage::ForwardingEventLog {
 public:
  using ForwardingEventLog::ForwardingEventLog;
  bool fills_up = false;

  Result<std::vector<storage::AppendOutcome>> append(
      const std::vector<storage::AppendRequest>& requests, TimestampUs now) override {
    if (std::exchange(fills_up, false)) {
      found_next_ = requests;
      return fail(ErrorCode::disk_full, "the disk is full");
    }
    if (!found_next_.empty()) {
      EXPECT_TRUE(log().append(std::exchange(found_next_, {}), now));
    }
    return log().append(requests, now);
  }

 private:
  std::vector<storage::AppendRequest> found_next_;
};

class RefusedPush : public testing::TestWithParam<std::uint64_t> {};

INSTANTIATE_TEST_SUITE_P(Seeds, RefusedPush, testing::Range<std::uint64_t>(1, 25));

// Whether the project hears of the later push first from the log or by the answer to its append is
// the seed's choice.
TEST_P(RefusedPush, that_is_in_the_log_comes_to_its_end) {
  sim::World world;
  auto torn = std::make_unique<TornLog>(
      storage::open_memory_event_log(storage::make_memory_store(), "test"));
  auto& log = *torn;
  sim::Fibers fibers;
  sim::Choices choices(GetParam());
  sim::LifeConfig config;
  config.log = std::move(torn);
  config.world = &world;
  config.choices = &choices;
  config.fibers = &fibers;
  config.as_server = false;
  config.engines = [&world](sim::Waits&) { return std::make_unique<sim::WorldEngines>(world); };
  sim::Life life(std::move(config));
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  log.fills_up = true;
  life.send_push("guid-2", 'b');
  ASSERT_TRUE(life.run_until([&] { return !life.errors.empty(); }));
  EXPECT_EQ(life.errors.front().code, ErrorCode::disk_full);
  life.send_push("guid-3", 'c');
  ASSERT_TRUE(life.run_until([&] { return life.push_replies.size() == 2; }));
  const auto is_over = [&] {
    return deployments_of(life).size() == 3 && all_settled(life) &&
           life.catalog().active_deployments().size() == 1;
  };
  EXPECT_TRUE(life.run_until(is_over)) << "the refused one waits for ever";
  const auto serving = life.catalog().active_deployments();
  ASSERT_EQ(serving.size(), 1U);
  EXPECT_EQ(serving.front().state.push.after(), std::string(40, 'c'));
  EXPECT_TRUE(life.fatal.empty());
  EXPECT_TRUE(life.part_deaths.empty());
}

}  // namespace
}  // namespace atlasflow::actors
