// Every transition of a slot from every phase: where it leads, and that it leaves alone what it has
// no meaning for.
#include "events/instance.hpp"

#include <array>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include <gmock/gmock.h>

namespace atlasflow {
namespace {

const EffectId k_effect{"dabc2345-v9"};
const HostId k_host{"local"};

Vm vm_with(Health health) {
  return {VmId{"dabc2345-v5"}, k_host, "127.0.0.1", 20000, std::move(health)};
}

// The phases by the names of the table below: those that differ in what may follow.
struct Named {
  std::string name;
  Phase phase;
};
std::vector<Named> phases() {
  const auto checking = vm_with(health::Checking{70, "slow"});
  const auto healthy = vm_with(health::Healthy{7});
  const auto unhealthy = vm_with(health::Unhealthy{7, "status 500", 90});
  return {{"vacant", phase::Vacant{}},
          {"waiting", phase::Waiting{{pb::STEP_START_VM, 2, 50}}},
          {"placing", phase::Placing{EffectId{"dabc2345-v3"}}},
          {"placed", phase::Placed{k_host}},
          {"starting", phase::Starting{EffectId{"dabc2345-v5"}, k_host, 60}},
          {"checking", phase::Up{checking}},
          {"healthy", phase::Up{healthy}},
          {"unhealthy", phase::Up{unhealthy}},
          {"finished", phase::Finished{healthy, VmEnd::exited}},
          {"stopping", phase::Stopping{healthy, EffectId{"dabc2345-v8"}, std::nullopt}},
          {"stopping_ended", phase::Stopping{healthy, EffectId{"dabc2345-v8"}, VmEnd::lost}},
          {"ended", phase::Ended{VmEnd::exited, 7}},
          {"given_up", phase::GivenUp{}}};
}

// The phase's name, and for one that is up its health.
std::string where(const Instance& instance) {
  if (instance.is_up()) return std::string(name_of(instance.vm()->health));
  return std::string(name_of(instance.phase));
}

struct Transition {
  std::string name;
  std::function<void(Instance&)> act;
  // From where to where; from every other phase to itself.
  std::vector<std::pair<std::string, std::string>> moves;
};
void PrintTo(const Transition& transition, std::ostream* out) { *out << transition.name; }

std::vector<std::pair<std::string, std::string>> from_all(const std::string& to) {
  std::vector<std::pair<std::string, std::string>> moves;
  for (const auto& [name, phase] : phases()) moves.emplace_back(name, to);
  return moves;
}

std::vector<Transition> transitions() {
  const Retry retry{pb::STEP_START_VM, 3, 80};
  return {
      {"place",
       [](auto& i) { i.place(k_effect); },
       {{"vacant", "placing"},
        {"waiting", "placing"},
        {"placed", "placing"},
        {"ended", "placing"},
        {"given_up", "placing"}}},
      {"placed",
       [](auto& i) { i.placed(k_host); },
       {{"vacant", "placed"},
        {"waiting", "placed"},
        {"placing", "placed"},
        {"ended", "placed"},
        {"given_up", "placed"}}},
      {"refused", [](auto& i) { i.refused(); }, {{"placing", "vacant"}}},
      {"start",
       [](auto& i) { i.start(k_effect, k_host, 60, 1); },
       {{"vacant", "starting"},
        {"waiting", "starting"},
        {"placing", "starting"},
        {"placed", "starting"},
        {"ended", "starting"},
        {"given_up", "starting"}}},
      {"start_failed",
       [](auto& i) { i.start_failed(false); },
       {{"waiting", "vacant"},
        {"placing", "vacant"},
        {"placed", "vacant"},
        {"starting", "vacant"},
        {"ended", "vacant"},
        {"given_up", "vacant"}}},
      {"answered", [](auto& i) { i.answered(7); }, {{"checking", "healthy"}}},
      {"check_failed", [](auto& i) { i.check_failed("slow"); }, {}},
      {"became_unhealthy",
       [](auto& i) { i.became_unhealthy("status 500", 90); },
       {{"healthy", "unhealthy"}}},
      {"became_healthy", [](auto& i) { i.became_healthy(); }, {{"unhealthy", "healthy"}}},
      {"restart_at", [](auto& i) { i.restart_at(99); }, {}},
      {"finish",
       [](auto& i) { i.finish(VmEnd::lost); },
       {{"checking", "finished"}, {"healthy", "finished"}, {"unhealthy", "finished"}}},
      {"stop",
       [](auto& i) { i.stop(k_effect); },
       {{"checking", "stopping"},
        {"healthy", "stopping"},
        {"unhealthy", "stopping"},
        {"finished", "stopping"}}},
      {"stopped",
       [](auto& i) { i.stopped(); },
       {{"starting", "vacant"},
        {"checking", "vacant"},
        {"healthy", "vacant"},
        {"unhealthy", "vacant"},
        {"finished", "vacant"},
        {"stopping", "vacant"},
        {"stopping_ended", "ended"}}},
      {"host_lost",
       [](auto& i) { i.host_lost(); },
       {{"placed", "vacant"},
        {"starting", "ended"},
        {"checking", "ended"},
        {"healthy", "ended"},
        {"unhealthy", "ended"},
        {"finished", "ended"},
        {"stopping", "ended"},
        {"stopping_ended", "ended"}}},
      {"wait",
       [retry](auto& i) { i.wait(retry); },
       {{"vacant", "waiting"},
        {"placed", "waiting"},
        {"ended", "waiting"},
        {"given_up", "waiting"}}},
      {"restart", [retry](auto& i) { i.restart(1, 0, retry); }, from_all("waiting")},
      {"give_up", [](auto& i) { i.give_up(10); }, from_all("given_up")},
      {"stop_waiting", [](auto& i) { i.stop_waiting(); }, {{"waiting", "vacant"}}},
      {"leave", [](auto& i) { i.leave(40); }, {{"waiting", "vacant"}}},
      {"drained", [](auto& i) { i.drained(); }, {}},
      {"begin_anew", [](auto& i) { i.begin_anew(); }, {{"given_up", "vacant"}}},
  };
}

class InstanceTransition : public testing::TestWithParam<Transition> {};

TEST_P(InstanceTransition, leads_where_the_table_says_and_nowhere_else) {
  const auto& [name, act, moves] = GetParam();
  for (const auto& [from, phase] : phases()) {
    Instance instance;
    instance.phase = phase;
    auto expected = where(instance);
    for (const auto& [begin, end] : moves) {
      if (begin == from) expected = end;
    }
    act(instance);
    EXPECT_EQ(where(instance), expected) << name << " from " << from;
    // What is read off a phase goes together, wherever it came from.
    EXPECT_EQ(instance.holds_nothing(), instance.vm_id().empty() && instance.effect().empty());
    EXPECT_FALSE(instance.vm() != nullptr && instance.vm_id() != instance.vm()->id);
    EXPECT_FALSE(instance.is_up() && !instance.effect().empty()) << "no step while it is up";
    EXPECT_FALSE(instance.retry() != nullptr && !instance.holds_nothing());
    EXPECT_FALSE(!instance.vm_id().empty() && instance.host().empty()) << "a VM has a host";
  }
}
INSTANTIATE_TEST_SUITE_P(All, InstanceTransition, testing::ValuesIn(transitions()),
                         [](const testing::TestParamInfo<Transition>& tested) {
                           return tested.param.name;
                         });

Instance in(Phase phase) {
  Instance instance;
  instance.phase = std::move(phase);
  instance.refusals = 2;
  instance.attempts = 2;
  instance.crashes = 3;
  return instance;
}

TEST(Instance, names_its_vm_by_the_intent_that_starts_it) {
  auto instance = in(phase::Placed{k_host});
  instance.start(k_effect, k_host, 60, 3);
  EXPECT_EQ(instance.vm_id(), vm_of(k_effect));
  EXPECT_EQ(instance.effect(), effect_of(instance.vm_id()));
  EXPECT_EQ(instance.attempts, 3);
}

TEST(Instance, counts_refusals_until_a_host_takes_it) {
  auto instance = in(phase::Placing{k_effect});
  instance.refused();
  EXPECT_EQ(instance.refusals, 3);
  instance.phase = phase::Starting{k_effect, k_host, 60};
  instance.start_failed(true);
  EXPECT_EQ(instance.refusals, 4) << "the host had no room after all";
  EXPECT_EQ(instance.attempts, 1) << "and that was no attempt";
  instance.phase = phase::Starting{k_effect, k_host, 60};
  instance.started(vm_with(health::Checking{70, ""}));
  EXPECT_EQ(instance.refusals, 0);
}

TEST(Instance, remembers_since_when_its_vm_was_well_until_it_is_restarted) {
  auto instance = in(phase::Up{vm_with(health::Checking{70, "slow"})});
  instance.answered(7);
  EXPECT_EQ(instance.attempts, 0);
  instance.became_unhealthy("status 500", 90);
  EXPECT_EQ(instance.vm()->healthy_since(), 7);
  EXPECT_EQ(instance.vm()->problem(), "status 500");
  instance.became_healthy();
  EXPECT_EQ(instance.vm()->healthy_since(), 7) << "of its first 2xx";
  EXPECT_EQ(instance.vm()->problem(), "");
  instance.finish(VmEnd::lost);
  instance.stop(k_effect);
  instance.stopped();
  EXPECT_EQ(instance.phase, (Phase{phase::Ended{VmEnd::lost, 7}}));
  instance.restart(1, 1, {pb::STEP_START_VM, 1, 80});
  EXPECT_EQ(instance.phase, (Phase{phase::Waiting{{pb::STEP_START_VM, 1, 80}}}));
  EXPECT_EQ(instance.crashes, 1);
}

TEST(Instance, that_leaves_keeps_on_draining_whoever_asks_again) {
  auto instance = in(phase::Up{vm_with(health::Healthy{7})});
  instance.drained();
  EXPECT_FALSE(instance.has_drained()) << "nobody has asked it to";
  instance.leave(40);
  instance.drained();
  instance.leave(50);
  EXPECT_EQ(instance.leaving, (Leaving{50, true}));
}

TEST(Instance, that_its_owner_starts_anew_forgets_what_went_wrong) {
  auto instance = in(phase::GivenUp{});
  instance.begin_anew();
  EXPECT_EQ(instance.crashes + instance.attempts + instance.refusals, 0);
}

TEST(VmEnd, is_a_loss_or_the_apps_own_and_over_or_still_to_be_stopped) {
  EXPECT_FALSE(is_loss(VmEnd::exited));
  EXPECT_TRUE(is_loss(VmEnd::lost));
  EXPECT_FALSE(is_loss(VmEnd::never_healthy));
  EXPECT_TRUE(is_loss(VmEnd::unhealthy));
  EXPECT_TRUE(is_over(VmEnd::exited));
  EXPECT_TRUE(is_over(VmEnd::lost));
  EXPECT_FALSE(is_over(VmEnd::never_healthy));
  EXPECT_FALSE(is_over(VmEnd::unhealthy));
}

}  // namespace
}  // namespace atlasflow
