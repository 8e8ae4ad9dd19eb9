// The law of one deployment on its way to the first request, as claims.
#include "tests/events/subject.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

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
  subject.apply(Start{});
  subject.clone();
  EXPECT_THAT(subject.last, ElementsAre("Cloned", "BuildStarted"));
  subject.build();
  EXPECT_THAT(subject.last, ElementsAre("Built", "ImagePushStarted"));
  subject.push();
  EXPECT_THAT(subject.last, ElementsAre("ImagePushed", "VMPlacementRequested"));
  EXPECT_TRUE(subject.owes<PlaceVmEffect>());
  subject.place();
  EXPECT_THAT(subject.last, ElementsAre("VMPlaced", "VMStartRequested"));
}

TEST(Deployment, the_effect_id_names_the_intent_and_so_the_thing_outside) {
  Subject subject;
  subject.apply(Start{});
  EXPECT_EQ(subject.intent(), EffectId{"dabc2345-v2"});
  subject.clone();
  EXPECT_EQ(subject.state.build, EffectId{"dabc2345-v4"});
}

TEST(Deployment, an_outcome_of_another_effect_is_refused) {
  Subject subject;
  subject.apply(Start{});
  Succeeded stale;
  stale.effect = EffectId{"dabc2345-v1"};
  stale.outcome.mutable_cloned();
  EXPECT_FALSE(subject.apply(stale));
  EXPECT_EQ(subject.refusal.code, ErrorCode::conflict);
  EXPECT_EQ(subject.state.status, DeploymentStatus::cloning);
}

TEST(Deployment, an_outcome_of_the_wrong_kind_is_refused) {
  Subject subject;
  subject.apply(Start{});
  EXPECT_FALSE(subject.build());
  EXPECT_EQ(subject.state.status, DeploymentStatus::cloning);
}

TEST(Deployment, a_late_build_cannot_resurrect_a_superseded_deployment) {
  Subject subject;
  subject.apply(Supersede{DeploymentId{"dnewer22"}});
  EXPECT_EQ(subject.state.status, DeploymentStatus::superseded);
  EXPECT_FALSE(subject.build());
  EXPECT_FALSE(subject.apply(Start{}));
  EXPECT_EQ(subject.state.status, DeploymentStatus::superseded);
}

TEST(Deployment, a_retryable_failure_waits_and_comes_back_with_the_next_attempt) {
  Subject subject;
  subject.apply(Start{});
  subject.fail_step(true);
  EXPECT_THAT(subject.last, ElementsAre("CloneFailed", "RetryScheduled"));
  EXPECT_GE(subject.state.retry->due, k_now + k_second_us);
  EXPECT_TRUE(subject.owes<TimerEffect>());
  subject.timer();
  EXPECT_THAT(subject.last, ElementsAre("TimerFired", "CloneStarted"));
  EXPECT_EQ(subject.history.back().clone_started().attempt(), 2);
}

TEST(Deployment, retries_end_and_the_deployment_fails_with_the_reason) {
  Subject subject;
  subject.apply(Start{});
  int failures = 0;
  while (subject.state.status == DeploymentStatus::cloning && failures < 100) {
    ASSERT_TRUE(subject.fail_step(true));
    ++failures;
    if (subject.state.retry) subject.timer();
  }
  EXPECT_EQ(failures, 4);
  EXPECT_EQ(subject.state.status, DeploymentStatus::failed);
  EXPECT_EQ(subject.state.failure->reason, "because");
}

