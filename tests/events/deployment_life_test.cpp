// The law of a deployment that is live: crashes, replicas, its owner's wishes, what replaces it.
#include "tests/events/subject.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(LiveDeployment, whose_vm_ends_is_started_again_and_keeps_its_claim) {
  Subject subject;
  subject.run_until_live();
  const auto generation = subject.state.generation;
  subject.vm_ends();
  EXPECT_THAT(subject.last, ElementsAre("VMExited", "VMStopRequested"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::restarting);
  EXPECT_TRUE(subject.claim().upstreams.empty());
  EXPECT_THAT(subject.claim().unavailable_reason, HasSubstr("being started again"));
  subject.stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "VMRestarting"));
  subject.slot_timer();
  EXPECT_THAT(subject.last, ElementsAre("TimerFired", "VMPlacementRequested"));
  subject.run_vm();
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
  EXPECT_EQ(subject.claim().generation, generation);
  EXPECT_EQ(subject.claim().upstreams.size(), 1U);
}

TEST(LiveDeployment, backs_off_from_1_s_up_to_a_minute_and_gives_up_after_ten_crashes) {
  Subject subject;
  subject.run_until_live();
  TimestampUs longest = 0;
  for (int crash = 1; crash <= 9; ++crash) {
    subject.crash();
    ASSERT_TRUE(subject.slot(0)->retry() != nullptr) << crash;
    const auto wait = subject.slot(0)->retry()->due - subject.now;
    EXPECT_GE(wait, k_second_us);
    EXPECT_LE(wait, crash == 1 ? 2 * k_second_us : 75 * k_second_us);
    longest = std::max(longest, wait);
    subject.slot_timer();
    subject.run_vm();
  }
  EXPECT_GE(longest, 60 * k_second_us);
  EXPECT_LE(longest, 75 * k_second_us);
  subject.crash();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "CrashLoopDetected"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::crashed);
  EXPECT_THAT(subject.claim().unavailable_reason, HasSubstr("crashed too often"));
  EXPECT_FALSE(subject.owes<TimerEffect>());
}

TEST(LiveDeployment, that_was_healthy_for_ten_minutes_begins_its_count_of_crashes_anew) {
  Subject subject;
  subject.run_until_live();
  for (int crash = 0; crash < 30; ++crash) {
    subject.now += 600 * k_second_us;
    subject.crash();
    ASSERT_TRUE(subject.slot(0)->retry() != nullptr);
    EXPECT_EQ(subject.slot(0)->crashes, 1);
    subject.slot_timer();
    subject.run_vm();
  }
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
}

TEST(LiveDeployment, that_crashed_too_often_starts_again_when_its_owner_says_so) {
  Subject subject;
  subject.run_until_live();
  while (subject.state.status != DeploymentStatus::crashed) {
    subject.crash();
    subject.slot_timer();
    subject.run_vm();
  }
  EXPECT_TRUE(subject.apply(StartApp{Principal::user()}));
  EXPECT_THAT(subject.last, ElementsAre("StartRequested", "VMPlacementRequested"));
  subject.run_vm();
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
}

TEST(LiveDeployment, whose_vm_went_with_its_machine_is_started_at_once_and_has_not_crashed) {
  Subject subject;
  subject.run_until_live();
  subject.now += 11 * k_second_us;
  subject.vm_ends(0, true);
  subject.stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "VMRestarting"));
  EXPECT_EQ(subject.slot(0)->retry()->due, subject.now);
  EXPECT_EQ(subject.slot(0)->crashes, 0);
  EXPECT_FALSE(subject.state.crashed_early);
}

TEST(LiveDeployment, whose_vm_is_lost_as_soon_as_it_runs_is_not_started_in_a_hot_loop) {
  Subject subject;
  subject.run_until_live();
  subject.vm_ends(0, true);
  subject.stopped();
  EXPECT_GE(subject.slot(0)->retry()->due, subject.now + k_second_us);
}

