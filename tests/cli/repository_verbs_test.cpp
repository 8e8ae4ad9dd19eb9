// The verbs of what a repository is opened with, over the real API.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/verbs.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class RepositoryVerbs : public VerbTest {
 protected:
  RepositoryVerbs() {
    control_.add_project("shop");
    control_.add_project("ssh", {}, "git@git.test:web");
  }
};

TEST_F(RepositoryVerbs, a_deploy_key_alone_is_on_standard_output) {
  auto ran = run(ProjectDeployKeyCommand{"ssh", false, false, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, ::testing::MatchesRegex("ssh-ed25519 [^\n]* atlasflow-ssh\n"));
  EXPECT_THAT(ran.err, HasSubstr("SHA256:"));
  EXPECT_EQ(run(ProjectDeployKeyCommand{"ssh", false, false, false}).out, ran.out);
  EXPECT_NE(run(ProjectDeployKeyCommand{"ssh", true, false, false}).out, ran.out);
  EXPECT_THAT(run(ProjectShowCommand{"ssh", false}).out, HasSubstr("Deploy key"));
  EXPECT_EQ(run(ProjectDeployKeyCommand{"ssh", false, true, false}).code, 0);
  ran = run(ProjectDeployKeyCommand{"shop", false, false, false});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("takes no SSH key"));
}

TEST_F(RepositoryVerbs, a_host_key_is_shown_and_accepted) {
  EXPECT_THAT(run(ProjectHostKeyCommand{"ssh", "", false}).out, HasSubstr("None yet"));
  const auto fingerprint = "SHA256:" + std::string(43, 'a');
  EXPECT_EQ(run(ProjectHostKeyCommand{"ssh", fingerprint, false}).code, 0);
  EXPECT_THAT(run(ProjectHostKeyCommand{"ssh", "", false}).out,
              ::testing::AllOf(HasSubstr("git.test"), HasSubstr(fingerprint)));
  const auto ran = run(ProjectHostKeyCommand{"ssh", "git", false});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("ssh-keygen -l"));
}

TEST_F(RepositoryVerbs, a_login_and_a_webhook_secret_come_from_files_and_are_not_shown) {
  auto ran = run(ProjectLoginCommand{"shop", "deploy", "-", false, false}, "hush hush\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("hush")));
  ASSERT_EQ(control_.asked<commands::SetRepositoryLogin>().size(), 1U);
  EXPECT_TRUE(control_.asked<commands::SetRepositoryLogin>()[0].password.is("hush hush"));
  EXPECT_THAT(run(ProjectShowCommand{"shop", false}).out, HasSubstr("user and token are set"));
  EXPECT_EQ(run(ProjectLoginCommand{"shop", "", "", true, false}).code, 0);
  ran = run(ProjectLoginCommand{"shop", "", "", false, false});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("--password-file"));

  ran = run(ProjectWebhookSecretCommand{"shop", "-", false, false}, "hush hush\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("hush")));
  ASSERT_EQ(control_.asked<commands::SetWebhookSecret>().size(), 1U);
  ran = run(ProjectWebhookSecretCommand{"shop", "", false, false});
  EXPECT_EQ(ran.code, 2);
  ran = run(ProjectWebhookSecretCommand{"shop", "", true, false});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("api.webhook_secret_file"));
}

}  // namespace
}  // namespace atlasflow::cli