TEST(Deployment, a_route_that_is_not_acknowledged_by_its_deadline_is_asked_for_again) {
  Subject subject;
  subject.run_until_image();
  subject.run_vm();
  ASSERT_EQ(subject.last.back(), "RouteChangeRequested");
  const auto first = subject.intent();
  const auto generation = subject.state.generation;
  EXPECT_EQ(subject.deadline_owed(), k_now + 60 * k_second_us);
  subject.now += 59 * k_second_us;
  EXPECT_TRUE(subject.apply(DeadlinePassed{first}));
  EXPECT_THAT(subject.last, IsEmpty()) << "before its time";

  EXPECT_TRUE(subject.deadline());
  EXPECT_THAT(subject.last, ElementsAre("RouteFailed", "RetryScheduled"));
  EXPECT_THAT(subject.history.at(subject.history.size() - 2).route_failed().reason(),
              HasSubstr("the edge"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::routing);
  EXPECT_EQ(subject.deadline_owed(), 0);
  subject.timer();
  EXPECT_THAT(subject.last, ElementsAre("TimerFired", "RouteChangeRequested"));
  EXPECT_EQ(subject.state.generation, generation) << "a newer deployment's stays above it";
  EXPECT_EQ(subject.deadline_owed(), subject.now + 60 * k_second_us);

  // The edge has done at last what was asked first; only the newest claim's answer counts.
  EXPECT_FALSE(subject.succeed(first, [](auto& e) { e.mutable_routed()->set_generation(77); }));
  EXPECT_TRUE(subject.apply(DeadlinePassed{first}));
  EXPECT_THAT(subject.last, IsEmpty()) << "the first attempt's deadline is over";
  EXPECT_TRUE(subject.routed());
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
  EXPECT_EQ(subject.deadline_owed(), 0);
}

TEST(Deployment, a_route_that_is_never_acknowledged_fails_it_and_stops_its_vm) {
  Subject subject;
  subject.run_until_image();
  subject.run_vm();
  int attempts = 0;
  while (subject.state.status == DeploymentStatus::routing && attempts < 100) {
    ASSERT_TRUE(subject.deadline());
    ++attempts;
    if (subject.state.retry) subject.timer();
  }
  EXPECT_EQ(attempts, 5);
  EXPECT_THAT(subject.last, ElementsAre("RouteFailed", "DrainRequested"));
  EXPECT_FALSE(subject.owes<ClaimRouteEffect>()) << "the claim goes before the VM does";
  subject.drained();
  subject.stopped();
  EXPECT_EQ(subject.state.status, DeploymentStatus::failed);
  EXPECT_EQ(subject.state.failure->step, pb::STEP_ROUTE);
  EXPECT_EQ(subject.state.failure->fault, pb::FAULT_SYSTEM);
  EXPECT_THAT(subject.state.failure->reason, HasSubstr("the edge"));
}

TEST(Deployment, a_deadline_of_a_route_that_is_not_awaited_any_more_is_no_news) {
  Subject subject;
  subject.run_until_image();
  subject.run_vm();
  const auto effect = subject.intent();
  subject.apply(Cancel{Principal::user()});
  subject.now += 120 * k_second_us;
  EXPECT_EQ(subject.deadline_owed(), 0);
  EXPECT_TRUE(subject.apply(DeadlinePassed{effect}));
  EXPECT_THAT(subject.last, IsEmpty());
}

TEST(Deployment, a_users_fault_is_not_tried_again) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  subject.fail_step(false);
  EXPECT_THAT(subject.last, ElementsAre("BuildFailed", "DeploymentFailed"));
  EXPECT_EQ(subject.state.failure->fault, pb::FAULT_USER);
}

TEST(Deployment, a_build_of_a_dead_process_is_abandoned_and_named_anew) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  const auto before = subject.intent();
  subject.apply(Recover{});
  EXPECT_THAT(subject.last, ElementsAre("BuildAbandoned", "BuildStarted"));
  EXPECT_NE(subject.intent(), before);
}

TEST(Deployment, a_build_that_takes_the_control_plane_along_each_time_ends_with_a_reason) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  for (int i = 0; i < 4; ++i) {
    subject.apply(Recover{});
    ASSERT_THAT(subject.last, ElementsAre("BuildAbandoned", "BuildStarted"));
  }
  subject.apply(Recover{});
  EXPECT_THAT(subject.last, ElementsAre("BuildFailed", "DeploymentFailed"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::failed);
  EXPECT_EQ(subject.state.failure->step, pb::STEP_BUILD);
  EXPECT_EQ(subject.state.failure->fault, pb::FAULT_SYSTEM);
  EXPECT_THAT(
      subject.state.failure->reason,
      HasSubstr("the build was begun 5 times, and the control plane ended during the last"));
}

TEST(Deployment, a_build_that_is_cancelled_is_abandoned_however_often_it_was_begun) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  subject.apply(Recover{});
  subject.apply(Recover{});
  subject.apply(Cancel{Principal::user()});
  subject.apply(Recover{});
  EXPECT_THAT(subject.last, ElementsAre("BuildAbandoned", "DeploymentCancelled"));
}

TEST(Deployment, steps_that_are_idempotent_by_name_keep_their_name_over_a_restart) {
  Subject subject;
  subject.apply(Start{});
  const auto cloning = subject.intent();
  subject.apply(Recover{});
  EXPECT_TRUE(subject.last.empty());
  EXPECT_EQ(subject.intent(), cloning);
  EXPECT_TRUE(subject.owes<CloneEffect>());
}

