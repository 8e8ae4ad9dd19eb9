// Actors of the control plane that die while the process goes on: whoever takes their place must
// know what they had recorded, and take along what they had claimed.
#include <algorithm>

#include <gtest/gtest.h>

#include "sim/run/life.hpp"
#include "sim/run/run.hpp"
#include "tests/sim/small_scenarios.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_ms = 1'000;

// The actor of that kind dies at every so many moments, in a run of its own each.
void die_at_every_moment(int whose, TimestampUs every = 100 * k_ms) {
  Fibers fibers;
  std::size_t routed = 0;
  for (TimestampUs at = 2000 * k_ms; at < 16'000 * k_ms; at += every) {
    auto scenario = small_scenario("switch");
    scenario.seed = static_cast<std::uint64_t>(at);
    Step death;
    death.at = at;
    death.kind = StepKind::actor_dies;
    death.value = whose;
    scenario.steps.push_back(death);
    const auto report = run(scenario, fibers);
    ASSERT_FALSE(report.violation) << "at " << at / k_ms << " ms: " << report.violation->name
                                   << ": " << report.violation->sentence;
    routed += report.routed;
  }
  const auto runs = static_cast<std::size_t>(14'000 * k_ms / every);
  EXPECT_GT(routed, runs * 100 / 140) << "pushes went live all the same";
}

TEST(ActorDeath, a_deployments_actor_may_die_at_any_time) { die_at_every_moment(0); }
TEST(ActorDeath, a_projects_actor_may_die_at_any_time) { die_at_every_moment(1); }
TEST(ActorDeath, a_vms_actor_may_die_at_any_time) { die_at_every_moment(2); }
TEST(ActorDeath, a_worker_may_die_at_any_time) { die_at_every_moment(3); }

// Those that a control plane has one of, or a few.
TEST(ActorDeath, every_other_kind_may_die_at_any_time) {
  for (int whose = 4; whose < k_dying_actors; ++whose) {
    SCOPED_TRACE(dying_actor(whose));
    die_at_every_moment(whose, 1000 * k_ms);
  }
}

// What looks after the world is started again by itself, and nobody else notices.
TEST(ActorDeath, reconciler_janitor_and_notifier_are_started_again_and_the_process_goes_on) {
  World world;
  const auto store = storage::make_memory_store();
  Life life(store, world, 1);
  life.create_project("web");
  for (const char* name : {"reconciler", "janitor", "notifier"}) {
    SCOPED_TRACE(name);
    for (int times = 1; times <= 3; ++times) {
      const auto deaths = life.injected_deaths.size();
      life.kill_next(name);
      // The reconciler looks every minute, and the janitor when it is asked.
      life.collect_now();
      life.send_push(std::string(name) + std::to_string(times), 'a');
      EXPECT_TRUE(life.run_until([&] { return life.injected_deaths.size() > deaths; }));
      life.run_until([] { return false; }, std::chrono::seconds(120));
      EXPECT_TRUE(life.part_deaths.empty());
      EXPECT_TRUE(life.fatal.empty());
      const auto faults = life.faults.list();
      const auto fault = std::find_if(faults.begin(), faults.end(),
                                      [&](const auto& each) { return each.part == name; });
      ASSERT_NE(fault, faults.end());
      EXPECT_EQ(fault->count, times);
      EXPECT_FALSE(fault->reason.empty());
    }
  }
}

// A project that fails at whatever it does is nobody else's trouble, and no reason for the process
// to start anew, which would only find it again.
TEST(ActorDeath, a_project_that_dies_again_and_again_waits_and_the_others_go_on) {
  World world;
  Life life(storage::make_memory_store(), world, 1);
  life.create_project("web");
  int pushes = 0;
  for (std::size_t death = 1; death <= 7; ++death) {
    const auto before = world.agenda.now();
    life.kill_next("project");
    // What is pushed while there is no actor is refused, and pushed again.
    while (life.injected_deaths.size() < death && pushes < 60) {
      life.send_push("delivery-" + std::to_string(++pushes), 'a');
      life.run_until([] { return false; }, std::chrono::seconds(1));
    }
    ASSERT_EQ(life.injected_deaths.size(), death);
    const auto passed = world.agenda.now() - before;
    EXPECT_EQ(passed > 8'000 * k_ms, death > 6) << "death " << death << " after " << passed;
  }
  life.create_project("other");
  life.run_until([] { return false; }, std::chrono::seconds(60));
  EXPECT_TRUE(life.part_deaths.empty());
  EXPECT_TRUE(life.fatal.empty());
  const auto answered = life.push_replies.size();
  life.send_push("after", 'b');
  EXPECT_TRUE(life.run_until([&] { return life.push_replies.size() > answered; }));
  EXPECT_EQ(life.unanswered(), 0U);
}

TEST(ActorDeath, a_part_that_all_others_need_is_told_to_the_owner_of_the_process) {
  World world;
  Life life(storage::make_memory_store(), world, 1);
  life.create_project("web");
  life.send_push("one", 'a');
  life.kill_next("builder_pool");
  EXPECT_TRUE(life.run_until([&] { return !life.part_deaths.empty(); }));
  ASSERT_FALSE(life.part_deaths.empty());
  EXPECT_EQ(life.part_deaths.front().message, "the builder pool died");
  EXPECT_TRUE(life.fatal.empty());
}

TEST(ActorDeath, the_log_writers_end_is_the_end_of_the_process) {
  World world;
  Life life(storage::make_memory_store(), world, 1);
  life.create_project("web");
  life.kill_next("log_writer");
  life.send_push("one", 'a');
  EXPECT_TRUE(life.run_until([&] { return !life.fatal.empty(); }));
  EXPECT_TRUE(life.part_deaths.empty());
}

}  // namespace
}  // namespace atlasflow::sim
