// The law of one deployment, as claims.
#include "events/deployment.hpp"

#include <gmock/gmock.h>

#include "events/settings.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;

constexpr TimestampUs k_now = 1'700'000'000'000'000;

std::string kind_of(const pb::Event& event) {
  return pb::Event::descriptor()
      ->FindFieldByNumber(static_cast<int>(event.kind_case()))
      ->message_type()
      ->name();
}

// A deployment under test: applies commands as the shell would.
class Subject {
 public:
  Subject() {
    state.id = DeploymentId{"dabc2345"};
    ReceivePush receive;
    receive.push.set_project_id("pabc2345");
    receive.push.set_project_name("web");
    receive.push.set_after(std::string(40, 'a'));
    *receive.push.mutable_settings() = default_settings();
    EXPECT_TRUE(apply(receive));
  }

  // The names of the events that the command led to; a refused one leaves the state as it was.
  bool apply(const DeploymentCommand& command) {
    auto events = decide(state, command);
    last.clear();
    if (!events) {
      refusal = events.error();
      return false;
    }
    for (const auto& event : *events) {
      EXPECT_FALSE(is_terminal(state.status)) << "an event after the end: " << kind_of(event);
      evolve(state, event);
      last.push_back(kind_of(event));
      history.push_back(event);
    }
    return true;
  }

  bool succeed(const std::function<void(pb::Event&)>& fill) {
    Succeeded command;
    command.effect = state.intent;
    if (state.intent.empty() && state.vm) command.effect = EffectId{state.vm->vm_id};
    command.now = k_now;
    command.log_position = 77;
    command.hostnames = {"web.example.test", "dabc2345-web.example.test"};
    fill(command.outcome);
    return apply(command);
  }
  bool fail_step(pb::Step step, bool retryable) {
    Failed command;
    command.effect = state.intent;
    command.step = step;
    command.fault = retryable ? pb::FAULT_SYSTEM : pb::FAULT_USER;
    command.retryable = retryable;
    command.reason = "because";
    command.now = k_now;
    return apply(command);
  }

  bool clone() {
    return succeed([](auto& e) { e.mutable_cloned()->set_subject("change"); });
  }
  bool build() {
    return succeed([](auto& e) { e.mutable_built()->set_image_id("sha256:1"); });
  }
  bool push() {
    return succeed([](auto& e) { e.mutable_image_pushed()->set_reference("r/web@sha256:2"); });
  }
  bool place() {
    return succeed([](auto& e) { e.mutable_vm_placed()->set_host("local"); });
  }
  bool start_vm() {
    return succeed([this](auto& e) {
      e.mutable_vm_started()->set_vm_id(state.intent.str());
      e.mutable_vm_started()->set_host("local");
    });
  }
  bool healthy() {
    return succeed([](auto& e) { e.mutable_healthy()->set_status(200); });
  }
  bool routed() {
    return succeed([](auto& e) { e.mutable_routed()->set_generation(77); });
  }
  bool stopped() {
    return succeed([](auto& e) { e.mutable_vm_stopped(); });
  }
  bool vm_ends() {
    VmEnded ended;
    ended.exit.set_vm_id(state.vm ? state.vm->vm_id : "");
    ended.exit.set_reason("the app exited with code 1");
    ended.now = k_now;
    return apply(ended);
  }
  bool timer() {
    return apply(TimerDue{state.retry->step, state.retry->attempt, state.retry->due});
  }
  void run_until_live() {
    apply(Start{k_now});
    clone();
    build();
    push();
    place();
    start_vm();
    healthy();
    routed();
    ASSERT_EQ(state.status, DeploymentStatus::live);
  }
  template <typename T>
  bool owes() const {
    for (const auto& effect : outstanding(state)) {
      if (std::holds_alternative<T>(effect)) return true;
    }
    return false;
  }

  DeploymentState state;
  std::vector<std::string> last;
  std::vector<pb::Event> history;
  Error refusal;
};

