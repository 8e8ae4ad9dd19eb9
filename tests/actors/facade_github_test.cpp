// What the façade keeps for GitHub: the App, the repositories that move, what was told.
#include <gmock/gmock.h>

#include "tests/actors/facade_fixture.hpp"

namespace atlasflow::actors {
namespace {

using actors_test::Facade;

TEST_F(Facade, a_github_app_is_sealed_and_nothing_of_it_reaches_the_log) {
  EXPECT_TRUE(plane->github_webhook_secret().empty());
  EXPECT_EQ(as_user(commands::DisconnectGitHubApp{}).error().code, ErrorCode::conflict);
  ASSERT_TRUE(
      as_user(commands::ConnectGitHubApp{12345, "atlasflow-test", "https://github.com", "SHA256:x",
                                         Secret("key-sentinel"), Secret("hook-sentinel")}));
  const auto app = plane->catalog().github_app().state;
  EXPECT_EQ(app.app_id, 12345);
  EXPECT_EQ(app.slug, "atlasflow-test");
  EXPECT_EQ(app.base_url, "https://github.com");
  EXPECT_EQ(secrets.values.at(app.private_key_ref), "key-sentinel");
  EXPECT_TRUE(plane->github_webhook_secret().is("hook-sentinel"));
  ASSERT_TRUE(plane->log().read_all(Position{1}, [](const storage::Record& record) {
    EXPECT_THAT(record.event.SerializeAsString(), testing::Not(testing::HasSubstr("sentinel")));
    return true;
  }));

  // Another control plane over the same log has it too.
  plane.reset();
  auto again =
      start_control_plane({}, *log, secrets, {&clock, &world, {{HostId{"local"}, &world}}, &world});
  ASSERT_TRUE(again);
  plane = std::move(*again);
  EXPECT_EQ(plane->catalog().github_app().state, app);
  EXPECT_TRUE(plane->github_webhook_secret().is("hook-sentinel"));

  ASSERT_TRUE(as_user(commands::DisconnectGitHubApp{}));
  EXPECT_FALSE(plane->catalog().github_app().state.is_connected());
  EXPECT_TRUE(plane->github_webhook_secret().empty());
}

TEST_F(Facade, a_repository_is_followed_and_its_deletion_is_none_of_its_project) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  ASSERT_TRUE(as_user(commands::FollowRepository{"web", 7, "https://github.com/acme/shop.git"}));
  const auto state = [&] { return plane->catalog().project_named("web")->state; };
  EXPECT_EQ(state().repository_url, "https://github.com/acme/shop.git");
  EXPECT_EQ(as_user(commands::FollowRepository{"web", 8, "https://github.com/acme/shop.git"})
                .error()
                .code,
            ErrorCode::conflict);
  ASSERT_TRUE(as_user(commands::RecordRepositoryDeletion{"web", 7}));
  ASSERT_TRUE(as_user(commands::RecordRepositoryDeletion{"web", 7}));
  EXPECT_TRUE(state().repository_deleted);
  EXPECT_EQ(state().repository_id, 7);
}

TEST_F(Facade, what_github_was_told_is_recorded_beside_the_project) {
  ASSERT_TRUE(as_user(
      commands::RecordGitHubReport{ProjectId("p1"), DeploymentId("d1"), "queued", 1000, ""}));
  ASSERT_TRUE(as_user(commands::RecordGitHubReport{
      ProjectId("p1"), DeploymentId("d1"), "success", 0, "no", 7, {"nor that"}}));
  std::vector<pb::Event> events;
  ASSERT_TRUE(plane->log().read_stream(github_reports_stream(ProjectId("p1")), StreamVersion{1},
                                       [&](const storage::Record& record) {
                                         events.push_back(record.event);
                                         return true;
                                       }));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].github_told().deployment(), "d1");
  EXPECT_EQ(events[0].github_told().status(), "queued");
  EXPECT_EQ(events[0].github_told().github_deployment(), 1000);
  EXPECT_EQ(events[1].github_not_told().status(), "success");
  EXPECT_EQ(events[1].github_not_told().reason(), "no; nor that");
  EXPECT_TRUE(events[1].github_not_told().comment_goes_on());
  EXPECT_EQ(events[1].github_not_told().comment(), 7);
}

}  // namespace
}  // namespace atlasflow::actors
