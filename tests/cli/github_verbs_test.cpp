// The verbs of the GitHub App over the real API, with a GitHub on loopback.
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/verbs.hpp"
#include "tests/api/api_fixture.hpp"
#include "tests/github/local_github.hpp"

namespace atlasflow::cli {
namespace {

using github::LocalGitHub;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

class GitHubVerbs : public api::testing::ApiTest {
 protected:
  GitHubVerbs() {
    config_.connected_app = &connected_;
    config_.domain = "example.com";
    std::ofstream(key_file()) << github_.private_key();
    std::ofstream(secret_file()) << LocalGitHub::k_webhook_secret << "\n";
  }
  ~GitHubVerbs() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  [[nodiscard]] std::string key_file() const { return folder_.path() / "key.pem"; }
  [[nodiscard]] std::string secret_file() const { return folder_.path() / "secret"; }
  [[nodiscard]] GitHubConnectCommand by_key() const {
    GitHubConnectCommand command;
    command.app_id = LocalGitHub::k_app_id;
    command.private_key_file = key_file();
    command.webhook_secret_file = secret_file();
    command.base_url = github_.base_url();
    return command;
  }
  template <typename Command>
  Ran run(const Command& command, const std::string& input = {}) {
    start();
    std::istringstream in(input);
    std::ostringstream out;
    std::ostringstream err;
    ApiClient api(config_.socket);
    const int code = cli::run(command, api, Terminal{in, out, err});
    return {code, out.str(), err.str()};
  }

  LocalGitHub github_;
  github::ConnectedApp connected_;
};

TEST_F(GitHubVerbs, an_app_is_connected_by_its_key_and_shown) {
  auto ran = run(GitHubStatusCommand{});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("No GitHub App is connected"));

  ran = run(by_key());
  ASSERT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Connected the GitHub App atlasflow-test (12345)"),
                             HasSubstr("/apps/atlasflow-test/installations/new"),
                             Not(HasSubstr("Secret")), Not(HasSubstr("PRIVATE"))));
  // Without the line break at the file's end.
  EXPECT_TRUE(control_.github_webhook_secret().is(LocalGitHub::k_webhook_secret));

  ran = run(GitHubStatusCommand{});
  EXPECT_EQ(ran.code, 0) << ran.out;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("atlasflow-test (12345) on http://127.0.0.1:"),
                             HasSubstr("SHA256:"), HasSubstr("no delivery within three days")));
}

TEST_F(GitHubVerbs, what_is_missing_is_shown_and_is_exit_code_1) {
  ASSERT_EQ(run(by_key()).code, 0);
  control_.add_project("site");
  pb::Event connected;
  connected.mutable_repository_connected()->set_url(github_.base_url() + "/octo/site.git");
  control_.append(project_stream(ProjectId("site")), {connected});
  const auto ran = run(GitHubStatusCommand{});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("site     octo/site   no"),
                             HasSubstr("! the GitHub App is not installed on octo/site")));
}

TEST_F(GitHubVerbs, a_wrong_key_file_is_exit_code_2_and_not_shown) {
  std::ofstream(key_file()) << "-----BEGIN OPENSSH PRIVATE KEY-----\nsentinel\n";
  auto ran = run(by_key());
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err,
              AllOf(HasSubstr("the private key is one for SSH"), Not(HasSubstr("sentinel"))));
  auto missing = by_key();
  missing.private_key_file = folder_.path() / "nothing";
  EXPECT_EQ(run(missing).code, 2);
  auto both = by_key();
  both.private_key_file = both.webhook_secret_file = "-";
  ran = run(both, "x");
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("only one of the two"));
}

TEST_F(GitHubVerbs, without_a_key_the_page_to_open_is_printed) {
  GitHubConnectCommand command;
  command.base_url = github_.base_url();
  const auto ran = run(command);
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("https://example.com:8443/github/connect/"));
}

TEST_F(GitHubVerbs, disconnecting_asks_first) {
  EXPECT_EQ(run(GitHubDisconnectCommand{true}).code, 2);
  ASSERT_EQ(run(by_key()).code, 0);
  EXPECT_EQ(run(GitHubDisconnectCommand{false}, "no\n").code, 1);
  EXPECT_NE(connected_.get(), nullptr);
  EXPECT_EQ(run(GitHubDisconnectCommand{false}, "yes\n").code, 0);
  EXPECT_EQ(connected_.get(), nullptr);
}

}  // namespace
}  // namespace atlasflow::cli
