// Pushes through the real actors, in every order that the seeds choose.
#include <gmock/gmock.h>

#include "sim/run/life.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "tests/actors/settled.hpp"

namespace atlasflow::actors {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const auto k_seven =
    ElementsAre("PushReceived", "Cloned", "Built", "ImagePushed", "VMStarted", "Healthy", "Routed");

// The names of a deployment's events in order; with `only_seven`, those of the happy path.
std::vector<std::string> event_names(const storage::EventLog& log, const DeploymentId& id,
                                     bool only_seven) {
  std::vector<std::string> names;
  EXPECT_TRUE(
      log.read_stream(deployment_stream(id), StreamVersion{1}, [&](const storage::Record& record) {
        if (!only_seven || static_cast<int>(record.event.kind_case()) <= 7) {
          names.push_back(storage::event_name(record.event));
        }
        return true;
      }));
  return names;
}

TEST(Pipeline, a_push_becomes_live_through_the_seven_events) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    sim::World world;
    sim::Life life(storage::make_memory_store(), world, seed);
    life.create_project("web");
    life.send_push("guid-1", 'a');
    ASSERT_TRUE(life.run_until([&] { return all_settled(life); })) << "seed " << seed;
    const auto id = deployments_of(life).front();
    EXPECT_THAT(event_names(life.log(), id, true), k_seven) << "seed " << seed;
    EXPECT_EQ(world.running_vms(), 1);
    EXPECT_EQ(world.upstream_of("web.example.test"), world.vms.begin()->first);
    EXPECT_EQ(world.upstream_of(id.str() + "-web.example.test"), world.vms.begin()->first);
  }
}

TEST(Pipeline, every_event_but_the_push_names_the_event_that_caused_it) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    sim::World world;
    sim::Life life(storage::make_memory_store(), world, seed);
    life.create_project("web");
    life.send_push("guid-1", 'a');
    ASSERT_TRUE(life.run_until([&] { return all_settled(life); })) << "seed " << seed;
    life.send_push("guid-2", 'b');
    ASSERT_TRUE(life.run_until([&] {
      const auto ids = deployments_of(life);
      return ids.size() == 2 && status_of(life, ids[0]) == DeploymentStatus::retired;
    })) << "seed "
        << seed;
    std::map<Position, storage::Record> records;
    ASSERT_TRUE(life.log().read_all(Position{1}, [&](const storage::Record& record) {
      records[record.position] = record;
      return true;
    }));
    for (const auto& [position, record] : records) {
      if (deployment_of(record.stream).empty() || record.event.has_push_received()) continue;
      ASSERT_NE(record.causation_position, Position{})
          << storage::event_name(record.event) << " at " << position.value() << ", seed " << seed;
      ASSERT_LT(record.causation_position, position);
      const auto& cause = records.at(record.causation_position);
      if (record.event.has_built()) {
        EXPECT_TRUE(cause.event.has_build_started());
      }
      if (record.event.has_clone_started()) {
        EXPECT_EQ(cause.stream, record.stream);
      }
      if (record.event.has_retirement_requested()) {
        EXPECT_TRUE(cause.event.has_routed());
        EXPECT_NE(cause.stream, record.stream);
      }
    }
  }
}

TEST(Pipeline, the_same_delivery_twice_is_one_deployment) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 7);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return life.push_replies.size() == 2 && all_settled(life); }));
  EXPECT_EQ(deployments_of(life).size(), 1U);
  std::multiset<int> verdicts;
  for (const auto& reply : life.push_replies) {
    verdicts.insert(static_cast<int>(reply.receipts.at(0).verdict));
    EXPECT_EQ(reply.receipts.at(0).deployment, deployments_of(life).front());
  }
  EXPECT_THAT(verdicts, ElementsAre(static_cast<int>(PushReceipt::Verdict::deployed),
                                    static_cast<int>(PushReceipt::Verdict::duplicate)));
}

TEST(Pipeline, a_push_to_another_branch_is_recorded_as_ignored_with_the_reason) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 7);
  const auto project = life.create_project("web");
  life.send_push("guid-1", 'a', "refs/heads/topic");
  ASSERT_TRUE(life.run_until([&] { return life.push_replies.size() == 1; }));
  EXPECT_EQ(life.push_replies[0].receipts.at(0).verdict, PushReceipt::Verdict::ignored);
  std::vector<std::string> reasons;
  EXPECT_TRUE(life.log().read_stream(project_stream(project), StreamVersion{1}, [&](const auto& r) {
    if (r.event.has_push_ignored()) reasons.push_back(r.event.push_ignored().reason());
    return true;
  }));
  EXPECT_THAT(reasons, ElementsAre(HasSubstr("'topic' is not deployed")));
}

