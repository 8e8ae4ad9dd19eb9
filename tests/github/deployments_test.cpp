// Deployments and their statuses, written to the GitHub on loopback.
#include "github/deployments.hpp"

#include "tests/github/app_fixture.hpp"

namespace atlasflow::github {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

class Deployments : public AppTest {
 protected:
  static NewDeployment order(const std::string& id) {
    return {id, std::string(40, 'a'), "web/production", true, false};
  }
  [[nodiscard]] Result<void> add(std::int64_t deployment, const std::string& state,
                                 const std::string& description = {}) {
    return add_status(*app_, web_, {deployment, state, "", description}, {});
  }
};

TEST_F(Deployments, are_made_with_their_statuses) {
  const auto id = make_deployment(*app_, web_, order("abc"), {});
  ASSERT_TRUE(id) << to_string(id.error());
  ASSERT_TRUE(add(*id, "queued"));
  ASSERT_TRUE(add_status(*app_, web_, {*id, "success", "https://web.example.com", ""}, {}));
  const auto made = github_.deployments();
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0]["environment"], "web/production");
  EXPECT_EQ(made[0]["production"], true);
  EXPECT_EQ(made[0]["transient"], false);
  EXPECT_EQ(made[0]["statuses"][0]["state"], "queued");
  EXPECT_EQ(made[0]["statuses"][1]["environment_url"], "https://web.example.com");
  // One token for all of that, for one repository and one permission.
  EXPECT_EQ(github_.count_of("POST", "/access_tokens"), 1U);
}

TEST_F(Deployments, one_whose_answer_was_lost_is_found_and_not_made_again) {
  const auto first = make_deployment(*app_, web_, order("abc"), {});
  const auto other = make_deployment(*app_, web_, order("abd"), {});
  const auto again = make_deployment(*app_, web_, order("abc"), {});
  ASSERT_TRUE(first && other && again);
  EXPECT_EQ(*again, *first);
  EXPECT_NE(*other, *first);
  EXPECT_EQ(github_.deployments().size(), 2U);
}

// Whoever else writes deployments writes their payloads.
TEST_F(Deployments, a_payload_that_nests_too_deeply_is_not_ours) {
  const auto depth = static_cast<std::size_t>(k_json_levels_max);
  const auto payload = R"({"atlasflow_deployment":"abc","x":)" + std::string(depth, '[') +
                       std::string(depth, ']') + "}";
  github_.fail_next("/repos/octo/web/deployments", 200, Json::object(),
                    Json::array({{{"id", 5}, {"payload", payload}}}));
  const auto made = make_deployment(*app_, web_, order("abc"), {});
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_NE(*made, 5);
  EXPECT_EQ(github_.deployments().size(), 1U);
}

TEST_F(Deployments, a_token_that_github_takes_no_more_is_minted_anew_once) {
  const auto id = make_deployment(*app_, web_, order("abc"), {});
  github_.control({{"revoke_tokens", true}});
  EXPECT_TRUE(add(*id, "queued"));
  github_.fail_next("/repos/octo/web/deployments/.*", 401, Json::object(), Json::object(), 2);
  EXPECT_EQ(add(*id, "queued").error().code, ErrorCode::unavailable);
}

TEST_F(Deployments, of_a_renamed_repository_are_made_where_it_is_now) {
  github_.control({{"rename", {{"from", "octo/web"}, {"to", "octo/shop"}}}});
  const auto id = make_deployment(*app_, web_, order("abc"), {});
  ASSERT_TRUE(id) << to_string(id.error());
  EXPECT_TRUE(add(*id, "queued"));
  EXPECT_EQ(github_.deployments()[0]["statuses"].size(), 1U);
}

TEST_F(Deployments, what_github_refuses_says_why_and_is_no_trouble_of_github) {
  github_.control({{"permissions", {{"contents", "read"}, {"metadata", "read"}}}});
  auto id = make_deployment(*app_, web_, order("abc"), {});
  EXPECT_EQ(id.error().code, ErrorCode::user_error);
  EXPECT_THAT(id.error().message, HasSubstr("lacks a permission"));
  github_.control({{"permissions", {{"deployments", "write"}}}});
  EXPECT_TRUE(make_deployment(*app_, web_, order("abc"), {}));
  // It was taken away while a token was good.
  github_.control({{"permissions", {{"contents", "read"}}}});
  id = make_deployment(*app_, web_, order("abd"), {});
  EXPECT_EQ(id.error().code, ErrorCode::user_error);
  EXPECT_THAT(id.error().message, HasSubstr("may not write deployments of octo/web"));
  github_.control({{"permissions", {{"deployments", "write"}}}});
  github_.fail_next("/repos/octo/web/deployments", 422, Json::object(),
                    {{"message", "No ref found for: aaa"}}, 2);
  id = make_deployment(*app_, web_, order("abd"), {});
  EXPECT_EQ(id.error().code, ErrorCode::user_error);
  EXPECT_EQ(make_deployment(*app_, {"octo", "none"}, order("abc"), {}).error().code,
            ErrorCode::not_found);
}

// A report that used up a limit keeps no clone from its token.
TEST_F(Deployments, their_limit_is_not_the_app_s_own) {
  const auto id = make_deployment(*app_, web_, order("abc"), {});
  github_.fail_next("/repos/octo/web/deployments/.*", 403, {{"Retry-After", "60"}});
  EXPECT_THAT(add(*id, "queued").error().message, HasSubstr("limit of requests"));
  const auto before = github_.asked().size();
  EXPECT_THAT(add(*id, "queued").error().message, HasSubstr("limit of requests"));
  EXPECT_EQ(github_.asked().size(), before);
  EXPECT_TRUE(app_->token_for({"octo", "api"}, clone_permissions(), {}));
}

TEST_F(Deployments, a_description_is_cut_to_what_github_takes) {
  const auto id = make_deployment(*app_, web_, order("abc"), {});
  std::string umlauts;
  for (int i = 0; i < 200; ++i) umlauts += "ä";
  EXPECT_TRUE(add(*id, "failure", umlauts));
  EXPECT_TRUE(add(*id, "failure", std::string(139, 'x') + "\xff\xfe"));
}

TEST(Shortened, keeps_whole_characters_and_says_that_something_is_left_out) {
  EXPECT_EQ(shortened("", 4), "");
  EXPECT_EQ(shortened("abcd", 4), "abcd");
  EXPECT_EQ(shortened("abcde", 4), "abc…");
  EXPECT_EQ(shortened("äöüß", 4), "äöüß");
  EXPECT_EQ(shortened("äöüßx", 4), "äöü…");
}

}  // namespace
}  // namespace atlasflow::github
