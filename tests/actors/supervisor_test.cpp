// Which deaths a supervisor answers with another child, when, and when no more.
#include "actors/runtime/supervisor.hpp"

#include <caf/scheduler/test_coordinator.hpp>
#include <gmock/gmock.h>

#include "actors/builders/builder_pool.hpp"
#include "actors/deployments/deployments.hpp"
#include "actors/runtime/root.hpp"

namespace atlasflow::actors {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;

constexpr TimestampUs k_s = 1'000'000;

// How long the next child waits after each of so many deaths, a second apart; -1: there is none.
std::vector<std::int64_t> pauses(const RestartPolicy& policy, int deaths) {
  RestartIntensity intensity;
  std::vector<std::int64_t> waits;
  for (int i = 0; i < deaths; ++i) {
    const auto again_in = intensity.died(policy, i * k_s);
    waits.push_back(again_in ? again_in->count() : -1);
  }
  return waits;
}

TEST(Supervisor, the_sixth_death_within_thirty_seconds_is_one_too_many) {
  EXPECT_THAT(pauses(k_builder_restarts, 8), ElementsAre(0, 0, 0, 0, 0, 10, 10, 10));
  EXPECT_THAT(pauses(k_deployment_restarts, 7), ElementsAre(0, 0, 0, 0, 0, -1, -1));
  RestartIntensity slow;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(slow.died(k_builder_restarts, i * 10 * k_s), seconds(0));
  }
}

TEST(Supervisor, the_roots_pauses_are_doubled_up_to_a_minute) {
  EXPECT_THAT(pauses(k_own_part_restarts, 8), ElementsAre(1, 2, 4, 8, 16, 32, 60, 60));
  EXPECT_EQ(pauses(k_own_part_restarts, 10'000).back(), 60);
}

TEST(Supervisor, what_happened_before_a_clock_was_set_back_is_not_counted_for_ever) {
  RestartIntensity intensity;
  for (int i = 0; i < 5; ++i) static_cast<void>(intensity.died(k_builder_restarts, 1000 * k_s));
  EXPECT_EQ(intensity.died(k_builder_restarts, 10 * k_s), seconds(0));
  EXPECT_EQ(intensity.count(), 1U);
}

// An owner whose children are told to throw.
using child_actor = caf::typed_actor<caf::reacts_to<int>>;

struct OwnerState {
  Supervisor<std::string, child_actor> children{k_deployment_restarts};
  std::vector<ChildEnd<std::string>> ends;
};

child_actor::behavior_type child(child_actor::pointer self) {
  end_of_exceptions(self);
  return {[self](int command) {
    if (command == 0) return self->quit();
    throw std::runtime_error("a handler throws");
  }};
}

class Owner : public testing::Test {
 protected:
  Owner() {
    config.set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(config);
    scheduler = dynamic_cast<caf::scheduler::test_coordinator*>(&system->scheduler());
    owner = system->spawn(
        [](caf::stateful_actor<OwnerState>* self, OwnerState** seen) {
          *seen = &self->state;
          self->set_down_handler([self](const caf::down_msg& down) {
            if (auto end = self->state.children.on_down(down, 0)) self->state.ends.push_back(*end);
          });
          return caf::behavior{[self](const std::string& key, int command) {
            auto& children = self->state.children;
            if (children.find(key) == nullptr) children.hold(self, key, self->spawn(child));
            self->send(*children.find(key), command);
          }};
        },
        &state);
    run();
  }
  ~Owner() override {
    caf::anon_send_exit(owner, caf::exit_reason::user_shutdown);
    owner = nullptr;
    run();
  }
  void run() {
    while (scheduler->try_run_once()) {
    }
  }
  void tell(const std::string& key, int command) {
    caf::anon_send(owner, key, command);
    run();
  }

  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  caf::scheduler::test_coordinator* scheduler = nullptr;
  caf::actor owner;
  OwnerState* state = nullptr;
};

TEST_F(Owner, each_childs_deaths_are_its_own_and_the_one_too_many_is_the_last) {
  for (int death = 1; death <= 6; ++death) tell("one", 1);
  tell("other", 1);
  ASSERT_EQ(state->ends.size(), 7U);
  EXPECT_TRUE(state->ends[4].at_once());
  EXPECT_EQ(state->ends[5].key, "one");
  EXPECT_FALSE(state->ends[5].again_in);
  EXPECT_EQ(state->ends[5].why, "an unexpected failure (a handler throws)");
  EXPECT_TRUE(state->ends[6].at_once());
  EXPECT_TRUE(state->children.is_quarantined("one"));
  EXPECT_FALSE(state->children.is_quarantined("other"));
}

TEST_F(Owner, a_child_that_was_done_begins_its_count_anew) {
  for (int death = 1; death <= 5; ++death) tell("one", 1);
  tell("one", 0);
  EXPECT_TRUE(state->ends.back().orderly);
  for (int death = 1; death <= 5; ++death) tell("one", 1);
  EXPECT_TRUE(state->ends.back().at_once());
}

TEST_F(Owner, the_end_of_a_child_that_was_let_go_is_nobodys) {
  tell("one", 1);
  caf::anon_send(owner, std::string("two"), 1);
  scheduler->try_run_once();
  state->children.let_go("two");
  run();
  EXPECT_EQ(state->ends.size(), 1U);
}

}  // namespace
}  // namespace atlasflow::actors
