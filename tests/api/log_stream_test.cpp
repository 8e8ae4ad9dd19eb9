#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/instance_logs/log_keeper.hpp"
#include "storage/instance_logs/log_times.hpp"
#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::request_text;

constexpr TimestampUs k_long_ago = 1'700'000'000'000'000;

class LogStream : public testing::ApiTest {
 protected:
  LogStream() {
    control_.add_project("shop");
    control_.add_deployment("abcdefg2", "shop");
  }

  std::string body_of(const std::string& target) {
    const auto answer = ask("GET", target);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.field("Content-Type"), "text/plain; charset=utf-8");
    return answer.body;
  }
};

TEST_F(LogStream, is_the_newest_vms_whole_log_or_its_tail) {
  const auto vm = control_.start_vm("abcdefg2");
  write_log(vm + ".run.log", "one\ntwo\nthree\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs"), "one\ntwo\nthree\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?kind=run&tail=2"), "two\nthree\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?tail=0"), "");
}

TEST_F(LogStream, keeps_bytes_as_they_are_and_any_size) {
  const auto vm = control_.start_vm("abcdefg2");
  std::string bytes;
  for (int i = 0; i < 300'000; ++i) bytes += static_cast<char>(i % 251);
  write_log(vm + ".run.log", bytes);
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs"), bytes);
}

TEST_F(LogStream, of_the_build_is_its_newest_attempts) {
  const auto build = control_.start_build("abcdefg2");
  ASSERT_FALSE(build.empty());
  write_log(build + ".build.log", "STEP 1\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?kind=build"), "STEP 1\n");
}

TEST_F(LogStream, of_the_build_begins_with_the_newest_clones) {
  const auto clone = [this] {
    pb::Event started;
    started.mutable_clone_started()->set_attempt(1);
    control_.append_to("abcdefg2", started);
    const auto view = control_.catalog().deployment(DeploymentId("abcdefg2"));
    return effect_id(view->state.id, view->state.version).str() + ".build.log";
  };
  const std::string target = "/v1/deployments/abcdefg2/logs?kind=build";
  write_log(clone(), "cloning in vain\n");
  EXPECT_EQ(body_of(target), "cloning in vain\n");
  write_log(clone(), "cloning\n");
  EXPECT_EQ(body_of(target), "cloning\n");
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", target + "&follow=1")));
  ASSERT_TRUE(client.receive_body_until("cloning\n"));
  write_log(control_.start_build("abcdefg2") + ".build.log", "STEP 1\n");
  ASSERT_TRUE(client.receive_body_until("STEP 1\n"));
  pb::Event pushed;
  pushed.mutable_image_pushed()->set_reference("registry/shop@sha256:00");
  control_.append_to("abcdefg2", pushed);
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "cloning\nSTEP 1\n");
  EXPECT_EQ(body_of(target + "&tail=1"), "STEP 1\n");
}

TEST_F(LogStream, of_an_instance_is_its_own_and_outlives_the_vm) {
  const auto first = control_.start_vm("abcdefg2", 0);
  const auto second = control_.start_vm("abcdefg2", 1);
  write_log(first + ".run.log", "first\n");
  write_log(second + ".run.log", "second\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs"), "first\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?instance=0"), "first\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?instance=1"), "second\n");
  EXPECT_EQ(ask("GET", "/v1/deployments/abcdefg2/logs?instance=2").status, 404);
  for (const auto& vm : {first, second}) {
    pb::Event stopped;
    stopped.mutable_vm_stopped()->set_vm_id(vm);
    control_.append_to("abcdefg2", stopped);
  }
  control_.fail_deployment("abcdefg2");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs"), "first\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?instance=1"), "second\n");
}

TEST_F(LogStream, of_a_release_command_is_its_newest_attempts) {
  pb::Event started;
  started.mutable_release_started()->set_attempt(1);
  control_.append_to("abcdefg2", started);
  const auto vm =
      control_.catalog().deployment(DeploymentId("abcdefg2"))->state.newest_release_vm.str();
  ASSERT_FALSE(vm.empty());
  write_log(vm + ".run.log", "migrated\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?kind=release"), "migrated\n");
}

TEST_F(LogStream, that_will_never_come_is_a_404_also_when_followed) {
  control_.add_rollback("abcdefg3", "shop", "abcdefg2");
  auto answer = ask("GET", "/v1/deployments/abcdefg3/logs?kind=build&follow=1");
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.body, HasSubstr("deployment abcdefg2 was built from"));
  answer = ask("GET", "/v1/deployments/abcdefg3/logs?kind=release&follow=1");
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.body, HasSubstr("no release command"));
  control_.fail_deployment("abcdefg2");
  answer = ask("GET", "/v1/deployments/abcdefg2/logs?follow=1");
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.body, HasSubstr("is failed and has no run log."));
}

