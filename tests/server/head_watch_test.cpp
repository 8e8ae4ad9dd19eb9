// Branches' heads compared with the known pushes, over a GitHub on loopback.
#include "server/head_watch.hpp"

#include <algorithm>
#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/api/plane_app.hpp"
#include "tests/github/local_github.hpp"

namespace atlasflow::server {
namespace {

using github::LocalGitHub;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto k_interval = std::chrono::milliseconds(20);

std::string commit(char digit) { return std::string(40, digit); }

class Heads : public testing::Test {
 protected:
  Heads() {
    static_cast<void>(control_.execute(
        Principal::user(),
        commands::ConnectGitHubApp{LocalGitHub::k_app_id, "atlasflow-test", github_.base_url(),
                                   "SHA256:x", Secret(github_.private_key()), Secret("hook")}));
    control_.then["take_push"] = [this] { record_newest(); };
  }
  ~Heads() override {
    watch_.reset();
    EXPECT_THAT(github_.violations(), IsEmpty());
  }

  void start(std::int64_t pause_s = 0) {
    watch_ = std::make_unique<HeadWatch>(control_, connected_, health_,
                                         HeadWatchTimes{k_interval, pause_s});
  }
  // By its URL; secret: it has a webhook by hand.
  void connect(const std::string& project, const std::string& repository = "octo/web",
               const std::string& branch = "", const std::string& secret = "") {
    control_.add_project(project, secret);
    pb::Event connected;
    auto& event = *connected.mutable_repository_connected();
    event.set_url(github_.base_url() + "/" + repository + ".git");
    event.set_branch(branch);
    if (!secret.empty()) event.set_webhook_secret_ref("sealed");
    control_.append(project_stream(ProjectId(project)), {connected});
  }
  void set_head(const std::string& sha, const std::string& branch = "main",
                const std::string& repository = "octo/web") const {
    github_.control({{"heads", {{repository + " " + branch, sha}}}});
  }
  void push(const std::string& id, const std::string& project, const std::string& sha,
            pb::Trigger trigger = pb::TRIGGER_WEBHOOK) {
    Push told{.trigger = trigger, .ref = "refs/heads/main", .after = sha, .pushed_at_s = 1'000};
    record(id, project, told);
  }
  void record(const std::string& id, const std::string& project, const Push& push) {
    pb::Event event;
    *event.mutable_push_received() =
        push_received(push, control_.catalog().project_named(project)->state, "production");
    control_.append_to(id, event);
  }
  // As the control plane does with a push that is news.
  void record_newest() {
    const auto pushes = control_.asked<commands::TakePush>();
    const auto& push = pushes.back().push;
    if (records_) record("found" + std::to_string(pushes.size()), push.signed_for.at(0), push);
  }
  template <typename Condition>
  [[nodiscard]] static bool eventually(const Condition& condition) {
    for (int i = 0; i < 1'000 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return condition();
  }
  [[nodiscard]] std::vector<Push> told() const {
    std::vector<Push> pushes;
    for (const auto& each : control_.asked<commands::TakePush>()) pushes.push_back(each.push);
    return pushes;
  }
  // Returns once so many looks at it have been made from now on.
  [[nodiscard]] bool looks(std::size_t count, const std::string& path = "/repos/octo/web") const {
    const auto before = github_.count_of("GET", path);
    return eventually([&] { return github_.count_of("GET", path) >= before + count; });
  }
  // As `atlasflow status` shows it.
  [[nodiscard]] std::string shown() const {
    const auto parts = health_.parts();
    return parts.empty() ? "nothing" : parts[0].state + ": " + parts[0].detail;
  }

  LocalGitHub github_;
  api::testing::RecordingControlPlane control_;
  api::testing::PlaneApp connected_{control_};
  GitHubHealth health_;
  std::unique_ptr<HeadWatch> watch_;
  std::atomic<bool> records_ = true;
};

TEST_F(Heads, a_push_that_nobody_told_of_is_told_once) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('b'));
  start();
  ASSERT_TRUE(eventually([&] { return told().size() == 1; }));
  const auto push = told()[0];
  EXPECT_EQ(push.before, commit('a'));
  EXPECT_EQ(push.after, commit('b'));
  EXPECT_EQ(push.ref, "refs/heads/main");
  EXPECT_GT(push.inferred_at_s, 1'000);
  EXPECT_THAT(push.signed_for, testing::ElementsAre("web"));
  ASSERT_TRUE(looks(5));
  EXPECT_EQ(told().size(), 1U);
  EXPECT_THAT(shown(), AllOf(HasSubstr("degraded"), HasSubstr("no webhook told"),
                             HasSubstr("bbbbbbb"), HasSubstr("Advanced")));
  this->push("d2", "web", commit('c'));
  set_head(commit('c'));
  EXPECT_TRUE(eventually([&] { return shown().starts_with("ok"); })) << shown();
  EXPECT_EQ(told().size(), 1U);
}

TEST_F(Heads, what_has_not_changed_costs_nothing_of_the_limit) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('a'));
  start();
  ASSERT_TRUE(looks(4));
  watch_.reset();
  std::size_t unconditional = 0;
  for (const auto& each : github_.asked()) unconditional += each.conditional ? 0 : 1;
  EXPECT_EQ(unconditional, 4U) << "where it is installed, the token, and each answer once";
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_THAT(shown(), HasSubstr("ok"));
}

TEST_F(Heads, a_head_that_is_not_there_long_enough_is_left_to_its_delivery) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('b'));
  start(3600);
  ASSERT_TRUE(looks(5));
  EXPECT_THAT(told(), IsEmpty());
}

