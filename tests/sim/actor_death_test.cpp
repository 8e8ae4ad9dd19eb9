// Actors of the control plane that die while the process goes on: whoever takes their place must
// know what they had recorded, and take along what they had claimed.
#include <gtest/gtest.h>

#include "sim/run/run.hpp"
#include "tests/sim/small_scenarios.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_ms = 1'000;

// The actor of that kind dies at every tenth of a second, in a run of its own each.
void die_at_every_moment(int whose) {
  Fibers fibers;
  std::size_t routed = 0;
  for (TimestampUs at = 2000 * k_ms; at < 16'000 * k_ms; at += 100 * k_ms) {
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
  EXPECT_GT(routed, 100U) << "pushes went live all the same";
}

TEST(ActorDeath, a_deployments_actor_may_die_at_any_time) { die_at_every_moment(0); }
TEST(ActorDeath, a_projects_actor_may_die_at_any_time) { die_at_every_moment(1); }
TEST(ActorDeath, a_vms_actor_may_die_at_any_time) { die_at_every_moment(2); }
TEST(ActorDeath, a_worker_may_die_at_any_time) { die_at_every_moment(3); }

}  // namespace
}  // namespace atlasflow::sim