TEST_F(LogStream, that_does_not_exist_yet_is_a_404_that_says_so) {
  for (const char* kind : {"run", "build", "release"}) {
    const auto answer =
        ask("GET", std::string("/v1/deployments/abcdefg2/logs?tail=5&kind=") + kind);
    EXPECT_EQ(answer.status, 404);
    EXPECT_THAT(answer.body, HasSubstr(std::string("no ") + kind + " log"));
  }
  control_.start_vm("abcdefg2");  // whose file is not there yet
  EXPECT_EQ(ask("GET", "/v1/deployments/abcdefg2/logs").status, 404);
}

TEST_F(LogStream, takes_only_what_it_knows) {
  for (const char* query : {"kind=other", "kind=", "tail=-1", "tail=x", "follow=2", "instance=x",
                            "instance=32", "instance=-1", "kind=build&instance=0",
                            "kind=release&instance=0", "since=", "since=10", "since=yesterday"}) {
    const auto answer = ask("GET", std::string("/v1/deployments/abcdefg2/logs?") + query);
    EXPECT_EQ(answer.status, 400) << query;
  }
}

TEST_F(LogStream, that_is_followed_waits_for_the_log_and_ends_with_the_deployment) {
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/v1/deployments/abcdefg2/logs?follow=1")));
  const auto vm = control_.start_vm("abcdefg2");
  write_log(vm + ".run.log", "hello\n");
  ASSERT_TRUE(client.receive_body_until("hello\n"));
  write_log(vm + ".run.log", "more\n");
  ASSERT_TRUE(client.receive_body_until("more\n"));
  write_log(vm + ".run.log", "last words\n");
  control_.fail_deployment("abcdefg2");
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "hello\nmore\nlast words\n");
}

TEST_F(LogStream, that_is_followed_goes_on_with_the_next_vm) {
  const auto first = control_.start_vm("abcdefg2");
  write_log(first + ".run.log", "old\nfirst vm\n");
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/v1/deployments/abcdefg2/logs?follow=1&tail=1")));
  ASSERT_TRUE(client.receive_body_until("first vm\n"));
  write_log(first + ".run.log", "crash\n");
  const auto second = control_.start_vm("abcdefg2");
  ASSERT_NE(first, second);
  write_log(second + ".run.log", "second vm\n");
  ASSERT_TRUE(client.receive_body_until("second vm\n"));
  control_.fail_deployment("abcdefg2");
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "first vm\ncrash\nsecond vm\n");
}

TEST_F(LogStream, of_a_build_ends_when_the_image_is_in_the_registry) {
  const auto build = control_.start_build("abcdefg2");
  write_log(build + ".build.log", "STEP 1\n");
  auto client = connect();
  ASSERT_TRUE(
      client.send(request_text("GET", "/v1/deployments/abcdefg2/logs?follow=1&kind=build")));
  ASSERT_TRUE(client.receive_body_until("STEP 1\n"));
  pb::Event pushed;
  pushed.mutable_image_pushed()->set_reference("registry/shop@sha256:00");
  control_.append_to("abcdefg2", pushed);
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "STEP 1\n");
}

TEST_F(LogStream, of_a_terminal_deployment_ends_although_followed) {
  const auto vm = control_.start_vm("abcdefg2");
  write_log(vm + ".run.log", "over\n");
  control_.fail_deployment("abcdefg2");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?follow=1"), "over\n");
}

TEST_F(LogStream, of_a_project_is_its_live_deployments_else_its_newest) {
  const auto live_vm = control_.start_vm("abcdefg2");
  write_log(live_vm + ".run.log", "live\n");
  pb::Event routed;
  routed.mutable_routed()->set_generation(1);
  control_.append_to("abcdefg2", routed);
  control_.add_deployment("abcdefg3", "shop");
  const auto newest_vm = control_.start_vm("abcdefg3");
  write_log(newest_vm + ".run.log", "newest\n");
  EXPECT_EQ(body_of("/v1/projects/shop/logs"), "live\n");
  control_.fail_deployment("abcdefg2");
  control_.add_preview("abcdefg4", "shop", "docs");
  EXPECT_EQ(body_of("/v1/projects/shop/logs"), "newest\n");

  control_.add_project("empty");
  const auto answer = ask("GET", "/v1/projects/empty/logs?follow=1");
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.body, HasSubstr("no deployment yet"));
}

