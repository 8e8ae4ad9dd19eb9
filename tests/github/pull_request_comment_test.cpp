// The one comment on a pull request, written to the GitHub on loopback.
#include "github/pull_request_comment.hpp"

#include "tests/github/app_fixture.hpp"

namespace atlasflow::github {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

class Comments : public AppTest {
 protected:
  [[nodiscard]] Result<std::int64_t> put(const std::string& text, std::int64_t known = 0,
                                         std::int64_t number = 7) {
    return put_comment(*app_, web_, {number, "p1/" + std::to_string(number), text}, known, {});
  }
  // Somebody's, with the mark of ours.
  void write_by(std::int64_t app, int times = 1) {
    for (int i = 0; i < times; ++i) {
      github_.control({{"comment",
                        {{"repository", 7},
                         {"issue", 7},
                         {"app", app},
                         {"body", "<!-- atlasflow preview p1/7 --> mine"}}}});
    }
  }
};

TEST_F(Comments, there_is_one_that_is_edited_in_place) {
  const auto id = put("queued");
  ASSERT_TRUE(id) << to_string(id.error());
  EXPECT_EQ(put("live", *id), *id);
  const auto comments = github_.comments();
  ASSERT_EQ(comments.size(), 1U);
  EXPECT_EQ(comments[0]["issue"], 7);
  EXPECT_THAT(comments[0]["body"].get<std::string>(), HasSubstr("live"));
}

// As after a kill between GitHub's answer and the record.
TEST_F(Comments, one_whose_answer_was_lost_is_found_and_not_made_again) {
  const auto id = put("queued");
  ASSERT_TRUE(id);
  EXPECT_EQ(put("live"), *id);
  EXPECT_EQ(github_.comments().size(), 1U);
}

TEST_F(Comments, it_is_found_behind_more_than_a_page_of_others) {
  github_.control({{"page_max", 2}});
  write_by(0, 5);
  const auto id = put("queued");
  ASSERT_TRUE(id);
  EXPECT_EQ(put("live"), *id);
  EXPECT_EQ(github_.comments().size(), 6U);
}

// Anybody may write the mark.
TEST_F(Comments, nobody_elses_is_changed_whatever_it_says) {
  write_by(0);
  write_by(999);
  ASSERT_TRUE(put("queued"));
  const auto comments = github_.comments();
  ASSERT_EQ(comments.size(), 3U);
  EXPECT_EQ(comments[0].value("edits", 0), 0);
  EXPECT_EQ(comments[1].value("edits", 0), 0);
}

TEST_F(Comments, each_pull_request_has_its_own_and_one_that_was_deleted_comes_again) {
  const auto first = put("queued");
  const auto second = put("queued", 0, 8);
  ASSERT_TRUE(first && second);
  EXPECT_NE(*first, *second);
  github_.control({{"delete_comments", true}});
  ASSERT_TRUE(put("live", *first));
  EXPECT_EQ(github_.comments().size(), 1U);
}

TEST_F(Comments, what_github_refuses_says_which_permission_is_missing) {
  const auto id = put("queued");
  github_.control({{"permissions", {{"contents", "read"}}}});
  const auto refused = put("live", *id);
  EXPECT_EQ(refused.error().code, ErrorCode::user_error);
  EXPECT_THAT(refused.error().message, HasSubstr("\"Pull requests: read and write\""));
}

TEST(PlainMarkdown, nothing_in_a_text_is_a_mention_a_link_or_a_column) {
  EXPECT_EQ(plain_markdown("it is live"), "it is live");
  for (const char c : std::string("@[]()<>|`*_:/\n\x01")) {
    EXPECT_EQ(plain_markdown(std::string("a") + c + "b").find(c), std::string::npos) << c;
  }
}

}  // namespace
}  // namespace atlasflow::github
