// The App's client against a GitHub on loopback that checks every request.
#include "github/app_client.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/github/local_github.hpp"
#include "tests/github/test_keys.hpp"

namespace atlasflow::github {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Json = nlohmann::json;

std::int64_t system_now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

class App : public testing::Test {
 protected:
  ~App() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  AppClient client(std::int64_t id = LocalGitHub::k_app_id) {
    return {id, *AppKey::parse(Secret(github_.private_key())), config()};
  }
  ApiConfig config() {
    // This machine's clock, as far off as a test wants it.
    return {github_.address(), [this] { return system_now_s() + ahead_s_.load(); },
            std::chrono::milliseconds(10'000)};
  }
  // Time passes, here and at GitHub.
  void pass(std::int64_t seconds) {
    ahead_s_ += seconds;
    github_.control({{"clock_offset_s", ahead_s_.load()}});
  }
  std::size_t tokens_minted() { return github_.count_of("POST", "/access_tokens"); }

  LocalGitHub github_;
  std::atomic<std::int64_t> ahead_s_ = 0;
  const RepositoryName web_{"octo", "web"};
  const RepositoryName api_{"octo", "api"};
  const RepositoryName site_{"octo", "site"};
};

TEST_F(App, knows_who_it_is) {
  const auto identity = client().identity({});
  ASSERT_TRUE(identity) << to_string(identity.error());
  EXPECT_EQ(identity->id, LocalGitHub::k_app_id);
  EXPECT_EQ(identity->slug, "atlasflow-test");
  EXPECT_EQ(identity->owner, "octo");
  EXPECT_EQ(identity->permissions.at("contents"), "read");
}

TEST_F(App, asking_twice_costs_a_conditional_request) {
  auto app = client();
  ASSERT_TRUE(app.identity({}));
  const auto again = app.identity({});
  ASSERT_TRUE(again);
  EXPECT_EQ(again->slug, "atlasflow-test");
  const auto asked = github_.asked();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_FALSE(asked[0].conditional);
  EXPECT_TRUE(asked[1].conditional);
}

TEST_F(App, an_answer_that_is_large_is_not_remembered) {
  auto app = client();
  github_.fail_next("/app", 200, {{"ETag", "\"1\""}},
                    {{"id", LocalGitHub::k_app_id}, {"padding", std::string(300 << 10, 'x')}});
  ASSERT_TRUE(app.identity({}));
  ASSERT_TRUE(app.identity({}));
  EXPECT_FALSE(github_.asked().back().conditional);
}

TEST_F(App, answers_that_are_remembered_have_a_limit_in_bytes_together) {
  ApiClient api(config());
  const auto ask = [&](const std::string& path) {
    github_.fail_next(path, 200, {{"ETag", "\"1\""}}, {{"padding", std::string(200 << 10, 'x')}});
    ASSERT_TRUE(api.send({.path = path, .remember_as = "app"}, {}));
  };
  const auto is_known = [&](const std::string& path) {
    ask(path);
    return github_.asked().back().conditional;
  };
  for (int i = 0; i < 10; ++i) ask("/large/" + std::to_string(i));
  EXPECT_TRUE(is_known("/large/0"));  // 11 of 20 of them
  for (int i = 10; i < 20; ++i) ask("/large/" + std::to_string(i));
  EXPECT_FALSE(is_known("/large/1"));
}

// A proxy's page, say.
TEST_F(App, a_refusal_that_is_none_of_github_s_says_nothing_of_the_app) {
  auto app = client();
  github_.control({{"fault", {{"path", "/app"}, {"status", 404}, {"raw", "<html>Not found"}}}});
  const auto identity = app.identity({});
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().code, ErrorCode::unavailable);
  EXPECT_THAT(identity.error().message,
              AllOf(HasSubstr("status 404"), HasSubstr("is " + github_.base_url() + " a GitHub?")));
}

TEST_F(App, an_answer_that_nests_too_deeply_is_not_parsed) {
  for (const int levels : {k_json_levels_max, k_json_levels_max + 1}) {
    Json nested = LocalGitHub::k_app_id;
    for (int i = 1; i < levels; ++i) nested = Json::array({nested});
    auto app = client();
    github_.fail_next("/app", 200, Json::object(),
                      {{"id", LocalGitHub::k_app_id}, {"nested", nested}});
    const auto identity = app.identity({});
    ASSERT_EQ(identity.has_value(), levels == k_json_levels_max) << levels;
    if (!identity) {
      EXPECT_EQ(identity.error().code, ErrorCode::unavailable);
    }
  }
}

TEST_F(App, an_id_that_github_does_not_have_is_told_apart_from_a_wrong_key) {
  const auto wrong_id = client(999).identity({});
  ASSERT_FALSE(wrong_id);
  EXPECT_EQ(wrong_id.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(wrong_id.error().message,
              AllOf(HasSubstr("no App with the id 999"), HasSubstr("\"App ID\"")));

  AppClient other(LocalGitHub::k_app_id, *AppKey::parse(Secret(rfc_7515_key())), config());
  const auto wrong_key = other.identity({});
  ASSERT_FALSE(wrong_key);
  EXPECT_EQ(wrong_key.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(wrong_key.error().message,
              AllOf(HasSubstr("does not take the private key (SHA256:"), HasSubstr("App 12345")));
}

// Ahead and behind by more than the JWT's margins: GitHub's answer tells by how much.
TEST_F(App, a_clock_that_is_off_is_made_up_for) {
  for (const std::int64_t off_s : {900, -900, 86'400}) {
    ahead_s_ = off_s;
    auto app = client();
    const auto before = github_.asked().size();
    ASSERT_TRUE(app.identity({})) << off_s;
    EXPECT_EQ(github_.asked().size() - before, 2U) << off_s;
    ASSERT_TRUE(app.token_for(web_, clone_permissions(), {})) << off_s;
    // What it learned it keeps.
    EXPECT_EQ(github_.asked().size() - before, 4U) << off_s;
  }
}

TEST_F(App, a_token_is_for_one_repository_and_for_reading_it) {
  auto app = client();
  const auto token = app.token_for(web_, clone_permissions(), {});
  ASSERT_TRUE(token) << to_string(token.error());
  EXPECT_THAT(token->reveal(), testing::StartsWith("ghs_"));
  const auto asked = github_.asked();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[0].path, "/api/v3/repos/octo/web/installation");
  EXPECT_EQ(asked[1].path, "/api/v3/app/installations/42/access_tokens");
  EXPECT_EQ(Json::parse(asked[1].body),
            (Json{{"repositories", {"web"}}, {"permissions", {{"contents", "read"}}}}));
}

TEST_F(App, a_token_is_kept_until_shortly_before_it_ends) {
  auto app = client();
  const auto first = app.token_for(web_, clone_permissions(), {});
  ASSERT_TRUE(first);
  pass(3600 - k_token_margin_s - 10);
  EXPECT_TRUE(app.token_for(web_, clone_permissions(), {})->is(first->reveal()));
  EXPECT_EQ(tokens_minted(), 1U);
  pass(20);
  const auto second = app.token_for(web_, clone_permissions(), {});
  ASSERT_TRUE(second) << to_string(second.error());
  EXPECT_FALSE(second->is(first->reveal()));
  EXPECT_EQ(tokens_minted(), 2U);
}

TEST_F(App, one_that_lives_shorter_than_the_margin_is_not_kept) {
  github_.control({{"token_life_s", 60}});
  auto app = client();
  ASSERT_TRUE(app.token_for(web_, clone_permissions(), {}));
  ASSERT_TRUE(app.token_for(web_, clone_permissions(), {}));
  EXPECT_EQ(tokens_minted(), 2U);
}

TEST_F(App, each_repository_and_each_set_of_permissions_has_a_token_of_its_own) {
  auto app = client();
  const auto web = app.token_for(web_, clone_permissions(), {});
  const auto api = app.token_for(api_, clone_permissions(), {});
  const auto meta = app.token_for(web_, {{"metadata", "read"}}, {});
  ASSERT_TRUE(web && api && meta);
  EXPECT_FALSE(web->is(api->reveal()));
  EXPECT_FALSE(web->is(meta->reveal()));
  EXPECT_TRUE(app.token_for({"OCTO", "Web"}, clone_permissions(), {})->is(web->reveal()));
  EXPECT_EQ(tokens_minted(), 3U);
}

TEST_F(App, one_that_was_discarded_is_minted_anew_and_no_other) {
  auto app = client();
  const auto web = app.token_for(web_, clone_permissions(), {});
  const auto api = app.token_for(api_, clone_permissions(), {});
  ASSERT_TRUE(web && api);
  app.discard(*web);
  EXPECT_FALSE(app.token_for(web_, clone_permissions(), {})->is(web->reveal()));
  EXPECT_TRUE(app.token_for(api_, clone_permissions(), {})->is(api->reveal()));
  EXPECT_EQ(tokens_minted(), 3U);
}

// By a second token's time the repository has another name: the id is what was kept.
TEST_F(App, a_repository_that_was_renamed_is_found_by_its_id) {
  auto app = client();
  ASSERT_TRUE(app.token_for(web_, clone_permissions(), {}));
  github_.control({{"rename", {{"from", "octo/web"}, {"to", "octo/shop"}}}});
  pass(3600);
  const auto known = app.token_for(web_, clone_permissions(), {});
  ASSERT_TRUE(known) << to_string(known.error());

  // And by one that never knew it under the former name.
  auto fresh = client();
  const auto followed = fresh.token_for(web_, clone_permissions(), {});
  ASSERT_TRUE(followed) << to_string(followed.error());
  const auto asked = github_.asked();
  EXPECT_EQ(asked[asked.size() - 2].path, "/api/v3/repositories/7/installation");
  EXPECT_EQ(Json::parse(asked.back().body)["repository_ids"], Json::array({7}));
}

TEST_F(App, where_it_is_not_installed_is_told_with_what_to_do) {
  auto app = client();
  for (const auto& repository : {site_, RepositoryName{"octo", "nothing"}}) {
    const auto token = app.token_for(repository, clone_permissions(), {});
    ASSERT_FALSE(token);
    EXPECT_EQ(token.error().code, ErrorCode::not_found);
    EXPECT_THAT(token.error().message, AllOf(HasSubstr("not installed on " + repository.str()),
                                             HasSubstr("atlasflow github status")));
  }
}

TEST_F(App, an_installation_that_was_removed_and_made_again_is_found_again) {
  auto app = client();
  ASSERT_TRUE(app.token_for(web_, clone_permissions(), {}));
  github_.control(
      {{"install", {{"repository", "octo/web"}, {"installation", 77}}}, {"uninstall", "octo/api"}});
  pass(3600);
  const auto token = app.token_for(web_, clone_permissions(), {});
  ASSERT_TRUE(token) << to_string(token.error());
  EXPECT_EQ(github_.count_of("POST", "/app/installations/77/access_tokens"), 1U);
}

TEST_F(App, one_that_was_revoked_or_suspended_is_told) {
  auto app = client();
  ASSERT_TRUE(app.token_for(web_, clone_permissions(), {}));
  pass(3600);
  github_.control({{"suspend", 42}});
  const auto suspended = app.token_for(web_, clone_permissions(), {});
  ASSERT_FALSE(suspended);
  EXPECT_EQ(suspended.error().code, ErrorCode::user_error);
  EXPECT_THAT(suspended.error().message, HasSubstr("is suspended: unsuspend it"));
  github_.control({{"unsuspend", 42}, {"uninstall", "octo/web"}});
  const auto revoked = app.token_for(web_, clone_permissions(), {});
  ASSERT_FALSE(revoked);
  EXPECT_THAT(revoked.error().message, HasSubstr("not installed on octo/web"));
}

TEST_F(App, a_permission_that_was_not_granted_is_told) {
  auto app = client();
  const auto token = app.token_for(web_, {{"issues", "write"}}, {});
  ASSERT_FALSE(token);
  EXPECT_EQ(token.error().code, ErrorCode::user_error);
  EXPECT_THAT(token.error().message, HasSubstr("lacks a permission"));
}

// Going on asking may get an App banned: nothing is sent until GitHub's time has come.
TEST_F(App, nothing_is_asked_while_a_rate_limit_lasts) {
  auto app = client();
  github_.fail_next("/app", 403,
                    {{"X-RateLimit-Remaining", "0"},
                     {"X-RateLimit-Reset", std::to_string(system_now_s() + 1200)}},
                    {{"message", "API rate limit exceeded"}});
  const auto limited = app.identity({});
  ASSERT_FALSE(limited);
  EXPECT_EQ(limited.error().code, ErrorCode::unavailable);
  EXPECT_THAT(limited.error().message, HasSubstr("asked again in 20 minutes"));
  EXPECT_FALSE(app.identity({}));
  EXPECT_FALSE(app.token_for(web_, clone_permissions(), {}));
  EXPECT_EQ(github_.asked().size(), 1U);
  pass(1203);
  EXPECT_TRUE(app.identity({}));
}

TEST_F(App, a_secondary_limit_waits_as_long_as_it_says) {
  auto app = client();
  github_.fail_next("/app", 429, {{"Retry-After", "30"}},
                    {{"message", "You have exceeded a secondary rate limit"}});
  EXPECT_THAT(app.identity({}).error().message, HasSubstr("in 30 s"));
  pass(31);
  EXPECT_TRUE(app.identity({}));
}

TEST_F(App, trouble_at_github_is_no_fault_of_the_user) {
  auto app = client();
  github_.fail_next("/app", 502, {{"Content-Type", "text/html"}}, "<html>");
  const auto failed = app.identity({});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::unavailable);
  EXPECT_THAT(failed.error().message, HasSubstr("status 502"));

  github_.fail_next("/app", 0);
  const auto hung_up = app.identity({});
  ASSERT_FALSE(hung_up);
  EXPECT_EQ(hung_up.error().code, ErrorCode::unavailable);
  EXPECT_THAT(hung_up.error().message, HasSubstr("GitHub can't be reached"));
  EXPECT_TRUE(app.identity({}));
}

TEST_F(App, one_that_does_not_answer_is_waited_for_only_so_long) {
  github_.control({{"fault", {{"path", "/app"}, {"status", 200}, {"delay_s", 2}}}});
  auto impatient = config();
  impatient.timeout = std::chrono::milliseconds(200);
  AppClient app(LocalGitHub::k_app_id, *AppKey::parse(Secret(github_.private_key())), impatient);
  const auto identity = app.identity({});
  ASSERT_FALSE(identity);
  EXPECT_EQ(identity.error().code, ErrorCode::timed_out);
}

// What a redirect to elsewhere would be sent is a JWT, with which anybody is the App for ten
// minutes.
TEST_F(App, no_redirect_leads_to_another_place) {
  auto app = client();
  for (const char* target :
       {"https://evil.example/api/v3/app", "/elsewhere", "", "http://127.0.0.1:1/api/v3/app"}) {
    github_.fail_next("/app", 302, {{"Location", target}});
    const auto identity = app.identity({});
    ASSERT_FALSE(identity);
    EXPECT_EQ(identity.error().code, ErrorCode::unavailable);
    EXPECT_THAT(identity.error().message, HasSubstr("sends elsewhere"));
  }
  github_.fail_next("/app", 302, {{"Location", github_.address().api + "/app"}}, Json::object(), 9);
  EXPECT_THAT(app.identity({}).error().message, HasSubstr("sends elsewhere"));
}

TEST_F(App, an_answer_that_is_none_of_github_s_is_an_error_and_no_crash) {
  for (const Json& body : {Json(), Json(7), Json::array({1}), Json{{"id", "12345"}},
                           Json{{"id", 999}, {"slug", "x"}}}) {
    auto app = client();
    github_.fail_next("/app", 200, Json::object(), body);
    const auto identity = app.identity({});
    ASSERT_FALSE(identity) << body;
    EXPECT_EQ(identity.error().code, ErrorCode::unavailable) << body;
  }
  for (const Json& body : {Json(), Json{{"token", 1}}, Json{{"token", "x"}},
                           Json{{"token", "x"}, {"expires_at", "tomorrow"}}}) {
    auto app = client();
    github_.fail_next("/app/installations/.*", 201, Json::object(), body);
    ASSERT_FALSE(app.token_for(web_, clone_permissions(), {})) << body;
  }
}

TEST_F(App, no_error_holds_a_token_or_a_key) {
  auto app = client();
  ASSERT_TRUE(app.token_for(web_, clone_permissions(), {}));
  const std::string key_bytes = github_.private_key().substr(100, 20);
  for (const int status : {400, 401, 403, 404, 409, 422, 500}) {
    auto fresh = client();
    github_.fail_next("/app/installations/.*", status, Json::object(),
                      {{"message", "no\nway " + std::string(500, 'x')}}, 2);
    const auto token = fresh.token_for(web_, clone_permissions(), {});
    ASSERT_FALSE(token) << status;
    const auto said = to_string(token.error());
    EXPECT_THAT(said, AllOf(Not(HasSubstr("ghs_")), Not(HasSubstr("eyJ")),
                            Not(HasSubstr(key_bytes)), Not(HasSubstr("\n"))))
        << status;
    EXPECT_LT(said.size(), 800U);
  }
}

TEST_F(App, many_threads_may_ask_at_once) {
  auto app = client();
  std::atomic<int> failed = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 5; ++k) {
        const auto token = app.token_for(i % 2 == 0 ? web_ : api_, clone_permissions(), {});
        if (!token) ++failed;
        if (token && k == 2) app.discard(*token);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(failed, 0);
}

TEST(MakeAppClient, says_what_is_wrong_before_github_is_asked) {
  const auto client = make_app_client(1, Secret(rfc_7515_key()), "");
  ASSERT_TRUE(client) << to_string(client.error());
  EXPECT_EQ((*client)->address().api, "https://api.github.com");
  EXPECT_EQ(make_app_client(1, Secret("nonsense"), "").error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(make_app_client(1, Secret(rfc_7515_key()), "http://github.example.com").error().code,
            ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace atlasflow::github