// Pain 15, "logs gone when most needed": an app that crashes starts again, and what it said before
// is in the file of the VM that is gone.
TEST_F(LogStream, of_an_app_that_crashes_holds_what_it_said_before_each_crash) {
  for (const char* words : {"first crash\n", "second crash\n", "starting\n"}) {
    write_log(control_.start_vm("abcdefg2") + ".run.log", words);
  }
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs"), "first crash\nsecond crash\nstarting\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?tail=2"), "second crash\nstarting\n");
  control_.start_vm("abcdefg2");  // whose file is not there yet
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?tail=1"), "starting\n");
  control_.fail_deployment("abcdefg2");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?tail=1"), "starting\n");
}

TEST_F(LogStream, outlives_the_vm_the_deployment_and_the_project) {
  const auto build = control_.start_build("abcdefg2");
  write_log(build + ".build.log", "STEP 1\n");
  write_log(control_.start_vm("abcdefg2") + ".run.log", "last words\n");
  control_.fail_deployment("abcdefg2");
  ASSERT_TRUE(control_.execute(Principal::user(), commands::DeleteProject{"shop"}));
  EXPECT_EQ(ask("GET", "/v1/projects/shop/logs").status, 404);
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs"), "last words\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?kind=build"), "STEP 1\n");
}

TEST_F(LogStream, since_a_time_leaves_out_what_was_written_before) {
  const auto vm = control_.start_vm("abcdefg2");
  const auto path = folder_.path() / (vm + ".run.log");
  write_log(vm + ".run.log", "long ago\nnow 1\nnow 2\n");
  ASSERT_TRUE(storage::append_log_time(path, {k_long_ago, 9}));
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?since=10m"), "now 1\nnow 2\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?since=10m&tail=1"), "now 2\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?since=10m&tail=3"), "now 1\nnow 2\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?since=2001-01-01T00:00:00Z"),
            "long ago\nnow 1\nnow 2\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?since=0s"), "");
}

TEST_F(LogStream, since_a_time_is_followed_from_there) {
  const auto vm = control_.start_vm("abcdefg2");
  write_log(vm + ".run.log", "long ago\nnow\n");
  ASSERT_TRUE(storage::append_log_time(folder_.path() / (vm + ".run.log"), {k_long_ago, 9}));
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/v1/deployments/abcdefg2/logs?follow=1&since=10m")));
  ASSERT_TRUE(client.receive_body_until("now\n"));
  write_log(vm + ".run.log", "later\n");
  ASSERT_TRUE(client.receive_body_until("later\n"));
  control_.fail_deployment("abcdefg2");
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "now\nlater\n");
}

// A release command's file is named like those of the app's VMs.
TEST_F(LogStream, of_an_instance_holds_nothing_of_another_one_or_of_the_release_command) {
  pb::Event release;
  release.mutable_release_started()->set_attempt(1);
  control_.append_to("abcdefg2", release);
  const auto release_vm =
      control_.catalog().deployment(DeploymentId("abcdefg2"))->state.newest_release_vm.str();
  write_log(release_vm + ".run.log", "migrated\n");
  write_log(control_.start_vm("abcdefg2", 0) + ".run.log", "zero crashes\n");
  write_log(control_.start_vm("abcdefg2", 1) + ".run.log", "one crashes\n");
  write_log(control_.start_vm("abcdefg2", 0) + ".run.log", "zero again\n");
  auto client = connect();
  ASSERT_TRUE(
      client.send(request_text("GET", "/v1/deployments/abcdefg2/logs?follow=1&instance=1")));
  ASSERT_TRUE(client.receive_body_until("one crashes\n"));
  write_log(control_.start_vm("abcdefg2", 1) + ".run.log", "one again\n");
  ASSERT_TRUE(client.receive_body_until("one again\n"));
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs"), "zero crashes\nzero again\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?instance=1&tail=2"), "one crashes\none again\n");
  EXPECT_EQ(body_of("/v1/deployments/abcdefg2/logs?kind=release&since=10m"), "migrated\n");
  control_.fail_deployment("abcdefg2");
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "one crashes\none again\n");
}

TEST_F(LogStream, is_cut_by_a_stop) {
  control_.start_vm("abcdefg2");
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/v1/deployments/abcdefg2/logs?follow=1")));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  stop();
  EXPECT_FALSE(client.receive());
}

