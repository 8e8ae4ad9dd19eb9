// kill -9 at every boundary: nothing lost, nothing twice.

#include <gmock/gmock.h>
#include <signal.h>

#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAreArray;

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

}  // namespace
}  // namespace atlasflow::end_to_end
