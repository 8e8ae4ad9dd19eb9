// The verbs project … over the real API, whose control plane records what it is asked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/verbs.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

using ProjectVerbs = VerbTest;

TEST_F(ProjectVerbs, a_projects_webhooks_are_shown_for_github_and_for_other_hosts) {
  control_.add_project("shop");
  const auto show = run(ProjectShowCommand{"shop", false}).out;
  EXPECT_THAT(show, HasSubstr("https://atlasflow.localhost:8443/webhooks/github (of GitHub)\n"));
  EXPECT_THAT(show,
              HasSubstr("https://atlasflow.localhost:8443/webhooks/git/shop (of other hosts)\n"));
  const auto made = run(ProjectCreateCommand{"blog", "https://git.example/blog", "", "", false});
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.out, HasSubstr("https://atlasflow.localhost:8443/webhooks/github\n"));
  EXPECT_THAT(made.out, HasSubstr("https://atlasflow.localhost:8443/webhooks/git/blog)"));
}

TEST_F(ProjectVerbs, a_project_to_be_pushed_to_is_made_with_a_token_that_is_shown_once) {
  ProjectCreateCommand create;
  create.name = "blog";
  create.git_push = true;
  const auto made = run(create);
  EXPECT_EQ(made.code, 0) << made.err;
  EXPECT_THAT(made.out,
              HasSubstr("git remote add atlasflow https://atlasflow.localhost:8443/git/blog\n"));
  EXPECT_THAT(made.out, HasSubstr("git push atlasflow main\n"));
  EXPECT_THAT(run(ProjectShowCommand{"blog", false}).out, HasSubstr("no token yet"));
  const auto token = run(ProjectPushTokenCommand{"blog", false, false});
  EXPECT_EQ(token.code, 0) << token.err;
  EXPECT_THAT(token.out, MatchesRegex("afp_[A-Za-z0-9_-]+\n"));
  EXPECT_THAT(token.err, HasSubstr("it is not shown again"));
  const auto show = run(ProjectShowCommand{"blog", false}).out;
  EXPECT_THAT(show, HasSubstr("https://atlasflow.localhost:8443/git/blog\n"));
  EXPECT_THAT(show, Not(HasSubstr("afp_")));
  EXPECT_EQ(run(ProjectPushTokenCommand{"blog", true, false}).code, 0);
}
}  // namespace
}  // namespace atlasflow::cli
