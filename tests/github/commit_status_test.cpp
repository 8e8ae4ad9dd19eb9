// Statuses of commits, written to the GitHub on loopback.
#include "github/commit_status.hpp"

#include "tests/github/app_fixture.hpp"

namespace atlasflow::github {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

class CommitStatuses : public AppTest {
 protected:
  [[nodiscard]] Result<void> set(const std::string& state, const std::string& description = "x") {
    return set_commit_status(
        *app_, web_,
        {std::string(40, 'a'), state, "atlasflow/web", "https://web.example.com", description}, {});
  }
};

TEST_F(CommitStatuses, are_set_under_one_context_with_a_link) {
  ASSERT_TRUE(set("pending"));
  ASSERT_TRUE(set("success"));
  const auto statuses = github_.commit_statuses();
  ASSERT_EQ(statuses.size(), 2U);
  EXPECT_EQ(statuses[1]["sha"], std::string(40, 'a'));
  EXPECT_EQ(statuses[1]["state"], "success");
  EXPECT_EQ(statuses[1]["context"], "atlasflow/web");
  EXPECT_EQ(statuses[1]["target_url"], "https://web.example.com");
  EXPECT_EQ(github_.count_of("POST", "/access_tokens"), 1U);
}

TEST_F(CommitStatuses, a_description_is_cut_to_what_github_takes) {
  EXPECT_TRUE(set("failure", std::string(500, 'x')));
}

TEST_F(CommitStatuses, what_github_refuses_says_which_permission_is_missing) {
  github_.control({{"permissions", {{"contents", "read"}, {"deployments", "write"}}}});
  EXPECT_EQ(set("pending").error().code, ErrorCode::user_error);
  github_.control({{"permissions", {{"statuses", "write"}}}});
  EXPECT_TRUE(set("pending"));
  // It was taken away while a token was good.
  github_.control({{"permissions", {{"contents", "read"}}}});
  EXPECT_THAT(set("pending").error().message, HasSubstr("\"Commit statuses: read and write\""));
}

TEST_F(CommitStatuses, of_a_renamed_repository_are_set_where_it_is_now) {
  github_.control({{"rename", {{"from", "octo/web"}, {"to", "octo/shop"}}}});
  ASSERT_TRUE(set("success"));
  EXPECT_EQ(github_.commit_statuses().size(), 1U);
}

}  // namespace
}  // namespace atlasflow::github
