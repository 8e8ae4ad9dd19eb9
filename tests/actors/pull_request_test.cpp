// Pull requests through the real actors, in every order that the seeds choose, and over a kill.
#include <gmock/gmock.h>

#include "tests/actors/settled.hpp"

namespace atlasflow::actors {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* k_host = "pr-7-web.example.test";

Push told(char head, std::int64_t at_s, bool open = true, bool fork = false) {
  Push push;
  push.ref = "refs/pull/7/head";
  push.after = std::string(40, head);
  push.delivery_id = "guid-" + std::to_string(at_s) + head;
  push.pusher = "ada";
  push.pull_request = PullRequestNews{.is_open = open};
  auto& of = push.pull_request->head;
  of.set_number(7);
  of.set_updated_at_s(at_s);
  of.set_branch("topic");
  of.set_from_fork(fork);
  return push;
}

class PullRequests : public testing::TestWithParam<std::uint64_t> {
 protected:
  void begin() {
    life = std::make_unique<sim::Life>(store, world, GetParam());
    life->create_project("web", [](pb::Settings& settings) {
      settings.set_pull_requests(true);
      settings.set_pull_requests_from_forks(true);
    });
  }
  // As after kill -9.
  void begin_anew() {
    life->kill();
    life = std::make_unique<sim::Life>(store, world, GetParam() + 1000);
    ASSERT_TRUE(life->run_until([&] { return life->started(); }));
  }
  void give(Push push) {
    const auto wanted = life->push_replies.size() + 1;
    life->send_push(std::move(push));
    ASSERT_TRUE(life->run_until([&] { return life->push_replies.size() == wanted; }));
  }
  [[nodiscard]] bool settles() {
    return life->run_until([&] { return all_settled(*life); });
  }
  [[nodiscard]] bool nothing_is_left() {
    return life->run_until([&] {
      const auto ids = deployments_of(*life);
      return world.running_vms() == 0 && world.upstream_of(k_host).empty() &&
             std::ranges::all_of(ids,
                                 [&](const auto& id) { return is_terminal(status_of(*life, id)); });
    });
  }

  std::shared_ptr<storage::MemoryStore> store = storage::make_memory_store();
  sim::World world;
  std::unique_ptr<sim::Life> life;
};

TEST_P(PullRequests, opened_it_is_served_under_its_own_name_and_closed_nothing_of_it_is_left) {
  begin();
  give(told('a', 100));
  ASSERT_TRUE(settles());
  EXPECT_FALSE(world.upstream_of(k_host).empty());
  EXPECT_TRUE(world.upstream_of("web.example.test").empty());
  give(told('a', 110, false));
  EXPECT_TRUE(nothing_is_left());
}

TEST_P(PullRequests, two_deliveries_of_one_head_at_once_are_one_deployment) {
  begin();
  auto labeled = told('a', 100);
  labeled.delivery_id = "another";
  life->send_push(told('a', 100));
  life->send_push(labeled);
  ASSERT_TRUE(life->run_until([&] { return life->push_replies.size() == 2; }));
  ASSERT_TRUE(settles());
  EXPECT_EQ(deployments_of(*life).size(), 1U);
}

// At each moment of the build, and the next control plane knows as much.
TEST_P(PullRequests, a_closing_while_it_is_built_is_final_also_over_a_kill) {
  begin();
  life->send_push(told('a', 100));
  life->run_steps(static_cast<int>(GetParam()) * 7);
  ASSERT_TRUE(life->run_until([&] { return !life->push_replies.empty(); }));
  give(told('a', 110, false));
  if (GetParam() % 2 == 0) begin_anew();
  EXPECT_TRUE(nothing_is_left());
  const auto made = deployments_of(*life).size();
  give(told('b', 105));
  EXPECT_EQ(deployments_of(*life).size(), made) << "a late push came";
}

TEST_P(PullRequests, of_a_fork_waits_over_a_kill_and_gets_no_value_of_the_project) {
  begin();
  const EnvEntry value{"digest", world.seal("env")};
  life->command_project("web", SetEnv{{{"TOKEN", value}}});
  life->command_project("web", SetBuildSecrets{{{"NPM", value}}});
  give(told('a', 100, true, true));
  EXPECT_THAT(life->push_replies.back().receipts.at(0).reason,
              HasSubstr("atlasflow approve web 7"));
  begin_anew();
  EXPECT_THAT(deployments_of(*life), IsEmpty());
  std::vector<std::string> stores;
  std::vector<std::string> projects;
  world.build_error = [&](const SourceJob& job) -> std::optional<Error> {
    EXPECT_THAT(job.secrets, IsEmpty());
    EXPECT_THAT(job.env, IsEmpty());
    stores.push_back(job.store);
    projects.push_back(job.project);
    EXPECT_TRUE(job.from_fork);
    return std::nullopt;
  };
  world.on_start = [](const VmJob& job) { EXPECT_THAT(job.env, IsEmpty()); };
  life->approve("web", {7, std::string(40, 'a'), "command-1"});
  ASSERT_TRUE(settles());
  EXPECT_FALSE(world.upstream_of(k_host).empty());
  EXPECT_THAT(stores, ElementsAre("web.forks.7"));
  EXPECT_THAT(projects, ElementsAre("web")) << "as it is called to people";
  // The approval is said twice, as when its answer was lost, and by somebody else.
  const auto replies = life->push_replies.size();
  life->approve("web", {7, std::string(40, 'a'), "command-1"});
  ASSERT_TRUE(life->run_until([&] { return life->push_replies.size() > replies; }));
  EXPECT_THAT(life->errors, IsEmpty());
  EXPECT_EQ(deployments_of(*life).size(), 1U);
  life->approve("web", {7, std::string(40, 'a'), "command-2"});
  ASSERT_TRUE(life->run_until([&] { return !life->errors.empty(); }));
  EXPECT_EQ(life->errors.back().code, ErrorCode::conflict);
  EXPECT_EQ(deployments_of(*life).size(), 1U);
}

TEST_P(PullRequests, of_the_projects_own_gets_its_values) {
  begin();
  life->command_project("web", SetEnv{{{"TOKEN", EnvEntry{"digest", world.seal("env")}}}});
  std::size_t given = 0;
  world.on_start = [&](const VmJob& job) { given += job.env.size(); };
  ASSERT_TRUE(
      life->run_until([&] { return !life->catalog().project_named("web")->state.env.empty(); }));
  give(told('a', 100));
  ASSERT_TRUE(settles());
  EXPECT_EQ(given, 1U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PullRequests, testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace atlasflow::actors