TEST(Pipeline, a_second_push_takes_over_and_the_first_is_drained_before_its_vm_stops) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    sim::World world;
    sim::Life life(storage::make_memory_store(), world, seed);
    life.create_project("web");
    life.send_push("guid-1", 'a');
    ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
    const auto first_vm = world.upstream_of("web.example.test");
    life.send_push("guid-2", 'b');
    ASSERT_TRUE(life.run_until([&] {
      const auto ids = deployments_of(life);
      return ids.size() == 2 && status_of(life, ids[0]) == DeploymentStatus::retired &&
             status_of(life, ids[1]) == DeploymentStatus::live;
    })) << "seed "
        << seed;
    EXPECT_EQ(world.running_vms(), 1);
    EXPECT_TRUE(world.drained.contains(first_vm));
    EXPECT_NE(world.upstream_of("web.example.test"), first_vm);
    // At every published table the default host had an upstream once it had one.
    bool seen = false;
    for (const auto& [generation, table] : world.tables) {
      for (const auto& claim : table) {
        if (claim.host != "web.example.test") continue;
        seen = true;
        EXPECT_FALSE(claim.upstreams.empty());
      }
      if (seen) {
        EXPECT_FALSE(table.empty());
      }
    }
  }
}

TEST(Pipeline, of_several_waiting_pushes_the_newest_runs_and_the_others_are_superseded) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    sim::World world;
    sim::Life life(storage::make_memory_store(), world, seed);
    life.create_project("web");
    life.send_push("guid-1", 'a');
    life.run_until([&] { return life.push_replies.size() == 1; });
    for (const auto* delivery : {"guid-2", "guid-3", "guid-4"}) {
      life.send_push(delivery, 'b');
      life.run_until([&, n = life.push_replies.size()] { return life.push_replies.size() > n; });
    }
    ASSERT_TRUE(life.run_until([&] {
      const auto ids = deployments_of(life);
      return ids.size() == 4 && status_of(life, ids[3]) == DeploymentStatus::live &&
             std::all_of(ids.begin(), ids.end() - 1,
                         [&](const auto& id) { return is_terminal(status_of(life, id)); });
    })) << "seed "
        << seed;
    for (const auto& id : deployments_of(life)) {
      const auto status = status_of(life, id);
      EXPECT_TRUE(status == DeploymentStatus::live || status == DeploymentStatus::superseded ||
                  status == DeploymentStatus::retired)
          << name_of(status);
    }
  }
}

// Two at once would race for the route, and an older commit could end above a newer one.
TEST(Pipeline, of_pushes_that_come_at_once_one_is_under_way_at_a_time_and_the_newest_ends_live) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    sim::World world;
    sim::Life life(storage::make_memory_store(), world, seed);
    life.create_project("web");
    for (const auto* delivery : {"guid-1", "guid-2", "guid-3", "guid-4", "guid-5"}) {
      life.send_push(delivery, 'b');
      life.run_steps(static_cast<int>(seed % 7));
    }
    ASSERT_TRUE(life.run_until([&] {
      return deployments_of(life).size() == 5 && all_settled(life) && world.running_vms() == 1;
    })) << "seed "
        << seed;
    std::set<std::string> under_way;
    ASSERT_TRUE(life.log().read_all(Position{1}, [&](const storage::Record& record) {
      const auto id = deployment_of(record.stream).str();
      if (record.event.has_clone_started()) under_way.insert(id);
      EXPECT_LE(under_way.size(), 1U) << "seed " << seed;
      if (record.event.has_routed()) under_way.erase(id);
      return true;
    }));
    EXPECT_EQ(status_of(life, deployments_of(life).back()), DeploymentStatus::live)
        << "seed " << seed;
  }
}

TEST(Pipeline, a_clone_that_fails_is_tried_again_and_goes_live) {
  sim::World world;
  int failures = 2;
  world.clone_error = [&](const SourceJob&) -> std::optional<Error> {
    if (failures-- > 0) return Error{ErrorCode::unavailable, "the remote does not answer", ""};
    return std::nullopt;
  };
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  const auto id = deployments_of(life).front();
  EXPECT_EQ(status_of(life, id), DeploymentStatus::live);
  EXPECT_THAT(event_names(life.log(), id, true), k_seven);
  EXPECT_EQ(world.clones.size(), 3U);
}

