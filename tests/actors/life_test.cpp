// What happens to a deployment after it is live, and between deployments, through the real actors
// in every order that the seeds choose.
#include "sim/run/life.hpp"

#include <gmock/gmock.h>

#include "events/settings.hpp"
#include "tests/storage/deployment_ids.hpp"

namespace atlasflow::actors {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* k_host = "web.example.test";

class Lives : public testing::TestWithParam<std::uint64_t> {
 protected:
  void live(const std::function<void(pb::Settings&)>& change = {}) {
    life = std::make_unique<sim::Life>(store, world, GetParam());
    life->create_project("web", change);
    push('a');
    ASSERT_TRUE(until_settled());
  }
  // The control plane dies and is started again over the same log and world.
  void start_again() {
    life.reset();
    life = std::make_unique<sim::Life>(store, world, GetParam() + 1000);
  }
  void push(char sha, const std::string& ref = "refs/heads/main") {
    Push made;
    made.ref = ref;
    made.before = std::string(40, last_sha);
    made.after = std::string(40, sha);
    made.delivery_id = "guid-" + std::to_string(++deliveries);
    last_sha = sha;
    const auto want = life->push_replies.size() + 1;
    life->send_push(std::move(made));
    life->run_until([&] {
      return life->push_replies.size() >= want &&
             life->catalog().position() >= life->push_replies.back().position;
    });
  }
  [[nodiscard]] std::vector<storage::DeploymentView> all() const {
    std::vector<storage::DeploymentView> views;
    for (const auto& project : life->catalog().projects()) {
      for (const auto& id : deployment_ids(life->catalog(), project.state.id)) {
        views.push_back(*life->catalog().deployment(id));
      }
    }
    return views;
  }
  [[nodiscard]] DeploymentState newest() const { return all().back().state; }
  [[nodiscard]] DeploymentState at(std::size_t place) const { return all().at(place).state; }
  bool until_settled() {
    return life->run_until([&] {
      const auto views = all();
      int serving = 0;
      for (const auto& view : views) serving += is_serving(view.state.status) ? 1 : 0;
      return !views.empty() && std::all_of(views.begin(), views.end(), [&](const auto& view) {
        const auto status = view.state.status;
        const bool preview = view.state.push.environment() != "production";
        if (is_serving(status) && !preview && serving > 1 && !previews) return false;
        return status == DeploymentStatus::live || status == DeploymentStatus::stopped ||
               status == DeploymentStatus::crashed || is_terminal(status);
      });
    });
  }
  bool until(const std::function<bool()>& done) { return life->run_until(done); }
  void crash_all() {
    for (auto& [id, vm] : world.vms) vm.running = false;
  }
  [[nodiscard]] std::string served_image() const {
    const auto vm = world.vms.find(world.upstream_of(k_host));
    return vm == world.vms.end() ? "" : vm->second.image.str();
  }
  // Why the host has no upstream in the newest table.
  [[nodiscard]] std::string reason_of(const std::string& host) const {
    for (const auto& claim : world.tables.back().second) {
      if (claim.host == host) return claim.unavailable_reason;
    }
    return "";
  }
  // In the log, of one deployment or all.
  [[nodiscard]] int count_of(const std::string& event) const {
    int count = 0;
    EXPECT_TRUE(life->log().read_all(Position{1}, [&](const storage::Record& record) {
      count += storage::event_name(record.event) == event ? 1 : 0;
      return true;
    }));
    return count;
  }

