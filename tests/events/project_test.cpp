#include "events/project.hpp"

#include <gmock/gmock.h>

#include "events/build_secret.hpp"
#include "events/settings.hpp"

namespace atlasflow {
namespace {

ProjectState made(const std::string& branch = "") {
  ProjectState state;
  CreateProject create{"web", "https://github.com/Acme/Web.git", branch, "", default_settings()};
  const auto events = decide(state, create);
  EXPECT_TRUE(events);
  for (const auto& event : *events) evolve(state, event);
  return state;
}

TEST(Project, a_name_that_is_no_hostname_label_is_refused) {
  for (const std::string name : {"", "Web", "1web", "web-", "-web", "we_b", "we.b", "wéb"}) {
    const auto result =
        decide(ProjectState{}, CreateProject{name, "/srv/a", "", "", default_settings()});
    ASSERT_FALSE(result) << name;
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  }
  EXPECT_FALSE(validate_project_name(std::string(41, 'a')));
  EXPECT_TRUE(validate_project_name(std::string(40, 'a')));
}

TEST(Project, a_repository_url_with_credentials_is_refused_and_not_repeated) {
  const auto result = validate_repository_url("https://user:hunter2@github.com/a/b");
  ASSERT_FALSE(result);
  EXPECT_THAT(to_string(result.error()), testing::Not(testing::HasSubstr("hunter2")));
}

TEST(Project, repository_urls_that_can_be_cloned_are_taken) {
  for (const std::string url :
       {"https://github.com/a/b.git", "http://host:8080/x", "/srv/git/a", "file:///srv/git/a",
        "git@github.com:a/b", "ssh://git@host:2222/a/b.git"}) {
    EXPECT_TRUE(validate_repository_url(url)) << url;
  }
  for (const std::string url : {"", "ftp://x/y", "relative/path", "https://",
                                "git:secret@github.com:a/b", "https://host/with space"}) {
    EXPECT_FALSE(validate_repository_url(url)) << url;
  }
}

TEST(Project, the_ways_to_write_one_repository_are_one) {
  const auto wanted = normalized_repository("https://github.com/Acme/Web.git");
  for (const std::string url :
       {"https://github.com/acme/web", "git@github.com:Acme/Web.git",
        "ssh://git@github.com/acme/web.git", "ssh://git@github.com:22/acme/web.git",
        "git://github.com/Acme/Web.git", "https://GitHub.com:443/acme/web/"}) {
    EXPECT_EQ(normalized_repository(url), wanted) << url;
  }
  EXPECT_NE(normalized_repository("https://gitlab.com/acme/web"), wanted);
  EXPECT_EQ(normalized_repository("file:///srv/a.git/"), normalized_repository("/srv/a.git"));
}

ProjectState made_to_be_pushed_to(const std::string& branch = "") {
  ProjectState state;
  state.id = ProjectId("ab2c3d4e");
  CreateProject create{"web", std::string(k_own_repository), branch, "", default_settings()};
  const auto events = decide(state, create);
  EXPECT_TRUE(events);
  for (const auto& event : events.value_or(std::vector<pb::Event>{})) evolve(state, event);
  return state;
}

TEST(Project, a_repository_of_the_servers_own_is_named_by_its_project_and_no_path) {
  const auto state = made_to_be_pushed_to();
  EXPECT_EQ(state.repository_url, "atlasflow:ab2c3d4e");
  EXPECT_EQ(state.branch, "main");
  EXPECT_EQ(owner_of_repository(state.repository_url), state.id);
  EXPECT_EQ(normalized_repository(state.repository_url), state.repository_url);
  EXPECT_EQ(made_to_be_pushed_to("release/2").branch, "release/2");
  EXPECT_FALSE(is_own_repository("https://github.com/a/b"));
  EXPECT_TRUE(owner_of_repository("https://github.com/a/b").empty());
}

TEST(Project, nobody_names_another_projects_repository_as_its_own) {
  ProjectState state;
  const auto decided =
      decide(state, CreateProject{"web", "atlasflow:other", "", "", default_settings()});
  ASSERT_FALSE(decided);
  EXPECT_EQ(decided.error().code, ErrorCode::invalid_argument);
}

TEST(Project, a_branch_that_is_pushed_to_here_is_one_that_git_takes) {
  for (const std::string branch :
       {"-x", "a b", "a..b", "a//b", "/a", "a/", "a.lock", ".a", "a/.b", "a.", "a\nb", "ä"}) {
    ProjectState state;
    state.id = ProjectId("ab2c3d4e");
    EXPECT_FALSE(decide(
        state, CreateProject{"web", std::string(k_own_repository), branch, "", default_settings()}))
        << branch;
  }
}

TEST(Project, a_push_token_is_replaced_and_revoked_and_only_where_it_opens_something) {
  auto state = made_to_be_pushed_to();
  EXPECT_EQ(decide(state, RevokePushToken{}).error().code, ErrorCode::conflict);
  for (const char* digest : {"one", "two"}) {
    const auto events = decide(state, SetPushToken{digest});
    ASSERT_TRUE(events);
    for (const auto& event : *events) evolve(state, event);
    EXPECT_EQ(state.push_token_digest, digest);
  }
  const auto revoked = decide(state, RevokePushToken{});
  ASSERT_TRUE(revoked);
  for (const auto& event : *revoked) evolve(state, event);
  EXPECT_EQ(state.push_token_digest, "");
  const auto refused = decide(made(), SetPushToken{"one"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("--git-push"));
}

TEST(Project, variables_come_and_go_and_reserved_names_are_refused) {
  auto state = made();
  const auto set = decide(state, SetEnv{{{"KEY", {"d1", "r1"}}, {"OTHER", {"d2", "r2"}}}});
  ASSERT_TRUE(set);
  for (const auto& event : *set) evolve(state, event);
  EXPECT_EQ(state.env.at("KEY").sealed_ref, "r1");
  const auto unset = decide(state, UnsetEnv{{"KEY"}});
  ASSERT_TRUE(unset);
  for (const auto& event : *unset) evolve(state, event);
  EXPECT_FALSE(state.env.contains("KEY"));
  EXPECT_FALSE(decide(state, UnsetEnv{{"KEY"}}));
  EXPECT_FALSE(decide(state, SetEnv{{{"PORT", {}}}}));
  EXPECT_FALSE(decide(state, SetEnv{{{"A=X", {}}}}));
}

TEST(Project, build_secrets_come_and_go_and_are_no_variables) {
  auto state = made();
  const auto set = decide(state, SetBuildSecrets{{{"NPM", {"d1", "r1"}}, {"PYPI", {"d2", "r2"}}}});
  ASSERT_TRUE(set) << set.error().message;
  for (const auto& event : *set) evolve(state, event);
  EXPECT_EQ(state.build_secrets.size(), 2U);
  EXPECT_EQ(state.build_secrets.at("NPM").digest, "d1");
  EXPECT_EQ(state.build_secrets.at("NPM").sealed_ref, "r1");
  EXPECT_TRUE(state.env.empty()) << "the app would get them";
  EXPECT_FALSE(decide(state, UnsetEnv{{"NPM"}}));
  const auto unset = decide(state, UnsetBuildSecrets{{"NPM"}});
  ASSERT_TRUE(unset);
  for (const auto& event : *unset) evolve(state, event);
  EXPECT_EQ(state.build_secrets.size(), 1U);
  const auto again = decide(state, UnsetBuildSecrets{{"PYPI", "NPM"}});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::not_found);
  EXPECT_THAT(again.error().message, testing::HasSubstr("no build secret 'NPM'"));
}

TEST(Project, a_build_secrets_name_is_an_id_and_a_files_name) {
  for (const std::string name : {"NPM_TOKEN", "npmrc", "id_rsa.pub", "1", "_x", "a-b"}) {
    EXPECT_TRUE(validate_build_secret_name(name)) << name;
  }
  EXPECT_TRUE(validate_build_secret_name(std::string(128, 'n')));
  for (const std::string& name :
       {std::string(), std::string("a b"), std::string("a,src=/etc/shadow"),
        std::string("a=hunter2"), std::string("../a"), std::string(".a"), std::string("-a"),
        std::string("a\nb"), std::string("ä"), std::string(129, 'n')}) {
    const auto refused = validate_build_secret_name(name);
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(refused.error().message, testing::Not(testing::HasSubstr("hunter2")));
  }
  EXPECT_FALSE(validate_build_secret_name("atlasflow.npmrc")) << "the server's own";
  EXPECT_FALSE(decide(made(), SetBuildSecrets{{{"a b", {}}}}));
}

TEST(Project, a_build_secrets_value_has_a_limit_and_is_never_quoted) {
  EXPECT_TRUE(validate_build_secret_value("A", std::string(k_build_secret_bytes_max, 'x')));
  const auto large =
      validate_build_secret_value("A", std::string(k_build_secret_bytes_max + 1, 'x'));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::too_large);
  EXPECT_THAT(large.error().message, testing::Not(testing::HasSubstr("xx")));
  EXPECT_EQ(validate_build_secret_value("A", "").error().code, ErrorCode::invalid_argument);
}

TEST(Project, a_deleted_project_takes_no_command) {
  auto state = made();
  const auto deleted = decide(state, DeleteProject{Principal::user()});
  ASSERT_TRUE(deleted);
  for (const auto& event : *deleted) evolve(state, event);
  EXPECT_FALSE(decide(state, DeleteProject{Principal::user()}));
  EXPECT_FALSE(decide(state, SetEnv{{{"KEY", {}}}}));
  EXPECT_FALSE(decide(state, SetBuildSecrets{{{"KEY", {}}}}));
  EXPECT_FALSE(decide(state, UnsetBuildSecrets{{"KEY"}}));
}

TEST(Settings, the_defaults_are_valid_and_limits_are_named) {
  EXPECT_TRUE(validate(default_settings()));
  auto settings = default_settings();
  settings.set_port(70000);
  const auto result = validate(settings);
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, testing::HasSubstr("port is 70000"));
  settings = default_settings();
  settings.set_health_path("health");
  EXPECT_FALSE(validate(settings));
}