TEST(Pipeline, no_checkout_outlives_its_image_or_its_deployment) {
  sim::World world;
  world.build_error = [](const SourceJob& job) -> std::optional<Error> {
    if (job.sha.front() == 'b') return Error{ErrorCode::user_error, "step 'RUN false' failed", ""};
    return std::nullopt;
  };
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  for (const char digit : {'a', 'b', 'c'}) {
    life.send_push(std::string("guid-") + digit, digit);
    ASSERT_TRUE(life.run_until([&, n = static_cast<std::size_t>(digit - 'a' + 1)] {
      return deployments_of(life).size() == n && all_settled(life);
    }));
  }
  EXPECT_TRUE(life.run_until([&] { return world.checkouts.empty(); }));
}

TEST(Pipeline, a_failed_build_leaves_the_old_version_live) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  const auto upstream = world.upstream_of("web.example.test");
  world.build_error = [](const SourceJob&) {
    return Error{ErrorCode::user_error, "step 'RUN false' failed", "", 1};
  };
  life.send_push("guid-2", 'b');
  ASSERT_TRUE(
      life.run_until([&] { return deployments_of(life).size() == 2 && all_settled(life); }));
  const auto ids = deployments_of(life);
  EXPECT_EQ(status_of(life, ids[0]), DeploymentStatus::live);
  EXPECT_EQ(status_of(life, ids[1]), DeploymentStatus::failed);
  const auto failure = life.catalog().deployment(ids[1])->state.failure;
  EXPECT_EQ(failure->fault, pb::FAULT_USER);
  EXPECT_THAT(failure->reason, HasSubstr("RUN false"));
  EXPECT_EQ(world.upstream_of("web.example.test"), upstream);
}

TEST(Pipeline, an_app_that_never_answers_fails_with_the_last_answer_and_leaves_no_vm) {
  sim::World world;
  world.probe = [](const VmId&) { return ProbeObservation{503, ""}; };
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  const auto failure = life.catalog().deployment(deployments_of(life).front())->state.failure;
  ASSERT_TRUE(failure);
  EXPECT_THAT(failure->reason, HasSubstr("status 503"));
  EXPECT_EQ(world.running_vms(), 0);
}

TEST(Pipeline, the_reason_of_no_answer_is_told_once_when_it_is_known_and_stays) {
  sim::World world;
  const std::string reason = "the app listens on 127.0.0.1:3000: listen on 0.0.0.0";
  world.probe = [&](const VmId&) { return ProbeObservation{0, reason, true}; };
  sim::Life life(storage::make_memory_store(), world, 7);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  const auto id = deployments_of(life).front();
  const auto names = event_names(life.log(), id, false);
  EXPECT_EQ(std::count(names.begin(), names.end(), "HealthCheckFailed"), 1);
  EXPECT_THAT(life.catalog().deployment(id)->state.failure->reason, HasSubstr(reason));
}

TEST(Pipeline, a_reason_that_changes_as_an_app_starts_is_not_told) {
  sim::World world;
  int probes = 0;
  world.probe = [&](const VmId&) {
    if (++probes > 100) return ProbeObservation{200, ""};
    return ProbeObservation{0, "the app listens on 127.0.0.1:" + std::to_string(probes), true};
  };
  sim::Life life(storage::make_memory_store(), world, 7);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  const auto names = event_names(life.log(), deployments_of(life).front(), false);
  EXPECT_EQ(std::count(names.begin(), names.end(), "HealthCheckFailed"), 0);
}

TEST(Pipeline, a_vm_that_exits_fails_at_once_and_not_at_the_deadline) {
  sim::World world;
  world.probe = [&](const VmId& vm_id) {
    world.vms[vm_id].running = false;
    return ProbeObservation{0, "connection refused"};
  };
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }, std::chrono::seconds(10)));
  EXPECT_EQ(status_of(life, deployments_of(life).front()), DeploymentStatus::failed);
}

TEST(Pipeline, a_live_app_that_crashes_comes_back) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  const auto first = world.upstream_of("web.example.test");
  world.vms[first].running = false;
  ASSERT_TRUE(life.run_until([&] {
    const auto upstream = world.upstream_of("web.example.test");
    return upstream != first && !upstream.empty() && all_settled(life);
  }));
  EXPECT_EQ(world.running_vms(), 1);
}