TEST(Deployment, whose_vm_is_lost_again_and_again_before_it_is_healthy_fails) {
  Subject subject;
  subject.run_until_image();
  for (int lost = 0; lost < 20 && !is_terminal(subject.state.status); ++lost) {
    subject.place();
    subject.start_vm();
    subject.vm_ends(0, true);
    subject.stopped();
    subject.slot_timer();
  }
  EXPECT_EQ(subject.state.status, DeploymentStatus::failed);
  EXPECT_EQ(subject.state.failure->fault, pb::FAULT_SYSTEM);
}

TEST(LiveDeployment, that_crashes_soon_after_its_route_says_so_for_the_automatic_rollback) {
  Subject early;
  early.run_until_live();
  early.now += 59 * k_second_us;
  early.vm_ends();
  EXPECT_TRUE(early.state.crashed_early);

  Subject late;
  late.run_until_live();
  late.now += 61 * k_second_us;
  late.vm_ends();
  EXPECT_FALSE(late.state.crashed_early);

  Subject never([](pb::Settings& settings) { settings.set_auto_rollback_us(0); });
  never.run_until_live();
  never.vm_ends();
  EXPECT_FALSE(never.state.crashed_early);
}

TEST(LiveDeployment, that_turns_unhealthy_keeps_its_traffic_while_no_other_is_healthy) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(2); });
  subject.run_until_live();
  ASSERT_EQ(subject.claim().upstreams.size(), 2U);
  subject.apply(HealthChanged{subject.slot(0)->vm_id(), false, 500, ""});
  EXPECT_THAT(subject.last, ElementsAre("BecameUnhealthy"));
  ASSERT_EQ(subject.claim().upstreams.size(), 1U);
  EXPECT_EQ(subject.claim().upstreams[0].vm_id, subject.slot(1)->vm_id());
  subject.apply(HealthChanged{subject.slot(1)->vm_id(), false, 0, "connection refused"});
  EXPECT_EQ(subject.claim().upstreams.size(), 2U) << "an unhealthy answer is better than none";
  subject.apply(HealthChanged{subject.slot(0)->vm_id(), true, 200, ""});
  EXPECT_THAT(subject.last, ElementsAre("BecameHealthy"));
  EXPECT_EQ(subject.claim().upstreams.size(), 1U);
}

TEST(LiveDeployment, says_nothing_when_a_probe_tells_nothing_new) {
  Subject subject;
  subject.run_until_live();
  subject.apply(HealthChanged{subject.slot(0)->vm_id(), true, 200, ""});
  EXPECT_TRUE(subject.last.empty());
}

TEST(Replicas, all_answer_before_the_route_is_claimed) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(3); });
  subject.run_until_image();
  EXPECT_THAT(subject.last, ElementsAre("ImagePushed", "VMPlacementRequested",
                                        "VMPlacementRequested", "VMPlacementRequested"));
  subject.run_vm(0);
  subject.run_vm(2);
  EXPECT_FALSE(subject.state.intent);
  subject.run_vm(1);
  EXPECT_TRUE(subject.state.awaits(IntentKind::route));
  EXPECT_EQ(subject.claim().upstreams.size(), 3U);
}

TEST(Replicas, fail_together_before_the_route_and_leave_nothing) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(2); });
  subject.run_until_image();
  subject.run_vm(0);
  subject.place(1);
  subject.start_vm(1);
  subject.vm_ends(1);
  EXPECT_THAT(subject.last, ElementsAre("VMExited", "VMStopRequested", "VMStopRequested"));
  subject.stopped(1);
  EXPECT_EQ(subject.state.status, DeploymentStatus::failing);
  subject.stopped(0);
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "DeploymentFailed"));
}

TEST(Replicas, one_that_crashes_leaves_the_route_to_the_others) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(2); });
  subject.run_until_live();
  subject.vm_ends(0);
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
  ASSERT_EQ(subject.claim().upstreams.size(), 1U);
  EXPECT_EQ(subject.claim().upstreams[0].vm_id, subject.slot(1)->vm_id());
}

