// What a deployment does on hosts that are full, and when a VM does not end.
#include "tests/events/subject.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Failed full(const EffectId& effect) {
  auto failed = Subject::failure(effect, true);
  failed.no_capacity = true;
  return failed;
}

TEST(Capacity, that_is_missing_is_waited_for_and_then_is_the_reason) {
  Subject subject;
  subject.run_until_image();
  int refusals = 0;
  while (!is_terminal(subject.state.status) && refusals < 100) {
    ASSERT_TRUE(subject.apply(Subject::failure(subject.slot(0)->effect(), true)));
    ++refusals;
    subject.slot_timer();
  }
  EXPECT_EQ(refusals, 8);
  EXPECT_GE(subject.now - k_now, 60 * k_second_us) << "a VM on its way out gets time to go";
  EXPECT_EQ(subject.state.failure->fault, pb::FAULT_SYSTEM);
}

// Another VM took the room between the placement and the start, or the host's disk has none.
TEST(Capacity, that_is_gone_when_the_vm_is_to_start_is_waited_for_as_long) {
  Subject subject;
  subject.run_until_image();
  int refusals = 0;
  TimestampUs longest = 0;
  while (!is_terminal(subject.state.status) && refusals < 100) {
    subject.place();
    ASSERT_TRUE(subject.apply(full(subject.slot(0)->effect())));
    EXPECT_EQ(subject.last.front(), "VMStartFailed");
    ++refusals;
    if (subject.slot(0) != nullptr && subject.slot(0)->retry() != nullptr) {
      const auto wait = subject.slot(0)->retry()->due - subject.now;
      EXPECT_GT(wait, longest) << "each wait is longer than the one before";
      longest = wait;
    }
    subject.slot_timer();
  }
  EXPECT_EQ(refusals, 8);
  EXPECT_GE(subject.now - k_now, 60 * k_second_us);
  EXPECT_EQ(subject.state.failure->fault, pb::FAULT_SYSTEM);
}

TEST(Capacity, that_a_live_app_lacks_is_asked_for_once_a_minute_and_for_ever) {
  Subject subject;
  subject.run_until_live();
  subject.now += 11 * k_second_us;
  subject.vm_ends(0, true);
  subject.stopped();
  subject.slot_timer();
  for (int refusals = 1; refusals <= 50; ++refusals) {
    if (refusals % 2 == 0) subject.place();
    ASSERT_TRUE(subject.apply(full(subject.slot(0)->effect()))) << refusals;
    ASSERT_TRUE(subject.slot(0)->retry() != nullptr) << refusals;
    const auto wait = subject.slot(0)->retry()->due - subject.now;
    EXPECT_GE(wait, std::min(k_second_us << std::min(refusals - 1, 6), 60 * k_second_us));
    EXPECT_LE(wait, 75 * k_second_us);
    subject.slot_timer();
  }
  subject.run_vm();
  EXPECT_EQ(subject.state.status, DeploymentStatus::live);
  EXPECT_EQ(subject.slot(0)->refusals, 0);
}

TEST(Capacity, that_no_host_will_ever_have_is_not_waited_for) {
  Subject subject;
  subject.run_until_image();
  ASSERT_TRUE(subject.apply(Subject::failure(subject.slot(0)->effect(), false)));
  EXPECT_THAT(subject.last, ElementsAre("CapacityExhausted", "DeploymentFailed"));
  EXPECT_EQ(subject.state.failure->reason, "because");
}

TEST(Stop, that_is_overdue_lets_the_deployment_end_and_is_told) {
  Subject subject;
  subject.run_until_live();
  ASSERT_TRUE(
      subject.apply(Retire{Principal::system("project"), DeploymentId{"dnext234"}, "replaced"}));
  subject.drained();
  ASSERT_TRUE(subject.succeed(subject.slot(0)->effect(), [&](auto& event) {
    event.mutable_vm_stopped()->set_vm_id(subject.slot(0)->vm_id().str());
    event.mutable_vm_stopped()->set_overdue("the microVM did not end in time");
  }));
  EXPECT_EQ(subject.state.status, DeploymentStatus::retired);
  EXPECT_THAT(subject.state.notices, testing::Contains(HasSubstr("did not end in time")));
}

}  // namespace
}  // namespace atlasflow
