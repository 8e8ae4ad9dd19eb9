// Heroku's way: a push by git to the server itself, through the edge, goes live; and one over which
// the server is killed does so, once.

#include <gmock/gmock.h>
#include <signal.h>

#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAreArray;
using testing::HasSubstr;

class GitPush : public ServerFixture {
 protected:
  // Made, with a token, before anything is pushed.
  void make_project() {
    const auto made = atlasflow({"project", "create", "web", "--git-push"});
    ASSERT_EQ(made.code, 0) << made.err;
    const auto token = atlasflow({"project", "push-token", "web"});
    ASSERT_EQ(token.code, 0) << token.err;
    token_ = token.out.substr(0, token.out.find('\n'));
  }

  // What git says, and how it ends.
  std::pair<int, std::string> git_push() {
    const auto port = std::to_string(https_port());
    const auto said = folder() / "git-push.txt";
    auto git = Process::start(
        {"/usr/bin/git", "-C", repository().folder().string(), "-c", "safe.directory=*", "-c",
         "http.curloptResolve=" + k_domain + ":" + port + ":127.0.0.1", "push",
         "https://ada:" + token_ + "@" + k_domain + ":" + port + "/git/web", "main"},
        {{"GIT_CONFIG_NOSYSTEM", "1"},
         {"HOME", "/nonexistent"},
         {"GIT_TERMINAL_PROMPT", "0"},
         {"GIT_SSL_CAINFO", ca_certificate().string()}},  // before http.sslCAInfo
        {}, said, said);
    const auto exit = git.wait(300s);
    return {exit ? exit->code : -1, read_file(said)};
  }

  std::string token_;
};

TEST_F(GitPush, a_push_to_the_server_itself_is_a_page_when_git_ends) {
  write_app("hello push\n");
  const auto sha = repository().commit_all("Say hello");
  start_server();
  make_project();
  const auto [code, said] = git_push();
  EXPECT_EQ(code, 0) << said;
  EXPECT_THAT(said,
              AllOf(HasSubstr("remote: Atlasflow: main at " + sha.substr(0, 7) + " is deployment"),
                    HasSubstr("remote: Atlasflow: the commit is checked out"),
                    HasSubstr("remote: Atlasflow: it is built"),
                    HasSubstr("remote: Atlasflow: live at https://web." + k_domain)));
  const auto page = get("web." + k_domain);
  EXPECT_EQ(page.status, 200) << page.error;
  EXPECT_EQ(page.body, "hello push\n");
  const auto list = atlasflow_json({"deployments", "web"}).at("deployments");
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].at("sha"), sha);
  EXPECT_EQ(list[0].at("requested_by"), "ada");
  EXPECT_THAT(seven_of("web", list[0].at("id")), ElementsAreArray(k_seven));
}

TEST_F(GitPush, one_that_the_server_was_killed_over_is_deployed_once) {
  write_app("hello again\n");
  const auto sha = repository().commit_all("Say hello");
  start_server({{"ATLASFLOW_TEST_CRASH_AFTER", "PushReceived"}});
  make_project();
  const auto [code, said] = git_push();
  EXPECT_NE(said, "");  // git was cut off, whatever it makes of that
  EXPECT_EQ(signal_that_ended_server(), SIGKILL);
  start_server();
  EXPECT_TRUE(eventually(240s, [&] { return get("web." + k_domain).body == "hello again\n"; }));
  const auto list = atlasflow_json({"deployments", "web"}).at("deployments");
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].at("sha"), sha);
}

}  // namespace
}  // namespace atlasflow::end_to_end