TEST(Deployment, one_that_is_never_healthy_stops_its_vm_before_it_fails) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  subject.build();
  subject.push();
  subject.place();
  subject.start_vm();
  subject.apply(HealthTimedOut{subject.slot(0)->vm_id(), 503, "", 9});
  EXPECT_THAT(subject.last, ElementsAre("HealthDeadlineExceeded", "VMStopRequested"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::failing);
  EXPECT_TRUE(subject.owes<StopVmEffect>());
  EXPECT_FALSE(subject.owes<ProbeEffect>());
  subject.stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "DeploymentFailed"));
  EXPECT_THAT(subject.state.failure->reason, testing::HasSubstr("503"));
}

TEST(Deployment, tells_the_reason_of_a_probe_that_fails_while_it_lasts_and_at_the_end) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  subject.build();
  subject.push();
  subject.place();
  subject.start_vm();
  const auto vm_id = subject.slot(0)->vm_id();
  const std::string reason = "the app listens on 127.0.0.1:3000: listen on 0.0.0.0";
  subject.apply(HealthChanged{vm_id, false, 0, reason});
  EXPECT_THAT(subject.last, ElementsAre("HealthCheckFailed"));
  EXPECT_EQ(subject.slot(0)->vm()->problem(), reason);
  subject.apply(HealthTimedOut{vm_id, 0, reason, 9});
  subject.stopped();
  EXPECT_EQ(subject.state.failure->reason, "no 2xx within 120 s; last answer: " + reason);
}

TEST(Deployment, a_vm_that_ends_before_it_is_healthy_fails_the_deployment_at_once) {
  Subject subject;
  subject.apply(Start{});
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

TEST(Deployment, retiring_drains_then_stops_then_ends) {
  Subject subject;
  subject.run_until_live();
  subject.apply(Retire{Principal::system("project"), DeploymentId{"dnewer22"},
                       "a newer deployment took over"});
  EXPECT_THAT(subject.last, ElementsAre("RetirementRequested"));
  EXPECT_FALSE(subject.owes<ClaimRouteEffect>());
  EXPECT_TRUE(subject.owes<DrainEffect>());
  EXPECT_FALSE(subject.owes<StopVmEffect>());
  subject.drained();
  EXPECT_THAT(subject.last, ElementsAre("Drained", "VMStopRequested"));
  subject.stopped();
  EXPECT_EQ(subject.state.status, DeploymentStatus::retired);
  EXPECT_TRUE(outstanding(subject.state).empty());
}

TEST(Deployment, a_vm_that_ends_while_it_retires_changes_nothing) {
  Subject subject;
  subject.run_until_live();
  subject.apply(Retire{Principal::system("project"), DeploymentId{"dnewer22"}, "newer"});
  EXPECT_TRUE(subject.vm_ends());
  EXPECT_TRUE(subject.last.empty());
}

TEST(Deployment, cancel_is_terminal_only_when_the_workers_end_is_known) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  subject.apply(Cancel{Principal::user()});
  EXPECT_EQ(subject.state.status, DeploymentStatus::cancelling);
  EXPECT_TRUE(subject.owes<AbortEffect>());
  subject.fail_step(true);
  EXPECT_THAT(subject.last, ElementsAre("BuildFailed", "DeploymentCancelled"));
}

// The edge may have taken the table although its answer was lost: found by the simulator.
TEST(Deployment, one_that_is_cancelled_while_its_route_is_asked_for_drains_before_it_stops) {
  Subject subject;
  subject.run_until_image();
  subject.run_vm();
  ASSERT_THAT(subject.last, ElementsAre("Healthy", "RouteChangeRequested"));
  subject.apply(Cancel{Principal::user()});
  EXPECT_THAT(subject.last, ElementsAre("CancelRequested", "DrainRequested"));
  EXPECT_TRUE(subject.owes<DrainEffect>());
  EXPECT_FALSE(subject.owes<StopVmEffect>());
  EXPECT_FALSE(subject.owes<ClaimRouteEffect>());
  subject.drained();
  EXPECT_THAT(subject.last, ElementsAre("Drained", "VMStopRequested"));
}

TEST(Deployment, one_whose_route_fails_for_good_drains_before_it_stops) {
  Subject subject;
  subject.run_until_image();
  subject.run_vm();
  subject.fail_step(false);
  EXPECT_THAT(subject.last, ElementsAre("RouteFailed", "DrainRequested"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::failing);
  subject.drained();
  subject.stopped();
  EXPECT_EQ(subject.state.status, DeploymentStatus::failed);
}

TEST(Deployment, a_drain_that_is_under_way_is_not_asked_for_twice) {
  Subject subject;
  subject.run_until_image();
  subject.run_vm();
  subject.apply(Cancel{Principal::user()});
  EXPECT_FALSE(subject.apply(Cancel{Principal::user()})) << "it is being cancelled";
  subject.vm_ends();
  EXPECT_TRUE(subject.last.empty()) << "the drain ends by itself";
  subject.drained();
  EXPECT_THAT(subject.last, ElementsAre("Drained", "VMStopRequested"));
}

TEST(Deployment, a_build_that_finishes_after_cancel_does_not_go_on) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  subject.apply(Cancel{Principal::user()});
  subject.build();
  EXPECT_THAT(subject.last, ElementsAre("Built", "DeploymentCancelled"));
}

