#include "events/reuse.hpp"

#include <gmock/gmock.h>

#include "events/environment.hpp"
#include "events/settings.hpp"

namespace atlasflow {
namespace {

using testing::HasSubstr;

constexpr std::size_t k_rollbacks = 5;

// A project whose production has had "first" and "second"; "second" is live.
class ReuseTest : public testing::Test {
 protected:
  ReuseTest() {
    history.project.id = ProjectId{"p1"};
    history.project.version = StreamVersion{3};
    history.project.name = "web";
    history.project.settings = default_settings();
    auto& production = history.environments[k_production];
    production.past.push_back(state("first", DeploymentStatus::retired, 1));
    add(state("second", DeploymentStatus::live, 2));
  }

  static DeploymentState state(const std::string& id, DeploymentStatus status,
                               std::uint64_t generation, const std::string& environment = "") {
    DeploymentState made;
    made.id = DeploymentId{id};
    made.status = status;
    made.generation = generation;
    made.routed = generation != 0;
    made.image = ImageRef{"registry/web@" + id};
    made.push.set_project_id("p1");
    made.push.set_environment(environment.empty() ? k_production : environment);
    made.push.set_after(id);
    *made.push.mutable_settings() = default_settings();
    return made;
  }
  void add(const DeploymentState& made) {
    const auto& environment = made.push.environment();
    history.environments[environment].deployments[made.id] = made;
    history.environments[environment].order.push_back(made.id);
    history.environment_by_id[made.id] = environment;
  }

  Result<DeploymentCommand> reuse(ReuseKind kind, const DeploymentState* of = nullptr) {
    Reuse asked{.kind = kind, .command_id = "c1", .no_cache = no_cache};
    if (of != nullptr) asked.of = std::make_shared<DeploymentState>(*of);
    auto command = decide(history, asked, Principal::user(), k_rollbacks);
    if (command) {
      EXPECT_EQ(asked_by(*command), Principal::user());
    }
    return command;
  }
  std::string refusal(ReuseKind kind, const DeploymentState* of = nullptr) {
    const auto command = reuse(kind, of);
    return command ? "" : command.error().message;
  }
  pb::RedeployRequested redeployment(ReuseKind kind, const DeploymentState* of = nullptr) {
    const auto command = reuse(kind, of);
    EXPECT_TRUE(command);
    return command ? std::get<RequestRedeploy>(*command).request : pb::RedeployRequested{};
  }

  ProjectHistory history;
  bool no_cache = false;
};

TEST_F(ReuseTest, each_kind_takes_what_it_says_and_names_the_command) {
  const auto back = reuse(ReuseKind::rollback);
  ASSERT_TRUE(back);
  const auto& request = std::get<RequestRollback>(*back).request;
  EXPECT_EQ(request.to(), "first");
  EXPECT_EQ(request.by(), "user");
  EXPECT_EQ(request.push().delivery_id(), "c1");
  const auto restart = redeployment(ReuseKind::restart);
  EXPECT_EQ(restart.of(), "second");
  EXPECT_EQ(restart.kind(), pb::REDEPLOYMENT_RESTART);
  EXPECT_EQ(restart.push().delivery_id(), "c1");
  const auto failed = state("failed", DeploymentStatus::failed, 0);
  const auto redeploy = redeployment(ReuseKind::redeploy, &failed);
  EXPECT_EQ(redeploy.of(), "failed");
  EXPECT_EQ(redeploy.kind(), pb::REDEPLOYMENT_REDEPLOY);
  const auto preview = state("topic", DeploymentStatus::live, 3, "preview/topic");
  add(preview);
  const auto promote = redeployment(ReuseKind::promote, &preview);
  EXPECT_EQ(promote.of(), "topic");
  EXPECT_EQ(promote.kind(), pb::REDEPLOYMENT_PROMOTE);
  EXPECT_EQ(promote.push().environment(), k_production);
}

// What was asked of one build is not asked of the next one, nor of what builds nothing.
TEST_F(ReuseTest, only_a_redeployment_that_asks_for_it_is_built_without_the_cache) {
  auto uncached = state("second", DeploymentStatus::live, 2);
  uncached.push.set_no_cache(true);
  EXPECT_FALSE(redeployment(ReuseKind::redeploy, &uncached).push().no_cache());
  no_cache = true;
  const auto asked = redeployment(ReuseKind::redeploy, &uncached);
  EXPECT_TRUE(asked.push().no_cache());
  EXPECT_EQ(asked.by(), "user");
  EXPECT_FALSE(redeployment(ReuseKind::restart).push().no_cache());
  history.environments[k_production].past.front().push.set_no_cache(true);
  const auto back = reuse(ReuseKind::rollback);
  ASSERT_TRUE(back);
  EXPECT_FALSE(std::get<RequestRollback>(*back).request.push().no_cache());
}

// The same image with another command is another thing to go back to.
TEST_F(ReuseTest, a_changed_command_is_not_taken_for_what_is_live) {
  const auto live = state("second", DeploymentStatus::live, 2);
  using S = pb::Settings;
  for (auto change :
       {&S::mutable_install_command, &S::mutable_build_command, &S::mutable_start_command}) {
    auto other = live;
    other.id = DeploymentId{"other"};
    EXPECT_TRUE(runs_the_same(history, live, other));
    *(other.push.mutable_settings()->*change)() = "make";
    EXPECT_FALSE(runs_the_same(history, live, other));
  }
}

TEST_F(ReuseTest, a_rollback_to_what_is_live_or_gone_says_what_can_be_had) {
  const auto live = state("second", DeploymentStatus::live, 2);
  EXPECT_THAT(refusal(ReuseKind::rollback, &live), HasSubstr("live already; roll back to another"));
  const auto gone = state("older", DeploymentStatus::retired, 1);
  EXPECT_THAT(refusal(ReuseKind::rollback, &gone), HasSubstr("it is one of first"));
  history.environments[k_production].past.clear();
  EXPECT_THAT(refusal(ReuseKind::rollback), HasSubstr("no earlier deployment"));
}

TEST_F(ReuseTest, without_anything_live_there_is_nothing_to_restart) {
  auto& production = history.environments[k_production];
  production.deployments.clear();
  production.order.clear();
  EXPECT_THAT(refusal(ReuseKind::restart), HasSubstr("nothing live to restart"));
  EXPECT_THAT(refusal(ReuseKind::redeploy), HasSubstr("no deployment to redeploy"));
}

TEST_F(ReuseTest, a_promotion_needs_a_name_and_an_image_that_is_kept) {
  EXPECT_THAT(refusal(ReuseKind::promote), HasSubstr("name a deployment"));
  const auto live = state("second", DeploymentStatus::live, 2);
  EXPECT_THAT(refusal(ReuseKind::promote, &live), HasSubstr("is in production"));
  const auto ended = state("topic", DeploymentStatus::retired, 3, "preview/topic");
  EXPECT_THAT(refusal(ReuseKind::promote, &ended), HasSubstr("--sha topic"));
}

TEST_F(ReuseTest, a_deleted_project_has_nothing_to_run_again) {
  history.project.deleted = true;
  for (const auto kind :
       {ReuseKind::rollback, ReuseKind::redeploy, ReuseKind::promote, ReuseKind::restart}) {
    const auto command = reuse(kind);
    ASSERT_FALSE(command);
    EXPECT_EQ(command.error().code, ErrorCode::not_found);
  }
}

}  // namespace
}  // namespace atlasflow
