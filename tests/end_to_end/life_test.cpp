// What becomes of an app after its push: rolled back, scaled, hurt, stopped, started and restarted.

#include <algorithm>
#include <set>

#include <gmock/gmock.h>
#include <signal.h>

#include "tests/end_to_end/server_fixture.hpp"
#include "tests/end_to_end/visitors.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Life : public ServerFixture {
 protected:
  // /cgi-bin/machine says which microVM answers.
  void deploy_version(const std::string& page) {
    write_app(page);
    const auto script = repository().folder() / "www/cgi-bin/machine";
    write_file(script,
               "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\n"
               "cat /proc/sys/kernel/random/boot_id\n");
    std::filesystem::permissions(script, std::filesystem::perms::all);
    repository().commit_all("Say " + page);
    const auto deployed = atlasflow({"deploy", "web", "--wait"});
    ASSERT_EQ(deployed.code, 0) << deployed.err;
    ASSERT_EQ(get("web." + k_domain).body, page);
  }

  // How long the verb takes with --wait.
  std::chrono::milliseconds must_do(std::vector<std::string> arguments) {
    arguments.emplace_back("--wait");
    const auto start = std::chrono::steady_clock::now();
    const auto ran = atlasflow(arguments);
    EXPECT_EQ(ran.code, 0) << arguments[0] << ": " << ran.err;
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 start);
  }

  nlohmann::json newest() { return atlasflow_json({"deployments", "web"}).at("deployments").at(0); }

  std::set<std::string> types_of(const std::string& deployment) {
    std::set<std::string> types;
    for (const auto& event : events("web")) {
      if (event.at("stream") == "deployment/" + deployment) types.insert(event.at("type"));
    }
    return types;
  }

  // Those that answered a few requests.
  std::set<std::string> machines_that_answer() {
    constexpr int k_requests = 12;
    std::set<std::string> machines;
    for (int i = 0; i < k_requests; ++i) {
      const auto answer = get("web." + k_domain, "/cgi-bin/machine");
      if (answer.status == 200) machines.insert(answer.body);
    }
    return machines;
  }
};

TEST_F(Life, a_rollback_brings_the_version_before_back_without_a_build) {
  start_server();
  create_project("web");
  ASSERT_NO_FATAL_FAILURE(deploy_version("version one\n"));
  const auto began = std::chrono::steady_clock::now();
  ASSERT_NO_FATAL_FAILURE(deploy_version("version two\n"));
  const auto by_build = std::chrono::steady_clock::now() - began;

  const auto by_rollback = must_do({"rollback", "web"});
  EXPECT_EQ(get("web." + k_domain).body, "version one\n");
  const auto rollback = newest();
  EXPECT_EQ(rollback.at("kind"), "rollback");
  const auto types = types_of(rollback.at("id"));
  EXPECT_THAT(types, Contains("Routed"));
  EXPECT_THAT(types, Not(Contains("CloneStarted")));
  EXPECT_THAT(types, Not(Contains("BuildStarted")));
  EXPECT_THAT(types, Not(Contains("ImagePushStarted")));
  EXPECT_LT(by_rollback, by_build);

  // What the release command says no to gets no traffic.
  ASSERT_EQ(atlasflow({"project", "set", "web",
                       "release_command=echo the schema is too old; touch /migrated; exit 7"})
                .code,
            0);
  const auto refused = atlasflow({"redeploy", "web", "--wait"});
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("failed at the release command"));
  EXPECT_THAT(refused.err, HasSubstr("the schema is too old"));
  const auto failed = newest();
  EXPECT_THAT(types_of(failed.at("id")), Not(Contains("VMStarted")));
  EXPECT_THAT(atlasflow({"logs", failed.at("id"), "--release"}).out,
              HasSubstr("the schema is too old"));
  EXPECT_EQ(get("web." + k_domain).body, "version one\n");
  expect_only_vm_of("web", rollback.at("id"));
}

TEST_F(Life, of_two_microvms_one_may_be_killed_without_a_failed_request_and_comes_back) {
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"project", "set", "web", "memory_mib=128"}).code, 0);
  ASSERT_NO_FATAL_FAILURE(deploy_version("one of two\n"));
  must_do({"scale", "web", "2"});
  const auto before = vm_processes();
  ASSERT_EQ(before.size(), 2U);
  const auto answering = machines_that_answer();
  ASSERT_EQ(answering.size(), 2U);

  Visitors visitors(*this, "web." + k_domain, "one of two\n");
  ASSERT_TRUE(eventually(30s, [&] { return visitors.served() > 50; }));
  ASSERT_EQ(::kill(before[0], SIGKILL), 0);
  EXPECT_TRUE(eventually(60s, [&] {
    const auto now = vm_processes();
    return now.size() == 2 && std::find(now.begin(), now.end(), before[0]) == now.end();
  })) << "it is started again";
  EXPECT_TRUE(eventually(60s, [&] { return machines_that_answer().size() == 2; }));
  EXPECT_NE(machines_that_answer(), answering);
  const auto outcome = visitors.leave();
  EXPECT_EQ(outcome.failed, 0) << outcome.first_failure << " of " << outcome.served;
  EXPECT_THAT(vm_processes(), Contains(before[1]));

  must_do({"scale", "web", "1"});
  EXPECT_EQ(vm_processes().size(), 1U);
  EXPECT_EQ(get("web." + k_domain).body, "one of two\n");
}

TEST_F(Life, a_restart_costs_no_request_and_what_is_stopped_says_so_until_it_is_started) {
  start_server();
  create_project("web");
  ASSERT_NO_FATAL_FAILURE(deploy_version("still here\n"));
  const auto before = vm_processes();
  Visitors visitors(*this, "web." + k_domain, "still here\n");
  ASSERT_TRUE(eventually(30s, [&] { return visitors.served() > 50; }));
  must_do({"restart", "web"});
  const auto restarted = newest();
  expect_only_vm_of("web", restarted.at("id"));
  EXPECT_NE(vm_processes(), before);
  const auto outcome = visitors.leave();
  EXPECT_EQ(outcome.failed, 0) << outcome.first_failure << " of " << outcome.served;

  must_do({"stop", "web"});
  EXPECT_THAT(vm_processes(), IsEmpty());
  const auto away = get("web." + k_domain);
  EXPECT_EQ(away.status, 503);
  EXPECT_THAT(away.body, HasSubstr("stopped"));
  must_do({"start", "web"});
  EXPECT_EQ(get("web." + k_domain).body, "still here\n");
  expect_only_vm_of("web", restarted.at("id"));
}

}  // namespace
}  // namespace atlasflow::end_to_end
