// A private repository goes live as a GitHub App lets it, and nothing of the App's is ever to be
// seen.

#include <gmock/gmock.h>
#include <signal.h>

#include "tests/end_to_end/server_fixture.hpp"
#include "tests/github/local_github.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

namespace fs = std::filesystem;

const std::string k_zeros(40, '0');

class GitHubApp : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    if (IsSkipped()) return;
    write_file(folder() / "key.pem", github_.private_key());
    write_file(folder() / "app-secret", github::LocalGitHub::k_webhook_secret);
  }
  void TearDown() override {
    ServerFixture::TearDown();
    EXPECT_THAT(github_.violations(), IsEmpty());
  }

  Ran connect() {
    return atlasflow({"github", "connect", "--app-id",
                      std::to_string(github::LocalGitHub::k_app_id), "--private-key-file",
                      (folder() / "key.pem").string(), "--webhook-secret-file",
                      (folder() / "app-secret").string(), "--base-url", github_.base_url()});
  }
  [[nodiscard]] std::string url() const { return github_.base_url() + "/octo/web.git"; }

  // Files of the state folder and the server's log that hold the text.
  std::vector<std::string> files_with(const std::string& text) {
    std::vector<std::string> found;
    std::error_code error;
    for (const auto& entry : fs::recursive_directory_iterator(state_dir(), error)) {
      if (entry.is_regular_file(error) && read_file(entry.path()).find(text) != std::string::npos) {
        found.push_back(entry.path());
      }
    }
    if (server_log().find(text) != std::string::npos) found.push_back("the server's log");
    return found;
  }

  // What GitHub was told of a deployment.
  std::vector<std::string> states(const std::string& id, const std::string& sha) {
    std::vector<std::string> found;
    for (const auto& each : github_.deployments()) {
      EXPECT_EQ(each["payload"].value("atlasflow_deployment", ""), id);
      EXPECT_EQ(each.value("sha", ""), sha);
      for (const auto& status : each["statuses"]) found.push_back(status["state"]);
    }
    return found;
  }

  github::LocalGitHub github_;
};

TEST_F(GitHubApp, a_private_repository_goes_live_by_a_push_that_the_app_signs) {
  const auto sha = github_.make_repository("octo/web");
  start_server();
  create_project("web", url());
  // Nobody may clone it yet, and the user reads what to do.
  auto ran = atlasflow({"deploy", "web"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("atlasflow github connect"));

  ran = connect();
  ASSERT_EQ(ran.code, 0) << ran.err;
  const auto id = deployment_in(push(k_zeros, sha, url()));
  EXPECT_TRUE(eventually(240s, [&] { return deployment("web", id).value("status", "") == "live"; }))
      << deployment("web", id).dump(2);
  EXPECT_THAT(seven_of("web", id), ElementsAreArray(k_seven));
  EXPECT_EQ(get("web." + k_domain).body, "hello\n");

  // The page of the commit shows each step and where it runs.
  EXPECT_TRUE(eventually(20s, [&] { return states(id, sha).size() == 3; }));
  EXPECT_THAT(states(id, sha), ElementsAre("queued", "in_progress", "success"));

  // Neither token nor key nor secret is anywhere on the disk, and no event tells of them.
  ASSERT_THAT(github_.tokens(), Not(IsEmpty()));
  for (const auto& token : github_.tokens()) EXPECT_THAT(files_with(token), IsEmpty());
  EXPECT_THAT(files_with("BEGIN RSA PRIVATE KEY"), IsEmpty());
  EXPECT_THAT(files_with(github_.private_key().substr(100, 40)), IsEmpty());
  EXPECT_THAT(files_with(github::LocalGitHub::k_webhook_secret), IsEmpty());

  ran = atlasflow({"github", "status"});
  EXPECT_EQ(ran.code, 1) << ran.out;  // Its webhook leads to example.com.
  EXPECT_THAT(ran.out, HasSubstr("web      octo/web    yes"));
  EXPECT_THAT(ran.out, HasSubstr("GitHub delivers to another URL"));
}

TEST_F(GitHubApp, a_server_that_is_killed_while_it_reports_goes_on_where_it_was) {
  const auto sha = github_.make_repository("octo/web");
  start_server({{"ATLASFLOW_TEST_CRASH_AFTER", "GitHubTold"}});
  create_project("web", url());
  ASSERT_EQ(connect().code, 0);
  const auto id = deployment_in(push(k_zeros, sha, url()));
  ASSERT_EQ(signal_that_ended_server(), SIGKILL);
  start_server();
  EXPECT_TRUE(eventually(240s, [&] { return states(id, sha).size() == 3; }));
  EXPECT_THAT(states(id, sha), ElementsAre("queued", "in_progress", "success"));
  EXPECT_EQ(github_.deployments().size(), 1U);
}

TEST_F(GitHubApp, a_server_that_is_killed_when_it_is_recorded_has_it_at_its_next_start) {
  const auto sha = github_.make_repository("octo/web");
  start_server({{"ATLASFLOW_TEST_CRASH_AFTER", "GitHubAppConnected"}});
  create_project("web", url());
  static_cast<void>(connect());  // The answer is lost with the server.
  ASSERT_EQ(signal_that_ended_server(), SIGKILL);

  start_server();
  EXPECT_THAT(atlasflow({"github", "status"}).out, HasSubstr("atlasflow-test (12345)"));
  EXPECT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
  EXPECT_EQ(get("web." + k_domain).body, "hello\n");

  ASSERT_EQ(atlasflow({"github", "disconnect", "--yes"}).code, 0);
  kill_server();
  start_server();
  EXPECT_THAT(atlasflow({"github", "status"}).out, HasSubstr("No GitHub App is connected"));
  EXPECT_THAT(atlasflow({"deploy", "web"}).err, HasSubstr("atlasflow github connect"));
  EXPECT_EQ(push(k_zeros, sha, url()).status, 401);
}

}  // namespace
}  // namespace atlasflow::end_to_end