// Whatever became of its deployment, and whoever asked for it.
TEST_F(Heads, what_is_known_is_not_deployed_in_a_loop) {
  connect("web");
  push("d1", "web", commit('a'));
  control_.fail_deployment("d1");
  set_head(commit('a'));
  connect("by-hand", "octo/api", "release");
  push("d2", "by-hand", commit('c'));
  push("d3", "by-hand", commit('d'), pb::TRIGGER_COMMAND);
  set_head(commit('d'), "release", "octo/api");
  connect("fresh");  // nobody has pushed to it
  start();
  ASSERT_TRUE(looks(5));
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(Heads, a_branch_that_is_gone_deploys_nothing) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head("");
  start();
  ASSERT_TRUE(looks(5));
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(Heads, what_the_control_plane_does_not_take_is_told_again) {
  records_ = false;
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('b'));
  start();
  ASSERT_TRUE(eventually([&] { return told().size() >= 2; }));
  records_ = true;
  ASSERT_TRUE(looks(5));
  const auto count = told().size();
  ASSERT_TRUE(looks(5));
  EXPECT_EQ(told().size(), count);
  EXPECT_EQ(told().front().delivery_id, told().back().delivery_id) << "the same finding";
}

TEST_F(Heads, trouble_at_github_is_waited_out_ever_longer_and_shown) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('b'));
  github_.fail_next("/repos/octo/web", 502, json::object(), json::object(), 3);
  start();
  ASSERT_TRUE(
      eventually([&] { return shown().find("fails with status 502") != std::string::npos; }));
  EXPECT_THAT(shown(), HasSubstr("missed pushes are not looked for"));
  EXPECT_TRUE(eventually([&] { return told().size() == 1; }));
}

TEST_F(Heads, a_rate_limit_silences_every_look_until_it_is_over) {
  connect("web");
  connect("api", "octo/api");
  github_.fail_next("/repos/octo/(web|api)", 429, {{"Retry-After", "3600"}}, json::object(), 100);
  start();
  ASSERT_TRUE(eventually([&] { return shown().find("limit of requests") != std::string::npos; }));
  std::this_thread::sleep_for(10 * k_interval);
  EXPECT_EQ(github_.count_of("GET", "/repos/octo/web") + github_.count_of("GET", "/repos/octo/api"),
            1U);
}

TEST_F(Heads, where_the_app_may_not_look_is_shown_and_the_others_go_on) {
  connect("site", "octo/site");                   // the App is not installed there
  connect("plain", "octo/site", "", "a secret");  // and need not be: it has a webhook
  connect("elsewhere", "octo/web");
  pb::Event moved;
  moved.mutable_repository_connected()->set_url("https://git.example.com/octo/web.git");
  control_.append(project_stream(ProjectId("elsewhere")), {moved});
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('b'));
  start();
  ASSERT_TRUE(eventually([&] { return told().size() == 1; }));
  ASSERT_TRUE(looks(2));
  EXPECT_THAT(shown(), AllOf(HasSubstr("not installed on octo/site"), HasSubstr("and 1 more")));
  for (const auto& each : control_.asked<commands::FollowRepository>()) {
    EXPECT_EQ(each.project, "web");
  }
}