TEST(Settings, are_changed_by_name_and_text) {
  auto settings = default_settings();
  EXPECT_TRUE(set_by_name(settings, "health_deadline", "90s"));
  EXPECT_TRUE(set_by_name(settings, "drain_deadline", "500ms"));
  EXPECT_TRUE(set_by_name(settings, "build_deadline", "2h"));
  EXPECT_TRUE(set_by_name(settings, "memory_mib", "256"));
  EXPECT_TRUE(set_by_name(settings, "health_path", "/up"));
  EXPECT_EQ(settings.health_deadline_us(), 90 * k_second_us);
  EXPECT_EQ(settings.drain_deadline_us(), k_second_us / 2);
  EXPECT_EQ(settings.build_deadline_us(), 7200 * k_second_us);
  EXPECT_EQ(settings.memory_mib(), 256);
  EXPECT_EQ(settings.health_path(), "/up");
  EXPECT_TRUE(validate(settings));
}

TEST(Settings, a_name_or_value_that_is_not_understood_is_named) {
  auto settings = default_settings();
  const std::pair<std::string, std::string> wrong[] = {{"health_deadline", "90"},
                                                       {"health_deadline", "s"},
                                                       {"health_deadline", "-1s"},
                                                       {"health_deadline", "1.5s"},
                                                       {"port", "http"},
                                                       {"port", ""},
                                                       {"vcpus", "-1"},
                                                       {"memory_mib", "9999999999999"}};
  for (const auto& [name, value] : wrong) {
    const auto result = set_by_name(settings, name, value);
    ASSERT_FALSE(result) << name << "=" << value;
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(result.error().message, testing::HasSubstr(name));
  }
  const auto unknown = set_by_name(settings, "colour", "red");
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message, testing::HasSubstr("health_path, port"));
  EXPECT_TRUE(set_by_name(settings, "port", "999999999999"));
  EXPECT_FALSE(validate(settings));
}

