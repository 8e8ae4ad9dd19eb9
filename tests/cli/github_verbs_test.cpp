// The verbs of the GitHub App over the real API, with a GitHub on loopback.
#include <fstream>
#include <mutex>
#include <sstream>
#include <streambuf>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/http_client.hpp"
#include "cli/verbs.hpp"
#include "tests/api/plane_app.hpp"
#include "tests/cli/verb_test.hpp"
#include "tests/github/local_github.hpp"

namespace atlasflow::cli {
namespace {

using github::LocalGitHub;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class GitHubVerbs : public VerbTest {
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
  LocalGitHub github_;
  api::testing::PlaneApp connected_{control_};
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

  EXPECT_EQ(run(GitHubStatusCommand{true}).code, 0);
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
  EXPECT_EQ(run(GitHubStatusCommand{true}).code, 1);
  const auto ran = run(GitHubStatusCommand{});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("site     octo/site   no"),
                             HasSubstr("! the GitHub App is not installed on octo/site")));
}

TEST_F(GitHubVerbs, what_github_did_not_say_is_neither_yes_nor_no) {
  ASSERT_EQ(run(by_key()).code, 0);
  control_.add_project("web");
  pb::Event connected;
  connected.mutable_repository_connected()->set_url(github_.base_url() + "/octo/web.git");
  control_.append(project_stream(ProjectId("web")), {connected});
  github_.fail_next("/repos/.*", 502);
  const auto ran = run(GitHubStatusCommand{});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out,
              AllOf(HasSubstr("web      octo/web    ?"), HasSubstr("fails with status 502")));
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

// What a verb prints, read while it runs.
class SharedBuffer final : public std::streambuf {
 public:
  [[nodiscard]] std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 protected:
  int_type overflow(int_type c) override {
    const std::lock_guard lock(mutex_);
    text_ += static_cast<char>(c);
    return c;
  }
  std::streamsize xsputn(const char* bytes, std::streamsize count) override {
    const std::lock_guard lock(mutex_);
    text_.append(bytes, static_cast<std::size_t>(count));
    return count;
  }

 private:
  mutable std::mutex mutex_;
  std::string text_;
};

// A verb that waits, and the browser's part meanwhile.
class WaitingVerb : public GitHubVerbs {
 protected:
  ~WaitingVerb() override { EXPECT_FALSE(verb_.joinable()); }

  // Until the page's URL is printed; returns the state.
  std::string begin(bool as_json = false) {
    start();
    verb_ = std::jthread([this, as_json] {
      GitHubConnectCommand command;
      command.base_url = github_.base_url();
      command.wait = true;
      command.json = as_json;
      std::istringstream in;
      std::ostream out(&out_);
      std::ostream err(&err_);
      ApiClient api(config_.socket);
      code_ = cli::run(command, api, Terminal{in, out, err});
    });
    const std::string mark = "/github/connect/";
    for (int i = 0; i < 500; ++i) {
      const auto text = as_json ? err_.text() : out_.text();
      const auto at = text.find(mark);
      if (at != std::string::npos && text.ends_with('\n')) return text.substr(at + mark.size(), 64);
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "no page is printed: " << out_.text() << err_.text();
    return {};
  }
  // The button at GitHub; returns the code.
  std::string press_button(const std::string& state) {
    HttpRequest form;
    form.method = "POST";
    form.url = github_.base_url() + "/settings/apps/new?state=" + state;
    form.fields = {{"Content-Type", "application/x-www-form-urlencoded"}};
    form.body =
        "manifest=%7B%22url%22%3A%22x%22%2C%22redirect_url%22%3A%22http%3A%2F%2Fx%22%2C%22hook_"
        "attributes%22%3A%7B%22url%22%3A%22x%22%7D%7D";
    const auto sent_on = send_http(form);
    const std::string location(sent_on ? sent_on->field("Location") : "");
    const auto at = location.find("code=");
    EXPECT_NE(at, std::string::npos) << location;
    return location.substr(at + 5, location.find('&') - at - 5);
  }
  void come_back(const std::string& state, const std::string& code) {
    HttpRequest created;
    created.url = "http://127.0.0.1:" + std::to_string(api_->webhook_port()) +
                  "/github/created?code=" + code + "&state=" + state;
    EXPECT_TRUE(send_http(created));
  }
  Ran end() {
    verb_.join();
    return {code_, out_.text(), err_.text()};
  }

  SharedBuffer out_;
  SharedBuffer err_;
  int code_ = -1;
  std::jthread verb_;
};

TEST_F(WaitingVerb, ends_when_its_page_s_app_is_connected_and_asks_github_for_nothing) {
  // The one that is replaced is no answer, however much of it changes.
  ASSERT_EQ(run(by_key()).code, 0);
  const auto before = github_.asked().size();
  const auto state = begin();
  std::this_thread::sleep_for(std::chrono::milliseconds(2'500));  // a look or two
  EXPECT_THAT(out_.text(), Not(HasSubstr("Connected")));
  come_back(state, press_button(state));
  const auto ran = end();
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Connected the GitHub App atlasflow-test (12345)"));
  // The form, and the exchange.
  EXPECT_EQ(github_.asked().size(), before + 2);
}

TEST_F(WaitingVerb, prints_nothing_but_its_app_as_json) {
  const auto state = begin(true);
  EXPECT_THAT(out_.text(), IsEmpty());
  come_back(state, press_button(state));
  const auto ran = end();
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto app = nlohmann::json::parse(ran.out, nullptr, false);
  ASSERT_TRUE(app.is_object()) << ran.out;
  EXPECT_EQ(app["slug"], "atlasflow-test");
}

TEST_F(WaitingVerb, ends_when_there_will_be_no_app) {
  const auto state = begin();
  come_back(state, "spent");
  const auto ran = end();
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("was used before, or is older than an hour"));
}

TEST_F(WaitingVerb, tells_of_a_failure_that_may_pass_and_waits_on) {
  control_.app_is_recorded = false;
  control_.app_outcome = fail(ErrorCode::disk_full, "there is no room");
  const auto state = begin();
  const auto code = press_button(state);
  come_back(state, code);
  for (int i = 0; i < 500 && err_.text().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_THAT(err_.text(), HasSubstr("there is no room; load the page in the browser again"));
  control_.app_is_recorded = true;
  control_.app_outcome = {};
  come_back(state, code);
  EXPECT_EQ(end().code, 0);
}

TEST_F(GitHubVerbs, disconnecting_asks_first) {
  EXPECT_EQ(run(GitHubDisconnectCommand{true}).code, 2);
  ASSERT_EQ(run(by_key()).code, 0);
  EXPECT_EQ(run(GitHubDisconnectCommand{false}, "no\n").code, 1);
  EXPECT_TRUE(control_.catalog().github_app().state.is_connected());
  EXPECT_EQ(run(GitHubDisconnectCommand{false}, "yes\n").code, 0);
  EXPECT_FALSE(control_.catalog().github_app().state.is_connected());
}

}  // namespace
}  // namespace atlasflow::cli