TEST(Deployment, the_happy_path_records_the_seven_events_in_order) {
  Subject subject;
  subject.run_until_live();
  std::vector<std::string> seven;
  for (const auto& event : subject.history) {
    const auto number = static_cast<int>(event.kind_case());
    if (number <= 7) seven.push_back(kind_of(event));
  }
  EXPECT_THAT(seven, ElementsAre("PushReceived", "Cloned", "Built", "ImagePushed", "VMStarted",
                                 "Healthy", "Routed"));
}

TEST(Deployment, each_outcome_is_recorded_together_with_the_next_intent) {
  Subject subject;
  subject.apply(Start{k_now});
  subject.clone();
  EXPECT_THAT(subject.last, ElementsAre("Cloned", "BuildStarted"));
  subject.build();
  EXPECT_THAT(subject.last, ElementsAre("Built", "ImagePushStarted"));
  subject.push();
  EXPECT_THAT(subject.last, ElementsAre("ImagePushed"));
  EXPECT_TRUE(subject.owes<PlaceVmEffect>());
  subject.place();
  EXPECT_THAT(subject.last, ElementsAre("VMPlaced", "VMStartRequested"));
}

TEST(Deployment, the_effect_id_names_the_intent_and_so_the_thing_outside) {
  Subject subject;
  subject.apply(Start{k_now});
  EXPECT_EQ(subject.state.intent, EffectId{"dabc2345-v2"});
  subject.clone();
  EXPECT_EQ(subject.state.build, EffectId{"dabc2345-v4"});
}

TEST(Deployment, an_outcome_of_another_effect_is_refused) {
  Subject subject;
  subject.apply(Start{k_now});
  Succeeded stale;
  stale.effect = EffectId{"dabc2345-v1"};
  stale.outcome.mutable_cloned();
  EXPECT_FALSE(subject.apply(stale));
  EXPECT_EQ(subject.refusal.code, ErrorCode::conflict);
  EXPECT_EQ(subject.state.status, DeploymentStatus::cloning);
}

TEST(Deployment, an_outcome_of_the_wrong_kind_is_refused) {
  Subject subject;
  subject.apply(Start{k_now});
  EXPECT_FALSE(subject.succeed([](auto& e) { e.mutable_built(); }));
  EXPECT_EQ(subject.state.status, DeploymentStatus::cloning);
}

TEST(Deployment, a_late_build_cannot_resurrect_a_superseded_deployment) {
  Subject subject;
  subject.apply(Supersede{DeploymentId{"dnewer22"}});
  EXPECT_EQ(subject.state.status, DeploymentStatus::superseded);
  EXPECT_FALSE(subject.build());
  EXPECT_FALSE(subject.apply(Start{k_now}));
  EXPECT_EQ(subject.state.status, DeploymentStatus::superseded);
}

TEST(Deployment, a_retryable_failure_waits_and_comes_back_with_the_next_attempt) {
  Subject subject;
  subject.apply(Start{k_now});
  subject.fail_step(pb::STEP_CLONE, true);
  EXPECT_THAT(subject.last, ElementsAre("CloneFailed", "RetryScheduled"));
  EXPECT_GE(subject.state.retry->due, k_now + k_second_us);
  EXPECT_TRUE(subject.owes<TimerEffect>());
  subject.timer();
  EXPECT_THAT(subject.last, ElementsAre("TimerFired", "CloneStarted"));
  EXPECT_EQ(subject.history.back().clone_started().attempt(), 2);
}

TEST(Deployment, retries_end_and_the_deployment_fails_with_the_reason) {
  Subject subject;
  subject.apply(Start{k_now});
  int failures = 0;
  while (subject.state.status == DeploymentStatus::cloning && failures < 100) {
    subject.fail_step(pb::STEP_CLONE, true);
    ++failures;
    if (subject.state.retry) subject.timer();
  }
  EXPECT_EQ(failures, 4);
  EXPECT_EQ(subject.state.status, DeploymentStatus::failed);
  EXPECT_EQ(subject.state.failure->reason, "because");
}