TEST(Scale, up_adds_vms_and_the_route_follows_as_they_get_healthy) {
  Subject subject;
  subject.run_until_live();
  subject.apply(Scale{3, Principal::user()});
  EXPECT_THAT(subject.last,
              ElementsAre("ScaleRequested", "VMPlacementRequested", "VMPlacementRequested"));
  EXPECT_EQ(subject.claim().upstreams.size(), 1U);
  subject.run_vm(1);
  EXPECT_EQ(subject.claim().upstreams.size(), 2U);
  subject.run_vm(2);
  EXPECT_EQ(subject.claim().upstreams.size(), 3U);
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
}

TEST(Scale, down_drains_before_it_stops) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(2); });
  subject.run_until_live();
  subject.apply(Scale{1, Principal::user()});
  EXPECT_THAT(subject.last, ElementsAre("ScaleRequested"));
  EXPECT_EQ(subject.claim().upstreams.size(), 1U);
  EXPECT_TRUE(subject.owes<DrainEffect>());
  subject.drained(1);
  EXPECT_THAT(subject.last, ElementsAre("Drained", "VMStopRequested"));
  subject.stopped(1);
  EXPECT_EQ(subject.slot(1), nullptr);
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
}

TEST(Scale, is_refused_outside_its_limits) {
  Subject subject;
  subject.run_until_live();
  EXPECT_FALSE(subject.apply(Scale{0, Principal::user()}));
  EXPECT_EQ(subject.refusal.code, ErrorCode::invalid_argument);
  EXPECT_THAT(subject.refusal.message, HasSubstr("1 to 32"));
  EXPECT_FALSE(subject.apply(Scale{33, Principal::user()}));
}

TEST(Stop, drains_stops_and_keeps_the_hostname_with_a_reason_until_it_is_started) {
  Subject subject;
  subject.run_until_live();
  subject.apply(StopApp{Principal::user()});
  EXPECT_EQ(subject.state.status, DeploymentStatus::stopping);
  EXPECT_TRUE(subject.claim().upstreams.empty());
  EXPECT_THAT(subject.claim().unavailable_reason, HasSubstr("stopped by its owner"));
  subject.drained();
  subject.stopped();
  EXPECT_EQ(subject.state.status, DeploymentStatus::stopped);
  EXPECT_TRUE(subject.owes<ClaimRouteEffect>());
  subject.apply(StartApp{Principal::user()});
  EXPECT_THAT(subject.last, ElementsAre("StartRequested", "VMPlacementRequested"));
  subject.run_vm();
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
}

TEST(Stop, twice_is_no_error_and_a_stopped_one_can_retire) {
  Subject subject;
  subject.run_until_live();
  subject.apply(StopApp{Principal::user()});
  EXPECT_TRUE(subject.apply(StopApp{Principal::user()}));
  EXPECT_TRUE(subject.last.empty());
  subject.drained();
  subject.stopped();
  subject.apply(Retire{Principal::system("project"), DeploymentId{"dnewer22"}, "newer"});
  EXPECT_THAT(subject.last, ElementsAre("RetirementRequested", "DeploymentRetired"));
}

TEST(Cancel, of_what_serves_names_the_verbs_that_end_it) {
  Subject subject;
  subject.run_until_live();
  EXPECT_FALSE(subject.apply(Cancel{Principal::user()}));
  EXPECT_THAT(subject.refusal.message, HasSubstr("stop or rollback"));
}

TEST(Cancel, while_a_vm_starts_waits_for_its_outcome_and_stops_it) {
  Subject subject;
  subject.run_until_image();
  subject.place();
  subject.apply(Cancel{Principal::user()});
  EXPECT_TRUE(subject.owes<AbortEffect>());
  EXPECT_EQ(subject.state.status, DeploymentStatus::cancelling);
  subject.start_vm();
  EXPECT_THAT(subject.last, ElementsAre("VMStarted", "VMStopRequested"));
  subject.stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "DeploymentCancelled"));
}

TEST(Override, of_a_running_build_ends_as_superseded_once_the_builder_has_stopped) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  subject.apply(Override{DeploymentId{"dnewer22"}});
  EXPECT_EQ(subject.state.status, DeploymentStatus::cancelling);
  EXPECT_TRUE(subject.owes<AbortEffect>());
  subject.fail_step(true);
  EXPECT_THAT(subject.last, ElementsAre("BuildFailed", "DeploymentSuperseded"));
  EXPECT_EQ(subject.state.superseded_by, "dnewer22");
}