TEST(Pipeline, an_edge_that_refuses_a_table_is_asked_again) {
  sim::World world;
  world.publish_failures = 2;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  EXPECT_EQ(status_of(life, deployments_of(life).front()), DeploymentStatus::live);
}

TEST(Pipeline, deleting_a_project_retires_what_is_live_and_leaves_nothing) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  life.send_push("guid-1", 'a');
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  const auto id = deployments_of(life).front();
  life.delete_project("web");
  ASSERT_TRUE(life.run_until([&] { return status_of(life, id) == DeploymentStatus::retired; }));
  EXPECT_EQ(world.running_vms(), 0);
  EXPECT_TRUE(world.upstream_of("web.example.test").empty());
}

// Kill -9 after every single message of two pushes, then start again: both end, each of the seven
// once, one VM, one route, nothing that no intent explains.
TEST(Recovery, killed_after_any_message_a_deployment_goes_on_and_nothing_happens_twice) {
  int kills = 0;
  for (int steps = 1; steps < 400; ++steps) {
    sim::World world;
    const auto store = storage::make_memory_store();
    bool had_more = true;
    {
      sim::Life life(store, world, static_cast<std::uint64_t>(steps));
      life.create_project("web");
      life.send_push("guid-1", 'a');
      had_more = life.run_steps(steps) && !all_settled(life);
    }
    {
      sim::Life life(store, world, static_cast<std::uint64_t>(steps) + 1000);
      life.send_push("guid-1", 'a');  // GitHub is asked to deliver it again
      ASSERT_TRUE(life.run_until([&] {
        return life.push_replies.size() == 1 && all_settled(life);
      })) << "killed after "
          << steps << " messages";
      ASSERT_TRUE(life.fatal.empty());
      const auto ids = deployments_of(life);
      ASSERT_EQ(ids.size(), 1U);
      ASSERT_EQ(status_of(life, ids[0]), DeploymentStatus::live);
      ASSERT_THAT(event_names(life.log(), ids[0], true), k_seven) << "killed after " << steps;
      ASSERT_EQ(world.running_vms(), 1);
      ASSERT_EQ(world.vms.begin()->second.starts, 1);
      ASSERT_EQ(world.upstream_of("web.example.test"), world.vms.begin()->first);
      ASSERT_TRUE(storage::verify(*storage::open_memory_event_log(store, "test")));
    }
    ++kills;
    if (!had_more) break;
  }
  EXPECT_GT(kills, 30);
}

TEST(Recovery, killed_at_any_step_of_a_switch_exactly_one_version_ends_up_live) {
  for (int steps = 1; steps < 300; steps += 3) {
    sim::World world;
    const auto store = storage::make_memory_store();
    {
      sim::Life life(store, world, static_cast<std::uint64_t>(steps));
      life.create_project("web");
      life.send_push("guid-1", 'a');
      ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
      life.send_push("guid-2", 'b');
      life.run_steps(steps);
    }
    sim::Life life(store, world, static_cast<std::uint64_t>(steps) + 1000);
    life.send_push("guid-2", 'b');
    ASSERT_TRUE(life.run_until([&] {
      const auto ids = deployments_of(life);
      return ids.size() == 2 && status_of(life, ids[0]) == DeploymentStatus::retired &&
             status_of(life, ids[1]) == DeploymentStatus::live;
    })) << "killed after "
        << steps;
    ASSERT_EQ(world.running_vms(), 1) << "killed after " << steps;
    const auto vm = world.vms.begin()->first;
    EXPECT_EQ(world.upstream_of("web.example.test"), vm);
    EXPECT_THAT(event_names(life.log(), deployments_of(life)[1], true), k_seven);
  }
}

TEST(Recovery, a_restart_adopts_the_live_vm) {
  sim::World world;
  const auto store = storage::make_memory_store();
  {
    sim::Life life(store, world, 1);
    life.create_project("web");
    life.send_push("guid-1", 'a');
    ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  }
  const auto vm = world.vms.begin()->first;
  world.tables.clear();  // the edge was part of the process that died
  sim::Life life(store, world, 2);
  ASSERT_TRUE(life.run_until([&] { return world.upstream_of("web.example.test") == vm; }));
  EXPECT_EQ(world.vms.at(vm).starts, 1);
}

}  // namespace
}  // namespace atlasflow::actors