TEST(Deployment, a_users_fault_is_not_tried_again) {
  Subject subject;
  subject.apply(Start{k_now});
  subject.clone();
  subject.fail_step(pb::STEP_BUILD, false);
  EXPECT_THAT(subject.last, ElementsAre("BuildFailed", "DeploymentFailed"));
  EXPECT_EQ(subject.state.failure->fault, pb::FAULT_USER);
}

TEST(Deployment, a_build_of_a_dead_process_is_abandoned_and_named_anew) {
  Subject subject;
  subject.apply(Start{k_now});
  subject.clone();
  const auto before = subject.state.intent;
  subject.apply(Recover{k_now});
  EXPECT_THAT(subject.last, ElementsAre("BuildAbandoned", "BuildStarted"));
  EXPECT_NE(subject.state.intent, before);
}

TEST(Deployment, steps_that_are_idempotent_by_name_keep_their_name_over_a_restart) {
  Subject subject;
  subject.apply(Start{k_now});
  const auto cloning = subject.state.intent;
  subject.apply(Recover{k_now});
  EXPECT_TRUE(subject.last.empty());
  EXPECT_EQ(subject.state.intent, cloning);
  EXPECT_TRUE(subject.owes<CloneEffect>());
}

TEST(Deployment, one_that_is_never_healthy_stops_its_vm_before_it_fails) {
  Subject subject;
  subject.apply(Start{k_now});
  subject.clone();
  subject.build();
  subject.push();
  subject.place();
  subject.start_vm();
  subject.apply(HealthTimedOut{subject.state.vm->vm_id, 503, "", 9});
  EXPECT_THAT(subject.last, ElementsAre("HealthDeadlineExceeded", "VMStopRequested"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::failing);
  EXPECT_TRUE(subject.owes<StopVmEffect>());
  EXPECT_FALSE(subject.owes<ProbeEffect>());
  subject.stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "DeploymentFailed"));
  EXPECT_THAT(subject.state.failure->reason, testing::HasSubstr("503"));
}

TEST(Deployment, a_vm_that_ends_before_it_is_healthy_fails_the_deployment_at_once) {
  Subject subject;
  subject.apply(Start{k_now});
  subject.clone();
  subject.build();
  subject.push();
  subject.place();
  subject.start_vm();
  subject.vm_ends();
  EXPECT_THAT(subject.last, ElementsAre("VMExited", "VMStopRequested"));
  subject.stopped();
  EXPECT_EQ(subject.state.status, DeploymentStatus::failed);
  EXPECT_EQ(subject.state.failure->reason, "the app exited with code 1");
}

TEST(Deployment, a_live_one_whose_vm_ends_is_started_again_and_keeps_its_claim) {
  Subject subject;
  subject.run_until_live();
  const auto generation = subject.state.generation;
  subject.vm_ends();
  EXPECT_EQ(subject.state.status, DeploymentStatus::restarting);
  subject.stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "VMRestarting"));
  EXPECT_TRUE(subject.owes<ClaimRouteEffect>());  // with a 503 and the reason
  subject.timer();
  subject.place();
  subject.start_vm();
  EXPECT_EQ(subject.state.status, DeploymentStatus::restarting);
  subject.healthy();
  subject.routed();
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
  EXPECT_EQ(subject.state.generation, generation);
}

TEST(Deployment, restarts_back_off_up_to_a_minute) {
  Subject subject;
  subject.run_until_live();
  TimestampUs longest = 0;
  for (int i = 0; i < 12; ++i) {
    subject.vm_ends();
    subject.stopped();
    ASSERT_TRUE(subject.state.retry);
    longest = std::max(longest, subject.state.retry->due - k_now);
    EXPECT_GE(subject.state.retry->due, k_now + k_second_us);
    subject.timer();
    subject.place();
    subject.start_vm();
  }
  EXPECT_GE(longest, 60 * k_second_us);
  EXPECT_LE(longest, 75 * k_second_us);
}