TEST(Supersede, of_one_that_has_its_turn_already_is_refused) {
  Subject subject;
  subject.apply(Start{});
  EXPECT_FALSE(subject.apply(Supersede{DeploymentId{"dnewer22"}}));
}

TEST(Skipped, a_push_that_changed_no_watched_path_ends_without_a_build) {
  Subject subject;
  subject.apply(Start{std::string(40, 'b')});
  EXPECT_EQ(subject.state.base_sha, std::string(40, 'b'));
  subject.clone([](auto& cloned) { cloned.set_skip_reason("none of the watched paths changed"); });
  EXPECT_THAT(subject.last, ElementsAre("Cloned", "DeploymentSkipped"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::skipped);
}

TEST(Settings, of_the_repository_win_for_this_deployment) {
  Subject subject;
  subject.apply(Start{});
  subject.clone([&](auto& cloned) {
    *cloned.mutable_settings() = subject.state.push.settings();
    cloned.mutable_settings()->set_port(8080);
    cloned.mutable_settings()->set_replicas(2);
  });
  EXPECT_EQ(subject.state.push.settings().port(), 8080);
  EXPECT_EQ(subject.state.replicas, 2);
}

TEST(ReleaseCommand, runs_after_the_build_and_before_any_vm_gets_traffic) {
  Subject subject([](pb::Settings& settings) { settings.set_release_command("migrate"); });
  subject.run_until_image();
  EXPECT_THAT(subject.last, ElementsAre("ImagePushed", "ReleaseStarted"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::releasing);
  EXPECT_TRUE(subject.owes<RunReleaseEffect>());
  subject.released();
  EXPECT_THAT(subject.last, ElementsAre("ReleaseSucceeded"));
  EXPECT_TRUE(subject.owes<StopVmEffect>()) << "its VM goes first";
  subject.release_vm_stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "VMPlacementRequested"));
}

TEST(ReleaseCommand, that_fails_stops_the_deployment_and_its_vm) {
  Subject subject([](pb::Settings& settings) { settings.set_release_command("migrate"); });
  subject.run_until_image();
  subject.fail_step(false);
  EXPECT_THAT(subject.last, ElementsAre("ReleaseFailed"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::failing);
  subject.release_vm_stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "DeploymentFailed"));
  EXPECT_EQ(subject.state.failure->step, pb::STEP_RELEASE);
}

pb::PushReceived a_push() {
  Subject subject([](pb::Settings& settings) { settings.set_release_command("migrate"); });
  return subject.push_received;
}

TEST(Rollback, starts_its_vms_without_a_build_and_without_the_release_command) {
  RequestRollback command;
  *command.request.mutable_push() = a_push();
  command.request.set_to("dolder22");
  command.request.mutable_built()->set_reference("r/web@sha256:old");
  Subject subject(DeploymentCommand{command});
  EXPECT_EQ(subject.state.status, DeploymentStatus::queued);
  subject.apply(Start{});
  EXPECT_THAT(subject.last, ElementsAre("VMPlacementRequested"));
  EXPECT_EQ(subject.state.image, ImageRef{"r/web@sha256:old"});
}

TEST(Rollback, to_one_that_never_had_an_image_is_refused) {
  RequestRollback command;
  *command.request.mutable_push() = a_push();
  command.request.set_to("dolder22");
  DeploymentState fresh;
  fresh.id = DeploymentId{"dabc2345"};
  EXPECT_FALSE(decide(fresh, command, Moment{}));
}

TEST(Promote, runs_the_release_command_and_restart_does_not) {
  for (const auto kind : {pb::REDEPLOYMENT_PROMOTE, pb::REDEPLOYMENT_RESTART}) {
    RequestRedeploy command;
    *command.request.mutable_push() = a_push();
    command.request.set_of("dolder22");
    command.request.set_kind(kind);
    command.request.mutable_built()->set_reference("r/web@sha256:old");
    Subject subject(DeploymentCommand{command});
    subject.apply(Start{});
    EXPECT_THAT(
        subject.last,
        ElementsAre(kind == pb::REDEPLOYMENT_PROMOTE ? "ReleaseStarted" : "VMPlacementRequested"));
  }
}

