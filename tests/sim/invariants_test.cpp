// The oracle itself: what breaks an invariant is seen.
#include "sim/checkers/invariants.hpp"

#include <gtest/gtest.h>

#include "sim/checkers/state_difference.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::sim {
namespace {

struct Watched {
  World world;
  GitHub github{made_up_projects(1), 1};
  Invariants invariants{world, github, ".example.test"};

  [[nodiscard]] std::string broken() const {
    return invariants.violation() ? invariants.violation()->name : "";
  }
};

TEST(Invariants, a_secret_in_a_message_is_seen) {
  Watched watched;
  watched.invariants.on_bytes("a route table");
  EXPECT_EQ(watched.broken(), "");
  watched.invariants.on_bytes("token=" + std::string(GitHub::secret_mark()) + "1");
  EXPECT_EQ(watched.broken(), "no-secret-leaves");
}

TEST(Invariants, an_effect_without_an_intent_is_seen) {
  Watched watched;
  watched.invariants.on_effect(Witness::Act::build, "abcd2345-v4");
  EXPECT_EQ(watched.broken(), "intent-first");
}

TEST(Invariants, a_host_that_is_twice_in_a_route_table_is_seen) {
  Watched watched;
  watched.invariants.on_table({1,
                               {{"app-0.example.test", "app-0", "abcd2345", {}, "starting"},
                                {"app-0.example.test", "app-0", "efgh2345", {}, "starting"}}});
  EXPECT_EQ(watched.broken(), "one-route-per-host");
}

TEST(Invariants, a_route_to_a_vm_that_was_never_healthy_is_seen) {
  Watched watched;
  watched.invariants.on_table({1,
                               {{"app-0.example.test",
                                 "app-0",
                                 "abcd2345",
                                 {{VmId{"abcd2345-v9"}, {"127.0.0.1", 1}}},
                                 ""}}});
  EXPECT_EQ(watched.broken(), "healthy-before-routed");
}

TEST(Invariants, a_gap_in_the_log_is_seen) {
  Watched watched;
  storage::Appended appended;
  appended.first_position = Position{2};
  appended.records.resize(1);
  appended.records[0].position = Position{2};
  appended.records[0].stream = node_stream();
  appended.records[0].stream_version = StreamVersion{1};
  const auto log = storage::open_memory_event_log();
  watched.invariants.on_acknowledged({appended}, *log);
  EXPECT_EQ(watched.broken(), "dense-positions");
}

// A deployment that is built twice: the second one says that it took the first one's image.
std::string broken_by_reuse(const std::string& inputs, const std::string& image) {
  Watched watched;
  const auto log = storage::open_memory_event_log();
  storage::Appended appended;
  std::map<std::string, std::uint64_t> versions;
  const auto record = [&](const std::string& id, auto fill) {
    storage::Record made;
    made.stream = deployment_stream(DeploymentId{id});
    made.stream_version = StreamVersion{++versions[id]};
    made.position = Position{appended.records.size() + 1};
    fill(made.event);
    appended.records.push_back(made);
  };
  const auto begin = [&](const std::string& id) {
    record(id, [](auto& e) { e.mutable_push_received()->set_project_id("p"); });
    record(id, [](auto& e) {
      e.mutable_clone_started()->set_attempt(1);
      auto& offer = *e.mutable_clone_started()->add_earlier();
      offer.set_deployment("dfirst22");
      offer.set_inputs("same");
      offer.set_image_id("sha256:1");
    });
    record(id, [](auto& e) { e.mutable_cloned(); });
    record(id, [](auto& e) { e.mutable_build_started()->set_attempt(1); });
  };
  begin("dfirst22");
  record("dfirst22", [&](auto& e) {
    e.mutable_built()->set_image_id(image);
    e.mutable_built()->set_inputs(inputs);
  });
  begin("dnext222");
  record("dnext222", [](auto& e) {
    e.mutable_built()->set_image_id("sha256:1");
    e.mutable_built()->set_inputs("same");
    e.mutable_built()->set_reused_from("dfirst22");
  });
  appended.first_position = Position{1};
  watched.invariants.on_acknowledged({appended}, *log);
  return watched.broken();
}

TEST(Invariants, an_image_that_is_taken_for_another_one_is_seen) {
  EXPECT_EQ(broken_by_reuse("same", "sha256:1"), "");
  EXPECT_EQ(broken_by_reuse("other", "sha256:1"), "reuse-of-the-same");
  EXPECT_EQ(broken_by_reuse("same", "sha256:2"), "reuse-of-the-same");
}

// A log of one deployment, record by record, as its checkers take it.
struct Logged {
  template <typename Fill>
  storage::Record operator()(const StreamId& stream, Fill fill) {
    storage::Record record;
    record.stream = stream;
    fill(record.event);
    return record;
  }
  template <typename Fill>
  storage::Record operator()(Fill fill) {
    return (*this)(deployment_stream(DeploymentId{"dabc2345"}), fill);
  }
  storage::Record push() {
    return (*this)([](pb::Event& event) {
      event.mutable_push_received()->set_project_id("pabc2345");
      event.mutable_push_received()->set_project_name("web");
      event.mutable_push_received()->set_environment("production");
    });
  }
  storage::Record routed() {
    return (*this)([](pb::Event& event) { event.mutable_routed(); });
  }
};

TEST(Rest, is_not_while_a_deployment_is_under_way_or_a_slot_lacks_its_vm) {
  Logged logged;
  Rest rest;
  World world;
  EXPECT_EQ(rest.unrest(world, {}), "");
  rest.take(logged.push());
  EXPECT_EQ(rest.unrest(world, {}),
            "deployment dabc2345 of web/production is still under way after PushReceived");
  rest.take(logged.routed());
  EXPECT_EQ(rest.unrest(world, {}), "slot 0 of deployment dabc2345 has no VM after Routed");
  rest.take(logged([](auto& e) { e.mutable_crash_loop_detected()->set_slot(0); }));
  EXPECT_EQ(rest.unrest(world, {}), "the registry lacks the image of deployment dabc2345");
  rest.take(logged([](auto& e) { e.mutable_deployment_retired(); }));
  EXPECT_EQ(rest.unrest(world, {}), "");
  EXPECT_EQ(rest.unrest(world, {{"web.example.test", "dabc2345"}}),
            "web.example.test still leads to deployment dabc2345, which has ended");
  world.vms[VmId{"stray"}].running = true;
  EXPECT_EQ(rest.unrest(world, {}), "VM stray runs, and nothing explains it");
}

TEST(Notifications, are_unsettled_until_the_receiver_has_heard_of_each_result_once) {
  Logged logged;
  Notifications notifications;
  const auto project = project_stream(ProjectId{"pabc2345"});
  notifications.take(logged(project, [](auto& e) {
    e.mutable_project_created()->mutable_settings()->set_notify_url("https://hooks.test/");
  }));
  notifications.take(logged.push());
  EXPECT_EQ(notifications.unsettled(), "");
  notifications.take(logged.routed());
  notifications.take(logged.routed());
  EXPECT_EQ(notifications.unsettled(), "https://hooks.test/ is still to be told of dabc2345-live");
  notifications.take(logged(notifications_stream(ProjectId{"pabc2345"}), [](auto& e) {
    e.mutable_notification_sent()->set_deployment("dabc2345");
    e.mutable_notification_sent()->set_result("live");
  }));
  EXPECT_EQ(notifications.unsettled(), "");
  notifications.take(logged([](auto& e) { e.mutable_crash_loop_detected()->set_slot(0); }));
  EXPECT_EQ(notifications.unsettled(),
            "https://hooks.test/ is still to be told of dabc2345-crashed");
  notifications.take(logged(project, [](auto& e) { e.mutable_settings_changed(); }));
  EXPECT_EQ(notifications.unsettled(), "") << "nobody is left who wants to hear it";
}

TEST(Difference, names_the_first_field_that_differs) {
  DeploymentState left;
  DeploymentState right;
  EXPECT_EQ(difference(left, right), "");
  left.instances[1].phase = right.instances[1].phase = phase::Placed{HostId{"local"}};
  EXPECT_EQ(difference(left, right), "");
  right.instances[1].phase = phase::Placed{HostId{"other"}};
  EXPECT_EQ(difference(left, right), "instances[1].phase.host");
  right.instances[1].phase = left.instances[1].phase;
  right.instances[1].losses = 1;
  EXPECT_EQ(difference(left, right), "instances[1].losses");
  right.push.set_ref("refs/heads/main");
  EXPECT_EQ(difference(left, right), "push");
}

TEST(Invariants, an_event_that_may_not_follow_is_seen) {
  Watched watched;
  Logged logged;
  storage::Appended appended;
  appended.first_position = Position{1};
  appended.records = {logged.routed()};
  appended.records[0].position = Position{1};
  appended.records[0].stream_version = StreamVersion{1};
  const auto log = storage::open_memory_event_log();
  watched.invariants.on_acknowledged({appended}, *log);
  EXPECT_EQ(watched.broken(), "each-event-may-follow");
}

TEST(Heads, a_head_that_nothing_was_deployed_of_is_seen_and_one_that_came_twice) {
  Logged logged;
  Heads heads;
  GitHub github(made_up_projects(1), 1);
  const auto push = [&](const std::string& commit, pb::Trigger trigger) {
    return logged([&](auto& e) {
      auto& received = *e.mutable_push_received();
      received.set_project_id("pabc2345");
      received.set_project_name("app-0");
      received.set_environment("production");
      received.set_after(commit);
      received.set_trigger(trigger);
    });
  };
  const auto pushed = [&] {
    static_cast<void>(github.push(0, "main", AppKind::good, false, 1'000'000));
    return *github.head(0, "main");
  };
  heads.take(logged(project_stream(ProjectId{"pabc2345"}),
                    [](auto& e) { e.mutable_project_created()->set_name("app-0"); }));
  auto head = pushed();
  EXPECT_EQ(heads.missed(github), "") << "nobody knows what its owner wants of the branch";
  heads.take(push(head, pb::TRIGGER_WEBHOOK));
  EXPECT_EQ(heads.missed(github), "");
  head = pushed();
  EXPECT_EQ(heads.missed(github),
            "commit " + head + " was pushed to app-0, and nothing was deployed of it");
  auto by_hand = heads;
  by_hand.take(push(head, pb::TRIGGER_COMMAND));
  EXPECT_EQ(by_hand.missed(github), "");
  EXPECT_EQ(heads.again(push(head, pb::TRIGGER_WEBHOOK)), "");
  EXPECT_EQ(heads.again(push(head, pb::TRIGGER_COMMAND)), "");
  EXPECT_EQ(heads.again(push(head, pb::TRIGGER_WEBHOOK)),
            "commit " + head + " of app-0 was deployed twice for one push");
  heads.take(
      logged(project_stream(ProjectId{"pabc2345"}), [](auto& e) { e.mutable_project_deleted(); }));
  EXPECT_EQ(heads.missed(github), "");
}

}  // namespace
}  // namespace atlasflow::sim