TEST_F(Heads, a_suspended_installation_says_what_to_do_until_it_is_resumed) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('b'));
  github_.control({{"suspend", 42}});
  start();
  ASSERT_TRUE(eventually([&] { return shown().find("suspended") != std::string::npos; }));
  EXPECT_THAT(shown(), HasSubstr("unsuspend it on GitHub"));
  github_.control({{"unsuspend", 42}});
  EXPECT_TRUE(eventually([&] { return told().size() == 1; }));
}

TEST_F(Heads, a_renamed_repository_is_followed_and_found_pushes_go_on) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('a'));
  start();
  const auto state = [&] { return control_.catalog().project_named("web")->state; };
  ASSERT_TRUE(eventually([&] { return state().repository_id == 7; }));
  EXPECT_EQ(state().repository_url, github_.base_url() + "/octo/web.git");
  set_head(commit('a'), "main", "octo/shop");
  github_.control({{"rename", {{"from", "octo/web"}, {"to", "octo/shop"}}}});
  ASSERT_TRUE(
      eventually([&] { return state().repository_url == github_.base_url() + "/octo/shop.git"; }));
  set_head(commit('b'), "main", "octo/shop");
  ASSERT_TRUE(eventually([&] { return told().size() == 1; }));
  EXPECT_THAT(told()[0].repository_urls,
              testing::ElementsAre(github_.base_url() + "/octo/shop.git"));
  EXPECT_EQ(control_.asked<commands::FollowRepository>().size(), 2U);
}

TEST_F(Heads, another_repository_under_the_same_name_is_neither_followed_nor_deployed) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('a'));
  start();
  ASSERT_TRUE(eventually(
      [&] { return control_.catalog().project_named("web")->state.repository_id == 7; }));
  github_.control(
      {{"identify", {{"repository", "octo/web"}, {"id", 70}}}, {"revoke_tokens", true}});
  set_head(commit('b'));
  ASSERT_TRUE(eventually([&] { return shown().find("another repository") != std::string::npos; }))
      << shown();
  ASSERT_TRUE(looks(3));
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(Heads, a_deleted_repository_is_shown_and_one_that_is_restored_goes_on) {
  connect("web");
  push("d1", "web", commit('a'));
  set_head(commit('a'));
  start();
  ASSERT_TRUE(looks(2));
  ASSERT_TRUE(
      control_.execute(Principal::webhook("github"), commands::RecordRepositoryDeletion{"web", 7}));
  ASSERT_TRUE(eventually([&] {
    return !control_.catalog().project_named("web")->state.repository_deleted;
  })) << "it is there, whatever a late delivery says";
  github_.control({{"uninstall", "octo/web"}, {"revoke_tokens", true}});
  ASSERT_TRUE(eventually([&] { return shown().find("not installed") != std::string::npos; }));
  ASSERT_TRUE(
      control_.execute(Principal::webhook("github"), commands::RecordRepositoryDeletion{"web", 7}));
  ASSERT_TRUE(eventually([&] { return shown().find("was deleted") != std::string::npos; }));
  EXPECT_THAT(shown(), HasSubstr("atlasflow project delete web"));
}

TEST_F(Heads, more_projects_than_one_look_asks_for_come_in_turn) {
  for (std::size_t i = 0; i <= k_heads_max; ++i) connect("web-" + std::to_string(i));
  start();
  EXPECT_TRUE(eventually([&] {
    const auto projects = control_.catalog().projects();
    return std::all_of(projects.begin(), projects.end(),
                       [](const auto& view) { return view.state.repository_id == 7; });
  }));
}

TEST_F(Heads, without_an_app_nothing_is_asked_or_shown) {
  connect("web");
  static_cast<void>(control_.execute(Principal::user(), commands::DisconnectGitHubApp{}));
  start();
  std::this_thread::sleep_for(5 * k_interval);
  EXPECT_THAT(github_.asked(), IsEmpty());
  EXPECT_EQ(shown(), "nothing");
}

}  // namespace
}  // namespace atlasflow::server