// Every state that a command sequence can reach has a way out: something is outstanding, or it
// waits for the project or its owner, or it has ended.
TEST(Deployment, no_state_is_without_a_way_out) {
  for (std::uint64_t seed = 1; seed <= 3000; ++seed) {
    std::uint64_t random = seed * 0x9E3779B97F4A7C15ULL;
    const auto draw = [&random](std::uint64_t n) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      return random % n;
    };
    Subject subject([&](pb::Settings& settings) {
      settings.set_replicas(static_cast<std::int32_t>(1 + draw(3)));
      if (draw(2) == 0) settings.set_release_command("migrate");
    });
    for (int step = 0; step < 80 && !is_terminal(subject.state.status); ++step) {
      const auto slot = static_cast<std::int32_t>(draw(3));
      switch (draw(16)) {
        case 0:
          subject.apply(Start{});
          break;
        case 1:
          subject.clone();
          subject.build();
          break;
        case 2:
          subject.push();
          if (draw(3) != 0) subject.released();
          break;
        case 3:
          subject.place(slot);
          break;
        case 4:
          subject.start_vm(slot);
          break;
        case 5:
          subject.healthy(slot);
          subject.routed();
          break;
        case 6:
          subject.stopped(slot);
          if (!subject.state.release_vm.empty()) subject.release_vm_stopped();
          break;
        case 7:
          subject.fail_step(draw(2) == 0);
          break;
        case 8:
          subject.vm_ends(slot, draw(3) == 0);
          break;
        case 9:
          subject.timer();
          subject.slot_timer(slot);
          break;
        case 10:
          if (draw(8) == 0) subject.apply(Cancel{Principal::user()});
          break;
        case 11:
          subject.drained(slot);
          break;
        case 12:
          if (draw(3) == 0)
            subject.apply(Scale{static_cast<std::int32_t>(1 + draw(3)), Principal::user()});
          break;
        case 13:
          if (draw(4) == 0) subject.apply(StopApp{Principal::user()});
          if (draw(2) == 0) subject.apply(StartApp{Principal::user()});
          break;
        case 14:
          if (subject.slot(slot) != nullptr) {
            const Instance instance = *subject.slot(slot);
            if (draw(2) == 0) subject.apply(Subject::failure(instance.effect(), draw(2) == 0));
            if (draw(8) == 0) subject.apply(HealthTimedOut{instance.vm_id(), 503, "", 9});
            if (draw(8) == 0) subject.apply(HealthChanged{instance.vm_id(), draw(2) == 0, 500, ""});
          }
          if (draw(8) == 0) subject.apply(VmHostGone{HostId{"local"}});
          break;
        default:
          if (draw(8) == 0)
            subject.apply(Retire{Principal::system("project"), DeploymentId{"x"}, "y"});
          if (draw(8) == 0) subject.apply(Supersede{DeploymentId{"dnewer22"}});
          if (draw(8) == 0) subject.apply(Override{DeploymentId{"dnewer22"}});
          if (draw(2) == 0) subject.deadline();
          subject.apply(Recover{});
      }
      const auto status = subject.state.status;
      const bool waits = status == DeploymentStatus::queued;
      ASSERT_TRUE(waits || is_terminal(status) || !outstanding(subject.state).empty())
          << "seed " << seed << ": stuck in " << name_of(status);
    }
    // Once the world answers everything well, a deployment comes to rest: live, stopped, crashed or
    // at its end.
    for (int round = 0; round < 200; ++round) {
      subject.apply(Start{});
      subject.clone();
      subject.build();
      subject.push();
      subject.released();
      if (!subject.state.release_vm.empty()) subject.release_vm_stopped();
      subject.timer();
      for (std::int32_t slot = 0; slot < 3; ++slot) {
        subject.slot_timer(slot);
        subject.place(slot);
        subject.start_vm(slot);
        subject.healthy(slot);
        subject.drained(slot);
        subject.stopped(slot);
      }
      subject.routed();
    }
    const auto status = subject.state.status;
    ASSERT_TRUE(is_terminal(status) || status == DeploymentStatus::live ||
                status == DeploymentStatus::stopped || status == DeploymentStatus::crashed)
        << "seed " << seed << " ends " << name_of(status);
  }
}

}  // namespace
}  // namespace atlasflow