TEST(Builder, that_was_lost_is_told_by_name_and_its_step_is_tried_again) {
  Subject subject;
  subject.apply(Start{});
  subject.clone();
  auto lost = Subject::failure(subject.intent(), true);
  lost.lost_builder = "builder-2";
  subject.apply(lost);
  EXPECT_THAT(subject.last, ElementsAre("BuilderLost", "RetryScheduled"));
  EXPECT_EQ(subject.history[subject.history.size() - 2].builder_lost().builder(), "builder-2");
}

TEST(Host, that_is_lost_gives_up_its_vms_and_they_are_placed_again) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(2); });
  subject.run_until_live();
  subject.apply(VmHostGone{HostId{"local"}});
  EXPECT_THAT(subject.last,
              ElementsAre("VMHostLost", "VMHostLost", "VMRestarting", "VMRestarting"));
  EXPECT_EQ(subject.state.status, DeploymentStatus::restarting);
  EXPECT_TRUE(subject.claim().upstreams.empty());
  subject.slot_timer(0);
  EXPECT_THAT(subject.last, ElementsAre("TimerFired", "VMPlacementRequested"));
}

TEST(Host, that_is_lost_again_and_again_makes_its_vms_wait_longer_each_time) {
  Subject subject;
  subject.run_until_live();
  std::vector<TimestampUs> waits;
  for (int times = 0; times < 8; ++times) {
    subject.now += 12 * k_second_us;  // it served well for a while
    subject.apply(VmHostGone{HostId{"local"}});
    ASSERT_NE(subject.slot(0), nullptr);
    ASSERT_TRUE(subject.slot(0)->retry() != nullptr);
    waits.push_back(subject.slot(0)->retry()->due - subject.now);
    subject.slot_timer();
    subject.run_vm();
  }
  EXPECT_EQ(waits.front(), 0) << "a machine that goes once is nobody's fault";
  EXPECT_GE(waits[1], k_second_us);
  EXPECT_GE(waits.back(), 30 * k_second_us);
  EXPECT_TRUE(std::is_sorted(waits.begin(), waits.end()));
  EXPECT_EQ(subject.state.status, DeploymentStatus::live) << "what serves well is never given up";
}

// What a guest that resets itself looks like from outside.
TEST(LiveDeployment, whose_vm_is_lost_soon_after_each_start_is_given_up_like_one_that_crashes) {
  Subject subject;
  subject.run_until_live();
  for (int times = 0; times < 20 && subject.state.status != DeploymentStatus::crashed; ++times) {
    subject.now += 5 * k_second_us;
    if (times % 2 == 0) {
      subject.vm_ends(0, true);
      subject.stopped();
    } else {
      subject.apply(VmHostGone{HostId{"local"}});
    }
    subject.slot_timer();
    if (subject.slot(0) != nullptr && !subject.slot(0)->in<phase::GivenUp>()) subject.run_vm();
  }
  EXPECT_EQ(subject.state.status, DeploymentStatus::crashed);
}

TEST(Hostnames, of_previews_name_branch_and_project_and_never_collide) {
  Subject subject;
  auto state = subject.state;
  EXPECT_THAT(hostnames_of(state, "example.test"),
              ElementsAre("web.example.test", "dabc2345-web.example.test"));
  const auto label = [&](const std::string& branch) {
    state.push.set_environment("preview/" + branch);
    return hostnames_of(state, "example.test").front();
  };
  EXPECT_EQ(label("fix-1"), "fix-1--web.example.test");
  EXPECT_NE(label("fix/1"), label("fix-1"));
  EXPECT_NE(label("fix/1"), label("fix_1"));
  EXPECT_LE(label(std::string(200, 'x')).find('.'), 63U);
  EXPECT_NE(label(std::string(200, 'x')), label(std::string(201, 'x')));
  EXPECT_THAT(label("\xc3\x9c"), HasSubstr("--web.example.test"));
}

}  // namespace
}  // namespace atlasflow
