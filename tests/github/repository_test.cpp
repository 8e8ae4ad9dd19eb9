// What GitHub says of a repository and of its branches, from the GitHub on loopback.
#include "github/repository.hpp"

#include "tests/github/app_fixture.hpp"

namespace atlasflow::github {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

const std::string k_commit(40, 'c');

class Repositories : public AppTest {
 protected:
  [[nodiscard]] std::string head(const std::string& branch) const {
    const auto found = head_of(*app_, web_, branch, {});
    EXPECT_TRUE(found) << to_string(found.error());
    if (!found) return "an error";
    return found->empty() ? "none" : *found;
  }
};

TEST_F(Repositories, a_branch_has_a_head_or_is_not_there) {
  EXPECT_EQ(head("main"), "none") << "an empty repository has no branch";
  const auto sha = github_.make_repository("octo/web");
  EXPECT_EQ(head("main"), sha);
  EXPECT_EQ(head("topic"), "none");
}

// Also one that would end the path, or begin a query or an escape of its own.
TEST_F(Repositories, a_branch_of_any_name_is_asked_for) {
  for (const std::string name : {"feature/x", "a?b", "a#b", "50%25", "a b", "ü", "a+b&c"}) {
    github_.control({{"heads", {{"octo/web " + name, k_commit}}}});
    EXPECT_EQ(head(name), k_commit) << name;
  }
}

TEST_F(Repositories, a_former_name_leads_to_the_repository_and_to_its_branches) {
  github_.control({{"heads", {{"octo/shop main", k_commit}}},
                   {"default_branch", {{"repository", "octo/web"}, {"branch", "trunk"}}}});
  github_.control({{"rename", {{"from", "octo/web"}, {"to", "octo/shop"}}}});
  const auto repository = repository_of(*app_, web_, {});
  ASSERT_TRUE(repository) << to_string(repository.error());
  EXPECT_EQ(repository->id, 7);
  EXPECT_EQ(repository->name.str(), "octo/shop");
  EXPECT_EQ(repository->default_branch, "trunk");
  EXPECT_EQ(head("main"), k_commit);
}

TEST_F(Repositories, what_has_not_changed_is_asked_for_under_its_etag) {
  github_.control({{"heads", {{"octo/web main", k_commit}}}});
  for (const bool is_known : {false, true}) {
    ASSERT_TRUE(repository_of(*app_, web_, {}));
    EXPECT_EQ(head("main"), k_commit);
    const auto asked = github_.asked();
    EXPECT_EQ(asked[asked.size() - 1].conditional, is_known);
    EXPECT_EQ(asked[asked.size() - 2].conditional, is_known);
  }
  github_.control({{"heads", {{"octo/web main", std::string(40, 'd')}}}});
  EXPECT_EQ(head("main"), std::string(40, 'd'));
}

TEST_F(Repositories, what_can_not_be_read_says_whose_trouble_it_is) {
  const struct {
    int status;
    Json body;
    ErrorCode code;
    const char* reason;
  } k_cases[] = {
      {404, Json::object(), ErrorCode::not_found, "deleted, or taken out of the App's"},
      {403,
       {{"message", "Resource not accessible by integration"}},
       ErrorCode::user_error,
       "the App's permissions"},
      {451, {{"message", "Repository access blocked"}}, ErrorCode::user_error, "octo/web"},
      {500, Json::object(), ErrorCode::unavailable, "fails with status 500"},
      {200, Json::array(), ErrorCode::unavailable, "status 200"},
      {200,
       {{"id", -1}, {"default_branch", "main"}, {"full_name", "octo/web"}},
       ErrorCode::unavailable,
       "status 200"},
      {200,
       {{"id", 7}, {"default_branch", 7}, {"full_name", "octo/web"}},
       ErrorCode::unavailable,
       "status 200"},
      {200,
       {{"id", 7}, {"default_branch", "main"}, {"full_name", "../x"}},
       ErrorCode::unavailable,
       "status 200"},
  };
  for (const auto& each : k_cases) {
    github_.fail_next("/repos/octo/web", each.status, Json::object(), each.body);
    const auto repository = repository_of(*app_, web_, {});
    ASSERT_FALSE(repository) << each.reason;
    EXPECT_EQ(repository.error().code, each.code) << to_string(repository.error());
    EXPECT_THAT(to_string(repository.error()), HasSubstr(each.reason));
  }
  for (const Json& object : {Json(), Json{{"sha", "HEAD"}}, Json{{"sha", 1}}, Json::array()}) {
    github_.fail_next("/repos/octo/web/git/ref/heads/main", 200, Json::object(),
                      {{"object", object}});
    const auto found = head_of(*app_, web_, "main", {});
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, ErrorCode::unavailable);
  }
}

}  // namespace
}  // namespace atlasflow::github
