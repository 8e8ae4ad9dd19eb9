// The verbs project … over the real API, whose control plane records what it is asked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/verbs.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;

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

}  // namespace
}  // namespace atlasflow::cli
