#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::request_text;

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
  const auto vm = control_.catalog().deployment(DeploymentId("abcdefg2"))->state.newest_release_vm;
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
  for (const char* query :
       {"kind=other", "kind=", "tail=-1", "tail=x", "follow=2", "instance=x", "instance=32",
        "instance=-1", "kind=build&instance=0", "kind=release&instance=0"}) {
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

TEST_F(LogStream, is_cut_by_a_stop) {
  control_.start_vm("abcdefg2");
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/v1/deployments/abcdefg2/logs?follow=1")));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  stop();
  EXPECT_FALSE(client.receive());
}

}  // namespace
}  // namespace atlasflow::api
