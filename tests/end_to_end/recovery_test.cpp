// kill -9 at every boundary: nothing lost, nothing twice.

#include <gmock/gmock.h>
#include <signal.h>

#include "tests/end_to_end/server_fixture.hpp"
#include "tests/end_to_end/visitors.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAreArray;
using testing::HasSubstr;

using Recovery = ServerFixture;

TEST_F(Recovery, a_server_killed_after_any_event_carries_the_deployment_to_its_route) {
  write_app("version 0\n");
  auto before = repository().commit_all("Version 0");
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  stop_server();

  for (std::size_t i = 0; i + 1 < k_seven.size(); ++i) {
    SCOPED_TRACE("killed after " + k_seven[i]);
    const auto page = "version " + std::to_string(i + 1) + "\n";
    write_app(page);
    const auto after = repository().commit_all("Version " + std::to_string(i + 1));
    start_server({{"ATLASFLOW_TEST_CRASH_AFTER", k_seven[i]}});
    // The answer may be lost with the server; GitHub would show that, and the event decides.
    static_cast<void>(push(before, after));
    ASSERT_EQ(signal_that_ended_server(), SIGKILL);

    start_server();
    const auto newest = atlasflow_json({"deployments", "web"}).at("deployments").at(0);
    const auto id = newest.at("id").get<std::string>();
    ASSERT_EQ(newest.at("sha"), after);
    EXPECT_TRUE(eventually(240s, [&] {
      return deployment("web", id).value("status", "") == "live";
    })) << deployment("web", id).dump(2);
    EXPECT_THAT(seven_of("web", id), ElementsAreArray(k_seven));
    expect_only_vm_of("web", id);
    EXPECT_EQ(get("web." + k_domain).body, page);
    EXPECT_EQ(get(id + "-web." + k_domain).body, page);
    stop_server();
    if (HasFailure()) return;
    before = after;
  }
  EXPECT_EQ(atlasflow({"log", "verify"}).code, 0);
  start_server();
}

TEST_F(Recovery, a_killed_servers_microvm_serves_on_under_the_next_one) {
  write_app("still here\n");
  repository().commit_all("Stay");
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  const auto machines = vm_processes();
  ASSERT_EQ(machines.size(), 1U);
  kill_server();
  EXPECT_EQ(vm_processes(), machines);

  start_server();
  EXPECT_TRUE(eventually(30s, [this] { return get("web." + k_domain).status == 200; }));
  EXPECT_EQ(get("web." + k_domain).body, "still here\n");
  EXPECT_EQ(vm_processes(), machines);
}

TEST_F(Recovery, a_killed_control_plane_costs_the_live_app_no_request) {
  write_app("always here\n");
  repository().commit_all("Stay");
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  const auto machines = vm_processes();
  const auto edge = edge_process();
  ASSERT_GT(edge, 0);

  Visitors visitors(*this, "web." + k_domain, "always here\n");
  ASSERT_TRUE(eventually(30s, [&] { return visitors.served() > 50; }));
  for (int i = 0; i < 2; ++i) {
    SCOPED_TRACE("kill " + std::to_string(i + 1));
    kill_server();
    const auto without = visitors.served();
    EXPECT_TRUE(eventually(30s, [&] { return visitors.served() > without + 50; }))
        << "it is served without a control plane";
    start_server();
    const auto with = visitors.served();
    EXPECT_TRUE(eventually(30s, [&] { return visitors.served() > with + 50; }));
    EXPECT_EQ(edge_process(), edge);
  }
  // A stop in order says no more to the visitors than a kill.
  stop_server();
  const auto stopped = visitors.served();
  EXPECT_TRUE(eventually(30s, [&] { return visitors.served() > stopped + 50; }));
  start_server();
  const auto outcome = visitors.leave();
  EXPECT_EQ(outcome.failed, 0) << outcome.first_failure << " of " << outcome.served;
  RecordProperty("requests", outcome.served);
  EXPECT_EQ(vm_processes(), machines);
}

