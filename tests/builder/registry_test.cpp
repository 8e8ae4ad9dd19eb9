#include "builder/registry.hpp"

#include <chrono>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "builder/http.hpp"
#include "builder/process.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::milliseconds;

pid_t recorded_pid(const std::filesystem::path& folder) {
  return nlohmann::json::parse(read(folder / "registry.json")).at("pid");
}

bool answers(const Registry& registry) {
  const auto answer = http_get("http://" + registry.address() + "/v2/", {}, milliseconds(2000));
  return answer && answer->status == 200;
}

TEST(Registry, it_answers_when_started_and_is_gone_when_destroyed) {
  const Scratch scratch;
  auto registry = start_registry({scratch.path(), 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  EXPECT_TRUE(answers(**registry));
  EXPECT_TRUE((*registry)->healthy());
  const pid_t pid = recorded_pid(scratch.path());
  ASSERT_TRUE(start_time_of(pid));
  registry->reset();
  EXPECT_FALSE(start_time_of(pid));
}

TEST(Registry, a_free_port_is_kept_over_a_restart) {
  const Scratch scratch;
  auto first = start_registry({scratch.path(), 0});
  ASSERT_TRUE(first) << to_string(first.error());
  const std::string address = (*first)->address();
  first->reset();
  auto second = start_registry({scratch.path(), 0});
  ASSERT_TRUE(second) << to_string(second.error());
  EXPECT_EQ((*second)->address(), address);
}

TEST(Registry, a_registry_that_dies_is_started_again_at_the_same_address) {
  const Scratch scratch;
  auto registry = start_registry({scratch.path(), 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  const pid_t pid = recorded_pid(scratch.path());
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  for (int i = 0; i < 300 && recorded_pid(scratch.path()) == pid; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
  }
  for (int i = 0; i < 300 && !answers(**registry); ++i)
    std::this_thread::sleep_for(milliseconds(100));
  EXPECT_TRUE(answers(**registry));
  EXPECT_NE(recorded_pid(scratch.path()), pid);
}

TEST(Registry, what_a_killed_server_left_running_is_ended_and_not_doubled) {
  const Scratch scratch;
  // A server that dies by SIGKILL while a registry of its folder lives on, as one that was started
  // without the tie to its parent would.
  std::uint16_t port = 0;
  {
    auto registry = start_registry({scratch.path(), 0});
    ASSERT_TRUE(registry) << to_string(registry.error());
    port = static_cast<std::uint16_t>(std::stoi((*registry)->address().substr(10)));
  }
  SpawnRequest request;
  request.argv = {find_program("docker-registry"), "serve",
                  (scratch.path() / "config.yml").string()};
  request.environment = {"PATH=/usr/bin:/bin"};
  auto stray = spawn(request);
  ASSERT_TRUE(stray) << to_string(stray.error());
  const auto start_time = start_time_of(stray->pid());
  ASSERT_TRUE(start_time);
  write(scratch.path() / "registry.json",
        nlohmann::json{{"pid", stray->pid()}, {"start_time", *start_time}, {"port", port}}.dump());
  auto registry = start_registry({scratch.path(), 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  EXPECT_FALSE(stray->running());
  EXPECT_TRUE(answers(**registry));
  registry->reset();
  EXPECT_EQ(end_registry(scratch.path()).value(), 0)
      << "a registry that was stopped is off the record";
}

TEST(Registry, what_a_killed_server_left_can_be_ended_without_a_new_one) {
  const Scratch scratch;
  {
    auto registry = start_registry({scratch.path(), 0});
    ASSERT_TRUE(registry) << to_string(registry.error());
  }
  SpawnRequest request;
  request.argv = {find_program("docker-registry"), "serve",
                  (scratch.path() / "config.yml").string()};
  request.environment = {"PATH=/usr/bin:/bin"};
  auto stray = spawn(request);
  ASSERT_TRUE(stray) << to_string(stray.error());
  write(scratch.path() / "registry.json",
        nlohmann::json{
            {"pid", stray->pid()}, {"start_time", *start_time_of(stray->pid())}, {"port", 1}}
            .dump());
  EXPECT_EQ(end_registry(scratch.path()).value(), stray->pid());
  EXPECT_FALSE(stray->running());
  EXPECT_EQ(end_registry(scratch.path()).value(), 0);
}

TEST(Registry, a_process_that_only_has_the_pid_of_an_earlier_registry_is_left_alone) {
  const Scratch scratch;
  SpawnRequest request;
  request.argv = {find_program("sleep"), "100"};
  auto other = spawn(request);
  ASSERT_TRUE(other) << to_string(other.error());
  write(scratch.path() / "registry.json",
        nlohmann::json{
            {"pid", other->pid()}, {"start_time", *start_time_of(other->pid())}, {"port", 1}}
            .dump());
  auto registry = start_registry({scratch.path(), 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  EXPECT_TRUE(other->running());
}

TEST(Registry, a_port_that_is_taken_is_told) {
  const Scratch one;
  const Scratch two;
  auto first = start_registry({one.path(), 0});
  ASSERT_TRUE(first) << to_string(first.error());
  const auto port = static_cast<std::uint16_t>(std::stoi((*first)->address().substr(10)));
  const auto second = start_registry({two.path(), port});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace atlasflow::builder
