// What a live deployment does with a VM that stays unhealthy.
#include "tests/events/subject.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;

TEST(Unhealthy, for_too_long_is_stopped_and_started_anew) {
  Subject subject;
  subject.run_until_live();
  subject.now += 60 * k_second_us;
  const auto vm = subject.slot(0)->vm_id();
  subject.apply(HealthChanged{vm, false, 500, ""});
  EXPECT_EQ(subject.unhealthy_due(0), subject.now + 300 * k_second_us);
  EXPECT_TRUE(subject.owes<TimerEffect>());
  subject.now += 299 * k_second_us;
  subject.apply(TimerDue{pb::STEP_HEALTH, 0, 0});
  EXPECT_TRUE(subject.last.empty()) << "a timer that comes early is none";
  subject.now += k_second_us;
  subject.apply(TimerDue{pb::STEP_HEALTH, 0, 0});
  EXPECT_THAT(subject.last, ElementsAre("UnhealthyTooLong", "VMStopRequested"));
  EXPECT_TRUE(subject.claim().upstreams.empty()) << "it leaves the route before it stops";
  subject.stopped();
  EXPECT_THAT(subject.last, ElementsAre("VMStopped", "VMRestarting"));
  subject.slot_timer();
  subject.run_vm();
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
  EXPECT_NE(subject.slot(0)->vm_id(), vm);
  EXPECT_FALSE(subject.owes<TimerEffect>());
}

TEST(Unhealthy, and_well_again_in_time_is_left_alone) {
  Subject subject;
  subject.run_until_live();
  subject.apply(HealthChanged{subject.slot(0)->vm_id(), false, 500, ""});
  subject.apply(HealthChanged{subject.slot(0)->vm_id(), true, 200, ""});
  EXPECT_FALSE(subject.owes<TimerEffect>());
  subject.now += 400 * k_second_us;
  subject.apply(TimerDue{pb::STEP_HEALTH, 0, 0});
  EXPECT_TRUE(subject.last.empty());
}

TEST(Unhealthy, is_never_restarted_when_the_setting_says_so) {
  Subject subject([](pb::Settings& settings) { settings.set_restart_unhealthy_after_us(0); });
  subject.run_until_live();
  subject.apply(HealthChanged{subject.slot(0)->vm_id(), false, 500, ""});
  EXPECT_FALSE(subject.owes<TimerEffect>());
}

TEST(Unhealthy, replicas_restart_one_after_the_other) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(2); });
  subject.run_until_live();
  for (const int slot : {0, 1}) {
    subject.apply(HealthChanged{subject.slot(slot)->vm_id(), false, 500, ""});
  }
  subject.now += 300 * k_second_us;
  subject.apply(TimerDue{pb::STEP_HEALTH, 0, 0});
  EXPECT_THAT(subject.last, ElementsAre("UnhealthyTooLong", "VMStopRequested"));
  subject.apply(TimerDue{pb::STEP_HEALTH, 0, 1});
  EXPECT_THAT(subject.last, ElementsAre("RetryScheduled"));
  EXPECT_TRUE(subject.slot(1)->is_up());
  EXPECT_FALSE(subject.claim().upstreams.empty()) << "one of them answers, unhealthy as it is";
  subject.stopped(0);
  subject.slot_timer(0);
  subject.run_vm(0);
  subject.now = subject.unhealthy_due(1);
  subject.apply(TimerDue{pb::STEP_HEALTH, 0, 1});
  EXPECT_THAT(subject.last, ElementsAre("UnhealthyTooLong", "VMStopRequested"));
}

// An app whose database is down must come back when that does.
TEST(Unhealthy, after_each_restart_waits_longer_and_is_never_given_up) {
  Subject subject;
  subject.run_until_live();
  TimestampUs wait = 0;
  for (int times = 0; times < 20; ++times) {
    subject.apply(HealthChanged{subject.slot(0)->vm_id(), false, 500, ""});
    subject.now = subject.unhealthy_due(0);
    subject.apply(TimerDue{pb::STEP_HEALTH, 0, 0});
    subject.stopped();
    ASSERT_TRUE(subject.slot(0)->retry() != nullptr);
    wait = subject.slot(0)->retry()->due - subject.now;
    subject.slot_timer();
    subject.run_vm();
  }
  EXPECT_GE(wait, 30 * k_second_us);
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
}

}  // namespace
}  // namespace atlasflow