// The server's process goes on as another program, whose children it has: the edge, the VM.
TEST_F(Recovery, a_part_that_dies_costs_the_live_app_no_request_and_the_server_starts_itself_anew) {
  write_app("version 1\n");
  repository().commit_all("Version 1");
  start_server({{"ATLASFLOW_TEST_THROW_AFTER", "ProjectDeleted"}});
  create_project("web");
  create_project("other");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  const auto machines = vm_processes();
  const auto edge = edge_process();
  const auto pid = read_file(state_dir() / "server.lock");
  {
    Visitors visitors(*this, "web." + k_domain, "version 1\n");
    ASSERT_TRUE(eventually(30s, [&] { return visitors.served() > 50; }));
    // Its answer may be lost with the part.
    static_cast<void>(atlasflow({"project", "delete", "other", "--yes"}));
    const auto told = [this] {
      const auto status = atlasflow({"status", "--json"});
      return status.code == 0 && status.out.find("the read model died") != std::string::npos;
    };
    EXPECT_TRUE(eventually(60s, told)) << server_log();
    EXPECT_EQ(read_file(state_dir() / "server.lock"), pid);
    const auto outcome = visitors.leave();
    EXPECT_EQ(outcome.failed, 0) << outcome.first_failure << " of " << outcome.served;
  }
  EXPECT_EQ(edge_process(), edge);
  EXPECT_EQ(vm_processes(), machines);
  const auto projects = atlasflow({"project", "list"}).out;
  EXPECT_EQ(projects.find("other"), std::string::npos) << "it was deleted before";

  write_app("version 2\n");
  repository().commit_all("Version 2");
  EXPECT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  EXPECT_EQ(get("web." + k_domain).body, "version 2\n");
  EXPECT_TRUE(eventually(60s, [&] { return vm_processes().size() == 1; }))
      << "the VM that was there before is gone";
  EXPECT_NE(vm_processes(), machines);
}

// An unmounted disk and a lost file look like a first start; what is left says that they are not.
TEST_F(Recovery, a_log_that_is_gone_is_refused_until_its_loss_is_accepted) {
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"env", "set", "web", "TOKEN=sealed"}).code, 0);
  EXPECT_THAT(atlasflow({"log", "verify"}).out, HasSubstr("The log is whole"));
  kill_server();
  const auto events = state_dir() / "events";
  const auto start = [&](std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"server", "--config", (folder() / "atlasflow.toml").string()});
    return atlasflow(more);
  };

  std::filesystem::rename(events, folder() / "unmounted");
  auto refused = start();
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("Is its disk mounted?"));
  EXPECT_THAT(refused.err, HasSubstr("--accept-loss"));
  std::filesystem::remove_all(events);
  std::filesystem::rename(folder() / "unmounted", events);

  std::filesystem::rename(events / "db" / "CURRENT", folder() / "CURRENT");
  for (int again = 0; again < 2; ++again) {
    refused = start();
    EXPECT_EQ(refused.code, 1);
    EXPECT_THAT(refused.err, HasSubstr("lacks the file CURRENT"));
  }
  EXPECT_EQ(atlasflow({"log", "verify"}).code, 1);
  std::filesystem::rename(folder() / "CURRENT", events / "db" / "CURRENT");

  std::filesystem::remove(events / "anchor");
  EXPECT_THAT(start().err, HasSubstr("--accept-loss"));
  EXPECT_THAT(atlasflow({"log", "verify"}).err, HasSubstr("lost its anchor"));
  accept_loss_ = true;
  start_server();
  EXPECT_EQ(atlasflow_json({"project", "show", "web"}).at("name"), "web");
  EXPECT_THAT(atlasflow({"log", "verify"}).out, HasSubstr("The log is whole"));
}

TEST_F(Recovery, a_killed_edge_comes_back_with_the_live_apps_routes) {
  write_app("back again\n");
  repository().commit_all("Come back");
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  const auto edge = edge_process();
  ASSERT_GT(edge, 0);
  ASSERT_EQ(::kill(edge, SIGKILL), 0);
  EXPECT_TRUE(eventually(5s, [this] { return get("web." + k_domain).body == "back again\n"; }));
  EXPECT_TRUE(eventually(5s, [&] { return edge_process() != 0 && edge_process() != edge; }));
  EXPECT_NE(atlasflow({"status"}).out.find("restarts 1"), std::string::npos);
}

TEST_F(Recovery, halt_ends_the_edge_and_the_microvms_but_not_under_a_server) {
  write_app("in the end\n");
  repository().commit_all("End");
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  const auto refused = atlasflow({"halt"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_NE(refused.err.find("stop it first"), std::string::npos) << refused.err;
  EXPECT_EQ(get("web." + k_domain).body, "in the end\n");

  stop_server();
  EXPECT_EQ(get("web." + k_domain).body, "in the end\n");
  const auto halted = atlasflow({"halt"});
  EXPECT_EQ(halted.code, 0) << halted.err;
  EXPECT_NE(halted.out.find("Ended the edge"), std::string::npos) << halted.out;
  EXPECT_NE(halted.out.find("Ended the microVM"), std::string::npos) << halted.out;
  EXPECT_TRUE(vm_processes().empty());
  EXPECT_EQ(edge_process(), 0);
  EXPECT_EQ(get("web." + k_domain).status, 0);

  start_server();
  EXPECT_TRUE(eventually(120s, [this] { return get("web." + k_domain).body == "in the end\n"; }))
      << "a server that comes back starts what should be live";
}

}  // namespace
}  // namespace atlasflow::end_to_end