TEST_F(LogStream, of_requests_is_the_projects_and_goes_on_as_they_come) {
  EXPECT_EQ(ask("GET", "/v1/projects/shop/logs?kind=http").status, 404) << "none is kept here";
  stop();
  config_.access_log = [this](const std::string& project) {
    return folder_.path() / (project + ".http.log");
  };
  EXPECT_THAT(ask("GET", "/v1/projects/shop/logs?kind=http").body, HasSubstr("no request"));
  write_log("shop.http.log", "{\"path\":\"/1\"}\n{\"path\":\"/2\"}\n");
  write_log("other.http.log", "{\"path\":\"/secret\"}\n");
  const auto whole = ask("GET", "/v1/projects/shop/logs?kind=http");
  EXPECT_EQ(whole.body, "{\"path\":\"/1\"}\n{\"path\":\"/2\"}\n");
  EXPECT_EQ(whole.field("Content-Type"), "application/x-ndjson");
  EXPECT_EQ(ask("GET", "/v1/projects/shop/logs?kind=http&tail=1").body, "{\"path\":\"/2\"}\n");
  EXPECT_EQ(ask("GET", "/v1/projects/other/logs?kind=http").status, 404) << "no such project";
  EXPECT_EQ(ask("GET", "/v1/projects/..%2Fother/logs?kind=http").status, 404);
  for (const char* query : {"since=yesterday", "instance=0", "tail=x"}) {
    EXPECT_EQ(ask("GET", std::string("/v1/projects/shop/logs?kind=http&") + query).status, 400)
        << query;
  }
  const auto of_deployment = ask("GET", "/v1/deployments/abcdefg2/logs?kind=http");
  EXPECT_EQ(of_deployment.status, 400);
  EXPECT_THAT(of_deployment.body, HasSubstr("name the project"));

  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/v1/projects/shop/logs?kind=http&follow=1&tail=1")));
  ASSERT_TRUE(client.receive_body_until("/2\"}\n"));
  write_log("shop.http.log", "{\"path\":\"/3\"}\n");
  ASSERT_TRUE(client.receive_body_until("/3\"}\n"));
}

TEST_F(LogStream, of_requests_since_a_time_has_whole_lines_from_there_on) {
  config_.access_log = [this](const std::string& project) {
    return folder_.path() / (project + ".http.log");
  };
  const auto line = [](const std::string& time, const std::string& path) {
    return R"({"time":")" + time + R"(Z","path":")" + path + "\"}\n";
  };
  const std::string first = line("2026-07-01T12:00:00.000", "/1");
  const std::string second = line("2026-07-01T12:00:00.500", "/2");
  const std::string third = line("2026-07-01T12:00:01.000", "/3");
  write_log("shop.http.log", first + third + second + "{\"time\":\"2026-07-01T12:00:02");
  const std::string target = "/v1/projects/shop/logs?kind=http";
  EXPECT_EQ(ask("GET", target).body, first + third + second) << "a line without its end is none";
  EXPECT_EQ(ask("GET", target + "&since=2026-07-01T12:00:00.500Z").body, third + second)
      << "two workers' lines may change places";
  EXPECT_EQ(ask("GET", target + "&since=2026-07-01T12:00:00.500Z&tail=1").body, second);
  EXPECT_EQ(ask("GET", target + "&tail=2").body, third + second);
  EXPECT_EQ(ask("GET", target + "&tail=3").body, first + third + second);
  EXPECT_EQ(ask("GET", target + "&tail=0").body, "");
  EXPECT_EQ(ask("GET", target + "&since=2026-07-01T14:00:01.5%2B02:00").body, "");
}

// Its bound has taken the head, down to the middle of a line.
TEST_F(LogStream, of_requests_begins_with_a_whole_line) {
  config_.access_log = [this](const std::string& project) {
    return folder_.path() / (project + ".http.log");
  };
  const std::string long_line = "{\"path\":\"" + std::string(3000, 'x') + "\"}\n";
  write_log("shop.http.log", long_line + long_line + "{\"path\":\"/3\"}\n");
  const auto file = folder_.path() / "shop.http.log";
  ASSERT_TRUE(storage::trim_log(file, 1900).has_value());
  const std::string target = "/v1/projects/shop/logs?kind=http";
  EXPECT_EQ(ask("GET", target).body, "{\"path\":\"/3\"}\n");
  EXPECT_EQ(ask("GET", target + "&tail=5").body, "{\"path\":\"/3\"}\n");
  EXPECT_EQ(ask("GET", target + "&tail=1").body, "{\"path\":\"/3\"}\n");
}

}  // namespace
}  // namespace atlasflow::api