  std::shared_ptr<storage::MemoryStore> store = storage::make_memory_store();
  sim::World world;
  std::unique_ptr<sim::Life> life;
  bool previews = false;  // more than one deployment may serve
  char last_sha = '0';
  int deliveries = 0;
};

INSTANTIATE_TEST_SUITE_P(Seeds, Lives, testing::Range<std::uint64_t>(1, 13));

TEST_P(Lives, rollback_brings_the_image_before_back_without_a_build) {
  live();
  const auto first = served_image();
  push('b');
  ASSERT_TRUE(until_settled());
  ASSERT_NE(served_image(), first);
  const auto builds = world.builds.size();
  life->reuse("web", ReuseKind::rollback, "command-1");
  ASSERT_TRUE(until([&] { return served_image() == first && all().size() == 3; }));
  ASSERT_TRUE(until_settled());
  EXPECT_EQ(world.builds.size(), builds);
  EXPECT_EQ(world.running_vms(), 1);
  EXPECT_EQ(newest().rollback_to, at(0).id.str());
}

TEST_P(Lives, rollback_to_what_was_never_live_is_refused_with_what_there_is) {
  live();
  world.build_error = [](const SourceJob&) {
    return Error{ErrorCode::user_error, "the build failed", ""};
  };
  push('b');
  ASSERT_TRUE(until_settled());
  life->reuse("web", ReuseKind::rollback, "command-1", newest().id);
  ASSERT_TRUE(until([&] { return !life->errors.empty(); }));
  EXPECT_THAT(life->errors.back().message, HasSubstr("can't be rolled back to"));
  life->reuse("web", ReuseKind::rollback, "command-2");
  ASSERT_TRUE(until([&] { return life->errors.size() == 2; }));
  EXPECT_THAT(life->errors.back().message, HasSubstr("no earlier deployment"));
}

TEST_P(Lives, the_same_rollback_command_twice_is_one_deployment) {
  live();
  push('b');
  ASSERT_TRUE(until_settled());
  life->reuse("web", ReuseKind::rollback, "command-1");
  ASSERT_TRUE(until([&] { return all().size() == 3; }));
  ASSERT_TRUE(until_settled());
  life->reuse("web", ReuseKind::rollback, "command-1", at(0).id);
  until([&] { return life->push_replies.size() == 4 || !life->errors.empty(); });
  EXPECT_EQ(all().size(), 3U);
}

TEST_P(Lives, a_new_version_that_crashes_in_its_first_minute_gives_traffic_back) {
  live();
  const auto first = served_image();
  push('b');
  ASSERT_TRUE(until_settled());
  ASSERT_NE(served_image(), first);
  crash_all();
  ASSERT_TRUE(until([&] { return served_image() == first; }));
  ASSERT_TRUE(until_settled());
  EXPECT_THAT(newest().requested_by, HasSubstr("automatic rollback"));
  EXPECT_EQ(at(1).status, DeploymentStatus::retired);
  EXPECT_EQ(world.running_vms(), 1);
}

TEST_P(Lives, an_app_that_crashes_for_ever_ends_crashed_with_a_clear_503) {
  live([](pb::Settings& settings) { settings.set_auto_rollback_us(0); });
  ASSERT_TRUE(until([&] {
    crash_all();
    return newest().status == DeploymentStatus::crashed;
  }));
  ASSERT_TRUE(
      until([&] { return reason_of(k_host).find("crashed too often") != std::string::npos; }));
  EXPECT_EQ(newest().instances.begin()->second.crashes, 10);
}

TEST_P(Lives, a_vm_that_went_with_its_machine_comes_back_and_is_no_crash) {
  live();
  life->run_until([] { return false; }, std::chrono::seconds(20));
  start_again();
  world.vms.clear();  // the machine was started anew
  ASSERT_TRUE(until([&] {
    const auto vm = world.upstream_of(k_host);
    return newest().restarts == 1 && !vm.empty() && world.vms.contains(vm);
  }));
  EXPECT_EQ(newest().instances.begin()->second.crashes, 0);
}

TEST_P(Lives, replicas_share_the_route_and_a_failed_one_leaves_it) {
  live([](pb::Settings& settings) { settings.set_replicas(3); });
  ASSERT_TRUE(until([&] { return world.upstreams_of(k_host).size() == 3; }));
  const auto victim = world.upstreams_of(k_host).front();
  world.vms[victim].running = false;
  ASSERT_TRUE(until([&] { return world.upstreams_of(k_host).size() == 2; }));
  ASSERT_TRUE(until([&] { return world.upstreams_of(k_host).size() == 3; }));
  EXPECT_EQ(world.running_vms(), 3);
}

TEST_P(Lives, an_unhealthy_replica_is_taken_out_while_others_are_healthy) {
  live([](pb::Settings& settings) { settings.set_replicas(2); });
  const auto unhealthy = world.upstreams_of(k_host).front();
  world.probe = [&](const VmId& vm) { return ProbeObservation{vm == unhealthy ? 500 : 200, ""}; };
  ASSERT_TRUE(until([&] { return world.upstreams_of(k_host).size() == 1; }));
  EXPECT_NE(world.upstream_of(k_host), unhealthy);
  world.probe = nullptr;
  ASSERT_TRUE(until([&] { return world.upstreams_of(k_host).size() == 2; }));
  EXPECT_EQ(count_of("BecameUnhealthy"), 1);
  EXPECT_EQ(count_of("BecameHealthy"), 1);
}

TEST_P(Lives, an_app_without_a_health_path_is_healthy_when_it_has_run_for_ten_seconds) {
  world.probe = [](const VmId&) { return ProbeObservation{0, "nobody may ask it"}; };
  live([](pb::Settings& settings) { settings.set_health_path("none"); });
  std::int64_t after_us = 0;
  ASSERT_TRUE(life->log().read_stream(deployment_stream(newest().id), StreamVersion{1},
                                      [&](const storage::Record& record) {
                                        if (record.event.has_healthy()) {
                                          after_us = record.event.healthy().after_us();
                                        }
                                        return true;
                                      }));
  EXPECT_GE(after_us, 10 * k_second_us);
  EXPECT_LT(after_us, 20 * k_second_us);
}

TEST_P(Lives, scale_stop_and_start_do_what_they_say) {
  live();
  life->command(newest().id, Scale{3, Principal::user()});
  ASSERT_TRUE(until([&] { return world.upstreams_of(k_host).size() == 3; }));
  life->command(newest().id, Scale{1, Principal::user()});
  ASSERT_TRUE(until([&] { return world.running_vms() == 1; }));
  EXPECT_EQ(world.drained.size(), 2U);
  life->command(newest().id, StopApp{Principal::user()});
  ASSERT_TRUE(until([&] { return newest().status == DeploymentStatus::stopped; }));
  EXPECT_EQ(world.running_vms(), 0);
  start_again();
  ASSERT_TRUE(until([&] { return !world.tables.back().second.empty(); }));
  EXPECT_EQ(newest().status, DeploymentStatus::stopped) << "a restart does not start it";
  life->command(newest().id, StartApp{Principal::user()});
  ASSERT_TRUE(until([&] { return !world.upstream_of(k_host).empty(); }));
}

TEST_P(Lives, pain_2_cancel_ends_the_build_and_leaves_nothing) {
  life = std::make_unique<sim::Life>(store, world, GetParam());
  life->create_project("web");
  push('a');
  ASSERT_TRUE(until([&] { return !all().empty(); }));
  life->command(newest().id, Cancel{Principal::user()});
  ASSERT_TRUE(until_settled());
  // The command may have come after it was live, which is refused.
  if (newest().status == DeploymentStatus::cancelled) {
    EXPECT_EQ(world.running_vms(), 0);
    EXPECT_TRUE(until([&] { return world.checkouts.empty(); }));
  } else {
    EXPECT_THAT(life->errors.back().message, HasSubstr("can't cancel"));
  }
}

TEST_P(Lives, pain_7_an_older_commit_whose_webhook_comes_late_does_not_go_live) {
  live();
  Push late;
  late.ref = "refs/heads/main";
  late.before = std::string(40, 'a');
  late.after = std::string(40, 'b');
  late.delivery_id = "late";
  Push newer = late;
  newer.before = late.after;
  newer.after = std::string(40, 'c');
  newer.delivery_id = "newer";
  life->send_push(newer);
  ASSERT_TRUE(until([&] { return all().size() == 2; }));
  life->send_push(late);
  ASSERT_TRUE(until([&] { return life->push_replies.size() == 3; }));
  ASSERT_TRUE(until_settled());
  EXPECT_EQ(life->push_replies.back().receipts.front().verdict, PushReceipt::Verdict::ignored);
  EXPECT_THAT(served_image(), HasSubstr(std::string(40, 'c')));
  EXPECT_EQ(all().size(), 2U);
}

TEST_P(Lives, pain_8_a_preview_lives_with_its_branch_and_a_late_push_does_not_bring_it_back) {
  previews = true;
  live([](pb::Settings& settings) { settings.set_previews(true); });
  Push topic;
  topic.ref = "refs/heads/topic";
  topic.before = std::string(40, '0');
  topic.after = std::string(40, 'd');
  topic.delivery_id = "topic";
  life->send_push(topic);
  ASSERT_TRUE(until([&] { return !world.upstream_of("topic--web.example.test").empty(); }));
  EXPECT_EQ(served_image().find(std::string(40, 'd')), std::string::npos);
  Push deleted = topic;
  deleted.before = topic.after;
  deleted.after = std::string(40, '0');
  deleted.deleted = true;
  deleted.delivery_id = "deleted";
  life->send_push(deleted);
  ASSERT_TRUE(until([&] { return world.running_vms() == 1 && until_settled(); }));
  Push late = topic;
  late.before = topic.after;
  late.after = std::string(40, 'e');
  late.delivery_id = "late";
  life->send_push(late);
  ASSERT_TRUE(until([&] { return life->push_replies.size() == 4; }));
  EXPECT_THAT(life->push_replies.back().receipts.front().reason, HasSubstr("deleted"));
  ASSERT_TRUE(until_settled());
  EXPECT_EQ(world.running_vms(), 1);
  EXPECT_TRUE(world.upstream_of("topic--web.example.test").empty());
}

TEST_P(Lives, a_release_command_that_fails_stops_the_deployment_and_the_old_version_stays) {
  live();
  const auto first = served_image();
  ChangeSettings change{default_settings()};
  change.settings.set_release_command("migrate");
  life->command_project("web", change);
  ASSERT_TRUE(until([&] { return count_of("SettingsChanged") == 1; }));
  std::chrono::microseconds time_given{};
  world.run_command = [&time_given](const VmJob& job) {
    if (job.command != "migrate") return 0;
    time_given = job.remaining;
    return 3;
  };
  push('b');
  ASSERT_TRUE(until_settled());
  EXPECT_EQ(newest().status, DeploymentStatus::failed);
  EXPECT_EQ(newest().failure->step, pb::STEP_RELEASE);
  EXPECT_GT(time_given, std::chrono::minutes(9)) << "its VM's start is not cut short";
  EXPECT_THAT(newest().failure->reason, HasSubstr("code 3"));
  EXPECT_EQ(served_image(), first);
  EXPECT_EQ(world.vms.size(), 1U) << "the release command's VM is gone";
  world.run_command = nullptr;
  push('c');
  ASSERT_TRUE(until_settled());
  EXPECT_EQ(newest().status, DeploymentStatus::live);
  EXPECT_EQ(count_of("ReleaseSucceeded"), 1);
}

TEST_P(Lives, a_lost_host_gives_up_its_vms_and_they_are_placed_again_when_it_is_back) {
  live();
  const auto before = world.upstream_of(k_host);
  world.hosts.at(HostId{"local"}).answers = false;
  ASSERT_TRUE(until([&] { return count_of("VMHostLost") == 1; }));
  world.hosts.at(HostId{"local"}).answers = true;
  ASSERT_TRUE(until([&] {
    const auto now = world.upstream_of(k_host);
    return !now.empty() && now != before;
  }));
  // What it still ran is an orphan by now, and is ended with an event.
  ASSERT_TRUE(until([&] { return count_of("OrphanReaped") == 1; }));
  EXPECT_EQ(world.running_vms(), 1);
}

TEST_P(Lives, a_restart_of_the_control_plane_never_publishes_a_table_without_the_live_apps) {
  live([](pb::Settings& settings) { settings.set_replicas(2); });
  push('b');
  ASSERT_TRUE(until_settled());
  const auto tables = world.tables.size();
  for (int times = 0; times < 3; ++times) {
    start_again();
    life->run_until([] { return false; }, std::chrono::seconds(15));
  }
  for (std::size_t i = tables; i < world.tables.size(); ++i) {
    const auto& table = world.tables[i].second;
    const auto own = std::find_if(table.begin(), table.end(),
                                  [](const RouteClaim& claim) { return claim.host == k_host; });
    ASSERT_NE(own, table.end()) << "table " << i;
    EXPECT_EQ(own->upstreams.size(), 2U) << "table " << i;
  }
}

TEST_P(Lives, what_a_project_says_of_its_visitors_reaches_the_edge) {
  live([](pb::Settings& settings) {
    settings.set_request_rate(50);
    settings.set_max_concurrent_requests(8);
    settings.set_unavailable_message("Back at 14:00");
  });
  const auto& table = world.tables.back().second;
  const auto own = std::find_if(table.begin(), table.end(),
                                [](const RouteClaim& claim) { return claim.host == k_host; });
  ASSERT_NE(own, table.end());
  EXPECT_EQ(own->terms, (RouteTerms{50, 8, "Back at 14:00"}));
}

TEST_P(Lives, restart_replaces_the_vms_and_the_host_is_never_without_one) {
  live();
  const auto before = world.upstream_of(k_host);
  const auto tables = world.tables.size();
  life->reuse("web", ReuseKind::restart, "command-1");
  ASSERT_TRUE(until([&] { return all().size() == 2 && until_settled(); }));
  EXPECT_NE(world.upstream_of(k_host), before);
  EXPECT_EQ(world.builds.size(), 1U);
  for (std::size_t i = tables; i < world.tables.size(); ++i) {
    for (const auto& claim : world.tables[i].second) {
      EXPECT_FALSE(claim.host == k_host && claim.upstreams.empty()) << "table " << i;
    }
  }
}

}  // namespace
}  // namespace atlasflow::actors