TEST(Deployment, retiring_drains_then_stops_then_ends) {
  Subject subject;
  subject.run_until_live();
  subject.apply(Retire{"dnewer22", "a newer deployment took over", k_now});
  EXPECT_THAT(subject.last, ElementsAre("RetirementRequested"));
  EXPECT_FALSE(subject.owes<ClaimRouteEffect>());
  EXPECT_TRUE(subject.owes<DrainEffect>());
  EXPECT_FALSE(subject.owes<StopVmEffect>());
  subject.succeed([](auto& e) { e.mutable_drained(); });
  EXPECT_THAT(subject.last, ElementsAre("Drained", "VMStopRequested"));
  subject.stopped();
  EXPECT_EQ(subject.state.status, DeploymentStatus::retired);
  EXPECT_TRUE(outstanding(subject.state).empty());
}

TEST(Deployment, a_vm_that_ends_while_it_retires_changes_nothing) {
  Subject subject;
  subject.run_until_live();
  subject.apply(Retire{"dnewer22", "newer", k_now});
  EXPECT_TRUE(subject.vm_ends());
  EXPECT_TRUE(subject.last.empty());
}

TEST(Deployment, cancel_is_terminal_only_when_the_workers_end_is_known) {
  Subject subject;
  subject.apply(Start{k_now});
  subject.clone();
  subject.apply(Cancel{"user"});
  EXPECT_EQ(subject.state.status, DeploymentStatus::cancelling);
  EXPECT_TRUE(subject.owes<AbortEffect>());
  subject.fail_step(pb::STEP_BUILD, true);
  EXPECT_THAT(subject.last, ElementsAre("BuildFailed", "DeploymentCancelled"));
}

TEST(Deployment, a_build_that_finishes_after_cancel_does_not_go_on) {
  Subject subject;
  subject.apply(Start{k_now});
  subject.clone();
  subject.apply(Cancel{"user"});
  subject.build();
  EXPECT_THAT(subject.last, ElementsAre("Built", "DeploymentCancelled"));
}

// Every state that a command sequence can reach has a way out: something is outstanding, or it
// waits for the project, or it has ended.
TEST(Deployment, no_state_is_without_a_way_out) {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    Subject subject;
    std::uint64_t random = seed * 0x9E3779B97F4A7C15ULL;
    const auto draw = [&random](std::uint64_t n) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      return random % n;
    };
    for (int step = 0; step < 40 && !is_terminal(subject.state.status); ++step) {
      switch (draw(12)) {
        case 0:
          subject.apply(Start{k_now});
          break;
        case 1:
          subject.clone();
          subject.build();
          break;
        case 2:
          subject.push();
          break;
        case 3:
          subject.place();
          break;
        case 4:
          subject.start_vm();
          break;
        case 5:
          subject.healthy();
          subject.routed();
          break;
        case 6:
          subject.stopped();
          break;
        case 7:
          subject.fail_step(pb::STEP_CLONE, draw(2) == 0);
          break;
        case 8:
          if (subject.state.vm) subject.vm_ends();
          break;
        case 9:
          if (subject.state.retry) subject.timer();
          break;
        case 10:
          if (draw(8) == 0) subject.apply(Cancel{"user"});
          break;
        default:
          subject.apply(draw(6) == 0 ? DeploymentCommand{Retire{"x", "y", k_now}}
                                     : DeploymentCommand{Recover{k_now}});
      }
      const auto status = subject.state.status;
      const bool waits = status == DeploymentStatus::queued;
      ASSERT_TRUE(waits || is_terminal(status) || !outstanding(subject.state).empty())
          << "seed " << seed << ": stuck in " << name_of(status);
    }
  }
}

}  // namespace
}  // namespace atlasflow