void follow(ProjectState& state, std::int64_t id, const std::string& url,
            const std::vector<std::string>& wanted) {
  const auto events = decide(state, FollowRepository{id, url});
  ASSERT_TRUE(events) << to_string(events.error());
  std::vector<std::string> kinds;
  for (const auto& event : *events) {
    kinds.push_back(event.has_repository_moved() ? "moved" : "identified");
    evolve(state, event);
  }
  EXPECT_EQ(kinds, wanted);
}

TEST(Project, its_repository_is_known_by_its_id_and_followed_under_every_name) {
  auto state = made();
  follow(state, 7, "https://github.com/acme/web.git", {"identified"});
  EXPECT_EQ(state.repository_url, "https://github.com/Acme/Web.git");
  follow(state, 7, "https://github.com/acme/web", {});
  follow(state, 7, "https://github.com/other/shop.git", {"moved"});
  EXPECT_EQ(state.repository_url, "https://github.com/other/shop.git");
  EXPECT_EQ(state.repository_id, 7);
  follow(state, 7, "https://github.com/other/shop.git", {});
  auto unknown = made();
  follow(unknown, 8, "https://github.com/other/shop.git", {"moved"});
  EXPECT_EQ(unknown.repository_id, 8) << "its first sight is under another name";
}

TEST(Project, another_repository_that_took_the_name_is_not_followed) {
  auto state = made();
  follow(state, 7, "https://github.com/acme/web", {"identified"});
  const auto another = decide(state, FollowRepository{8, "https://github.com/acme/web"});
  ASSERT_FALSE(another);
  EXPECT_EQ(another.error().code, ErrorCode::conflict);
  EXPECT_FALSE(decide(state, FollowRepository{7, "https://user:pw@github.com/acme/web"}));
  EXPECT_TRUE(decide(state, RecordRepositoryDeletion{8})->empty());
}

TEST(Project, a_repository_that_was_deleted_may_come_back) {
  auto state = made();
  const auto deleted = decide(state, RecordRepositoryDeletion{7});
  ASSERT_TRUE(deleted);
  for (const auto& event : *deleted) evolve(state, event);
  EXPECT_TRUE(state.repository_deleted);
  EXPECT_TRUE(state.exists()) << "nothing is torn down";
  EXPECT_TRUE(decide(state, RecordRepositoryDeletion{7})->empty());
  follow(state, 7, "https://github.com/acme/web", {"identified"});
  EXPECT_FALSE(state.repository_deleted);
}

}  // namespace
}  // namespace atlasflow
