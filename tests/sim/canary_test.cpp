// Known bugs, each in a program of its own (cmake/Canary.cmake), that the simulator has to find
// within a budget of seeds, and by the invariant that is about them; without a bug it finds
// nothing.
#include <string>

#include <gmock/gmock.h>

#include "tests/storage/child_process.hpp"

namespace atlasflow::sim {
namespace {

// Some 8 s on one core, and five times what the slowest canary takes to be found.
constexpr const char* k_seeds = "500";

std::string verdict_of(const char* executable) {
  storage::ChildProcess canary({executable, k_seeds});
  std::string last = "it did not run";
  while (auto line = canary.read_line()) last = *line;
  canary.finish();
  return last;
}

MATCHER_P(is_caught_by, name, "") {
  return arg.starts_with(std::string("caught by ") + name + " at seed ");
}

TEST(Canary, without_a_bug_there_is_nothing_to_find) {
  EXPECT_EQ(verdict_of(CANARY_NONE), std::string("not caught by ") + k_seeds + " seeds");
}

TEST(Canary, what_was_acknowledged_without_a_sync_is_missed) {
  EXPECT_THAT(verdict_of(CANARY_LOST_SYNC),
              testing::AnyOf(is_caught_by("the-log-opens"), is_caught_by("acknowledged-stays")));
}

TEST(Canary, a_server_that_was_taken_over_and_writes_on_is_seen) {
  EXPECT_THAT(verdict_of(CANARY_FORGOTTEN_FENCE), is_caught_by("one-writer"));
}

TEST(Canary, an_edge_that_keeps_to_the_older_of_two_claims_is_seen) {
  EXPECT_THAT(verdict_of(CANARY_DOUBLE_ROUTE), is_caught_by("routed-at-the-edge"));
}

TEST(Canary, a_vm_that_is_stopped_without_a_drain_is_seen) {
  EXPECT_THAT(verdict_of(CANARY_SKIPPED_DRAIN), is_caught_by("drain-before-stop"));
}

TEST(Canary, a_field_that_the_fold_forgets_is_missed) {
  EXPECT_THAT(verdict_of(CANARY_FORGOTTEN_FIELD), is_caught_by("comes-to-rest"));
}

TEST(Canary, a_field_that_a_snapshot_leaves_out_is_missed) {
  EXPECT_THAT(verdict_of(CANARY_FORGETFUL_SNAPSHOT), is_caught_by("snapshot-is-the-fold"));
}

TEST(Canary, an_order_that_depends_on_addresses_is_seen) {
  EXPECT_THAT(verdict_of(CANARY_UNORDERED_ITERATION), is_caught_by("deterministic"));
}

}  // namespace
}  // namespace atlasflow::sim
