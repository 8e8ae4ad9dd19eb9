// What may not follow in a deployment's stream is told, whatever decided to record it.
#include "events/deployment_events.hpp"
#include "tests/events/subject.hpp"

namespace atlasflow {
namespace {

template <typename Fill>
pb::Event event_with(Fill fill) {
  pb::Event event;
  fill(event);
  return event;
}

pb::Event healthy(const std::string& vm) {
  return event_with([&](auto& e) { e.mutable_healthy()->set_vm_id(vm); });
}
pb::Event stopped(const std::string& vm) {
  return event_with([&](auto& e) { e.mutable_vm_stopped()->set_vm_id(vm); });
}
pb::Event cloned() {
  return event_with([](auto& e) { e.mutable_cloned(); });
}

TEST(Violation, before_the_beginning_and_after_the_end_nothing_may_follow) {
  DeploymentState absent;
  EXPECT_EQ(violation(absent, cloned()), "it has not begun");
  Subject subject;
  EXPECT_EQ(violation(subject.state, subject.history.front()), "it has begun already");
  subject.apply(Cancel{Principal::user()});
  ASSERT_TRUE(is_terminal(subject.state.status));
  for (const auto& event : subject.history) {
    EXPECT_EQ(violation(subject.state, event), "it has ended") << kind_of(event);
  }
}

TEST(Violation, an_outcome_needs_its_intent) {
  Subject subject;
  subject.apply(Start{});
  EXPECT_EQ(violation(subject.state, cloned()), "");
  subject.clone();
  EXPECT_EQ(violation(subject.state, cloned()), "nobody has asked for this step");
  EXPECT_EQ(violation(subject.state, event_with([](auto& e) { e.mutable_routed(); })),
            "nobody has asked for this step");
  EXPECT_EQ(violation(subject.state, event_with([](auto& e) { e.mutable_built(); })), "no image");
}

TEST(Violation, a_step_begins_after_the_one_before_and_by_its_next_attempt) {
  Subject subject;
  subject.apply(Start{});
  const auto build = [](std::int32_t attempt) {
    return event_with([&](auto& e) { e.mutable_build_started()->set_attempt(attempt); });
  };
  EXPECT_EQ(violation(subject.state, build(1)), "another step is under way");
  subject.fail_step(true);
  EXPECT_EQ(violation(subject.state, build(1)), "a retry is due first");
  subject.timer();
  const auto clone = event_with([](auto& e) { e.mutable_clone_started()->set_attempt(2); });
  EXPECT_EQ(violation(subject.state, clone), "another step is under way");
  subject.clone();
  subject.fail_step(true);
  subject.state.retry.reset();
  EXPECT_EQ(violation(subject.state, build(2)), "");
  EXPECT_EQ(violation(subject.state, build(3)), "it is not the next attempt of this step");
  const auto clone_again = event_with([](auto& e) { e.mutable_clone_started()->set_attempt(3); });
  EXPECT_EQ(violation(subject.state, clone_again), "the source is there already");
}

TEST(Violation, a_vm_is_placed_then_started_then_healthy_once) {
  Subject subject;
  const auto start = event_with([](auto& e) {
    e.mutable_vm_start_requested()->set_host("local");
    e.mutable_vm_start_requested()->set_slot(0);
  });
  subject.run_until_image();
  EXPECT_EQ(violation(subject.state, start), "the slot was never placed");
  subject.place();
  const auto vm = subject.slot(0)->vm_id().str();
  EXPECT_EQ(violation(subject.state, start), "the slot has a VM");
  EXPECT_EQ(violation(subject.state, healthy(vm)), "the VM does not run");
  EXPECT_EQ(violation(subject.state, healthy("another")), "the deployment has no such VM");
  EXPECT_EQ(violation(subject.state,
                      event_with([](auto& e) { e.mutable_vm_started()->set_vm_id("another"); })),
            "another VM was asked for");
  subject.start_vm();
  EXPECT_EQ(violation(subject.state, healthy(vm)), "");
  subject.healthy();
  EXPECT_EQ(violation(subject.state, healthy(vm)), "the VM has been healthy before");
  EXPECT_EQ(violation(subject.state, stopped(vm)), "nobody has asked for its stop");
}

TEST(Violation, a_route_is_claimed_for_healthy_vms_only) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(2); });
  const auto claim = event_with([](auto& e) {
    e.mutable_route_change_requested()->set_generation(77);
    e.mutable_route_change_requested()->add_hostnames("web.example.test");
  });
  subject.run_until_image();
  subject.run_vm(0);
  EXPECT_EQ(violation(subject.state, claim), "not every VM has answered 2xx");
  subject.run_vm(1);
  EXPECT_EQ(violation(subject.state, claim), "another step is under way");
  subject.routed();
  EXPECT_EQ(violation(subject.state, claim), "it has its route");
}

TEST(Violation, an_end_leaves_nothing_behind) {
  Subject subject;
  subject.run_until_live();
  const auto retired = event_with([](auto& e) { e.mutable_deployment_retired(); });
  EXPECT_EQ(violation(subject.state, retired), "it is not retiring");
  subject.apply(Retire{Principal::system("project"), DeploymentId{"newer"}, "superseded"});
  EXPECT_EQ(violation(subject.state, retired), "it still holds a VM or a step");
  EXPECT_EQ(violation(subject.state, event_with([](auto& e) { e.mutable_vm_restarting(); })),
            "no VM has ended in the slot");
}

TEST(Violation, an_event_of_another_stream_is_none_of_a_deployment) {
  Subject subject;
  EXPECT_EQ(violation(subject.state, event_with([](auto& e) { e.mutable_project_created(); })),
            "it is no event of a deployment");
}

// Every event that was decided may follow where it did, and nearly never a second time.
TEST(Violation, of_a_whole_life_is_none) {
  Subject subject([](pb::Settings& settings) { settings.set_replicas(2); });
  subject.run_until_live();
  subject.apply(HealthChanged{subject.slot(0)->vm_id(), false, 500, ""});
  subject.apply(HealthChanged{subject.slot(0)->vm_id(), true, 200, ""});
  subject.crash(1);
  subject.slot_timer(1);
  subject.run_vm(1);
  subject.apply(Retire{Principal::system("project"), DeploymentId{"newer"}, "superseded"});
  for (const int slot : {0, 1}) {
    subject.drained(slot);
    subject.stopped(slot);
  }
  ASSERT_EQ(subject.state.status, DeploymentStatus::retired);
  DeploymentState state;
  state.id = subject.state.id;
  int refused_again = 0;
  for (const auto& event : subject.history) {
    EXPECT_EQ(violation(state, event), "") << kind_of(event);
    evolve(state, event);
    refused_again += violation(state, event).empty() ? 0 : 1;
  }
  EXPECT_GE(refused_again, static_cast<int>(subject.history.size()) - 1);
}

TEST(EndsDeployment, is_said_of_five_events) {
  int ends = 0;
  const auto* kinds = pb::Event::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds->field_count(); ++i) {
    pb::Event event;
    event.GetReflection()->MutableMessage(&event, kinds->field(i));
    DeploymentState state;
    evolve(state, event);
    EXPECT_EQ(ends_deployment(event), is_terminal(state.status)) << kind_of(event);
    ends += ends_deployment(event) ? 1 : 0;
  }
  EXPECT_EQ(ends, 5);
}

}  // namespace
}  // namespace atlasflow
