#include "tests/events/subject.hpp"

namespace atlasflow {
namespace {

Succeeded told(const std::function<void(pb::Event&)>& fill) {
  Succeeded succeeded;
  fill(succeeded.outcome);
  return succeeded;
}
Failed failed(pb::Step step) {
  Failed failure;
  failure.step = step;
  return failure;
}

TEST(AskedBy, what_somebody_asks_for_is_theirs) {
  const auto user = Principal::user();
  const auto github = Principal::webhook("github");
  EXPECT_EQ(asked_by(ReceivePush{{}, github}), github);
  EXPECT_EQ(asked_by(RequestRollback{{}, user}), user);
  EXPECT_EQ(asked_by(RequestRedeploy{{}, user}), user);
  EXPECT_EQ(asked_by(Retire{github, {}, "the branch was deleted"}), github);
  EXPECT_EQ(asked_by(Cancel{user}), user);
  EXPECT_EQ(asked_by(Scale{2, user}), user);
  EXPECT_EQ(asked_by(StopApp{user}), user);
  EXPECT_EQ(asked_by(StartApp{user}), user);
}

TEST(AskedBy, what_happens_by_itself_is_the_part_that_tells_of_it) {
  struct Case {
    DeploymentCommand command;
    const char* part;
  };
  for (const auto& [command, part] : std::vector<Case>{
           {Start{}, "project"},
           {Supersede{}, "project"},
           {Override{}, "project"},
           {Recover{}, "deployment"},
           {told([](auto& e) { e.mutable_cloned(); }), "builder_pool"},
           {told([](auto& e) { e.mutable_built(); }), "builder_pool"},
           {told([](auto& e) { e.mutable_image_pushed(); }), "builder_pool"},
           {told([](auto& e) { e.mutable_vm_started(); }), "vm_hosts"},
           {told([](auto& e) { e.mutable_release_succeeded(); }), "vm_hosts"},
           {told([](auto& e) { e.mutable_healthy(); }), "vm_hosts"},
           {told([](auto& e) { e.mutable_routed(); }), "edge"},
           {told([](auto& e) { e.mutable_drained(); }), "edge"},
           {failed(pb::STEP_CLONE), "builder_pool"},
           {failed(pb::STEP_BUILD), "builder_pool"},
           {failed(pb::STEP_PUSH_IMAGE), "builder_pool"},
           {failed(pb::STEP_START_VM), "vm_hosts"},
           {failed(pb::STEP_RELEASE), "vm_hosts"},
           {failed(pb::STEP_ROUTE), "edge"},
           {HealthTimedOut{}, "vm_hosts"},
           {HealthChanged{}, "vm_hosts"},
           {VmEnded{}, "vm_hosts"},
           {VmHostGone{}, "vm_hosts"},
           {TimerDue{}, "timers"},
           {DeadlinePassed{}, "timers"},
       }) {
    EXPECT_EQ(asked_by(command), Principal::system(part)) << command.index();
  }
}

TEST(AskedBy, a_cancellation_that_nobody_named_says_for_whom_and_why) {
  Subject subject;
  subject.apply(Cancel{Principal::webhook("github"), "the branch was deleted"});
  EXPECT_EQ(subject.state.status, DeploymentStatus::cancelled);
  EXPECT_EQ(subject.state.cancelled_by, "webhook:github");
  EXPECT_EQ(subject.state.cancel_reason, "the branch was deleted");
  EXPECT_EQ(subject.history.back().deployment_cancelled().reason(), "the branch was deleted");
}

TEST(AskedBy, a_retirement_names_the_successor_or_who_is_behind_it) {
  Subject taken_over;
  taken_over.run_until_live();
  taken_over.apply(Retire{Principal::system("project"), DeploymentId{"dnewer22"}, "newer"});
  EXPECT_EQ(taken_over.state.retired_by, "dnewer22");
  Subject deleted;
  deleted.run_until_live();
  deleted.apply(Retire{Principal::user(), {}, "the project was deleted"});
  EXPECT_EQ(deleted.state.retired_by, "user");
}

}  // namespace
}  // namespace atlasflow
