// The oracle itself: what breaks an invariant is seen.
#include "sim/checkers/invariants.hpp"

#include <gtest/gtest.h>

#include "storage/log/memory_event_log.hpp"

namespace atlasflow::sim {
namespace {

struct Watched {
  World world;
  GitHub github{made_up_projects(1), 1};
  Invariants invariants{world, github, ".example.test"};

  [[nodiscard]] std::string broken() const {
    return invariants.violation() ? invariants.violation()->name : "";
  }
};

TEST(Invariants, a_secret_in_a_message_is_seen) {
  Watched watched;
  watched.invariants.on_bytes("a route table");
  EXPECT_EQ(watched.broken(), "");
  watched.invariants.on_bytes("token=" + std::string(GitHub::secret_mark()) + "1");
  EXPECT_EQ(watched.broken(), "no-secret-leaves");
}

TEST(Invariants, an_effect_without_an_intent_is_seen) {
  Watched watched;
  watched.invariants.on_effect(Witness::Act::build, "abcd2345-v4");
  EXPECT_EQ(watched.broken(), "intent-first");
}

TEST(Invariants, a_host_that_is_twice_in_a_route_table_is_seen) {
  Watched watched;
  watched.invariants.on_table({1,
                               {{"app-0.example.test", "app-0", "abcd2345", {}, "starting"},
                                {"app-0.example.test", "app-0", "efgh2345", {}, "starting"}}});
  EXPECT_EQ(watched.broken(), "one-route-per-host");
}

TEST(Invariants, a_route_to_a_vm_that_was_never_healthy_is_seen) {
  Watched watched;
  watched.invariants.on_table(
      {1, {{"app-0.example.test", "app-0", "abcd2345", {{"abcd2345-v9", {"127.0.0.1", 1}}}, ""}}});
  EXPECT_EQ(watched.broken(), "healthy-before-routed");
}

TEST(Invariants, a_gap_in_the_log_is_seen) {
  Watched watched;
  storage::Appended appended;
  appended.first_position = Position{2};
  appended.records.resize(1);
  appended.records[0].position = Position{2};
  appended.records[0].stream = node_stream();
  appended.records[0].stream_version = StreamVersion{1};
  const auto log = storage::open_memory_event_log();
  watched.invariants.on_acknowledged({appended}, *log);
  EXPECT_EQ(watched.broken(), "dense-positions");
}

}  // namespace
}  // namespace atlasflow::sim
