// What the page of a commit on GitHub shows, told by the real reporter over a log.
#include "server/github_reporter.hpp"

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
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Reporting : public testing::Test {
 protected:
  Reporting() {
    control_.set_now(std::chrono::duration_cast<std::chrono::microseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count());
    static_cast<void>(control_.execute(
        Principal::user(),
        commands::ConnectGitHubApp{LocalGitHub::k_app_id, "atlasflow-test", github_.base_url(),
                                   "SHA256:x", Secret(github_.private_key()), Secret("hook")}));
  }
  ~Reporting() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  void start(std::chrono::milliseconds pause = std::chrono::milliseconds(20)) {
    reporter_ = std::make_unique<GitHubReporter>(control_, connected_,
                                                 api::PublicAddress{"example.com", 8443},
                                                 std::chrono::milliseconds(10), pause);
  }
  void push(const std::string& id, const std::string& repository = "octo/web",
            const std::string& environment = "production") {
    pb::Event event;
    auto& received = *event.mutable_push_received();
    received.set_project_id("web");
    received.set_project_name("web");
    received.set_environment(environment);
    received.set_ref("refs/heads/main");
    received.set_repository_url(github_.base_url() + "/" + repository + ".git");
    received.set_after(std::string(40, 'a'));
    control_.append_to(id, event);
  }
  void clone(const std::string& id) {
    pb::Event event;
    event.mutable_clone_started();
    control_.append_to(id, event);
  }
  void fail_for(const std::string& id, const std::string& reason) {
    pb::Event event;
    event.mutable_deployment_failed()->set_reason(reason);
    control_.append_to(id, event);
  }
  // "queued", "success", … of the deployment, as GitHub has them.
  [[nodiscard]] std::vector<std::string> states(const std::string& id) const {
    std::vector<std::string> found;
    for (const auto& each : github_.deployments()) {
      if (each["payload"].value("atlasflow_deployment", "") != id) continue;
      for (const auto& status : each["statuses"]) found.push_back(status["state"]);
    }
    return found;
  }
  template <typename Condition>
  [[nodiscard]] static bool eventually(const Condition& condition) {
    for (int i = 0; i < 1'000 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return condition();
  }
  [[nodiscard]] std::size_t records_of(pb::Event::KindCase kind) const {
    std::size_t count = 0;
    static_cast<void>(control_.log().read_all(Position{1}, [&](const storage::Record& record) {
      if (record.event.kind_case() == kind) ++count;
      return true;
    }));
    return count;
  }

  LocalGitHub github_;
  api::testing::RecordingControlPlane control_;
  api::testing::PlaneApp connected_{control_};
  std::unique_ptr<GitHubReporter> reporter_;
};

TEST_F(Reporting, a_commit_shows_each_step_and_where_it_runs) {
  start();
  push("d1");
  clone("d1");
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 2; }));
  control_.make_live("d1");
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 3; }));
  EXPECT_THAT(states("d1"), ElementsAre("queued", "in_progress", "success"));
  const auto made = github_.deployments();
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0]["environment"], "web/production");
  EXPECT_EQ(made[0]["production"], true);
  EXPECT_EQ(made[0]["statuses"][2]["environment_url"], "https://web.example.com:8443");
  EXPECT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 3; }));
}

TEST_F(Reporting, a_failure_shows_its_reason_in_140_characters) {
  push("d1");
  fail_for("d1", std::string(500, 'x'));
  start();
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 2; }));
  EXPECT_THAT(states("d1"), ElementsAre("queued", "failure"));
  EXPECT_EQ(github_.deployments()[0]["statuses"][1]["description"], std::string(139, 'x') + "…");
}

TEST_F(Reporting, a_preview_is_transient) {
  push("d1", "octo/web", "preview/feature");
  start();
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 1; }));
  EXPECT_EQ(github_.deployments()[0]["transient"], true);
  EXPECT_EQ(github_.deployments()[0]["production"], false);
}

// As if it had died after GitHub's answer and before the record, at each of them.
TEST_F(Reporting, one_that_dies_between_telling_and_recording_goes_on_and_makes_nothing_twice) {
  push("d1");
  clone("d1");
  control_.report_outcome = fail(ErrorCode::unavailable, "it died");
  start(std::chrono::hours(1));
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 1; }));
  reporter_.reset();
  control_.report_outcome = {};
  fail_for("d1", "x");
  start();
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 4; }));
  EXPECT_THAT(states("d1"), ElementsAre("queued", "queued", "in_progress", "failure"));
  EXPECT_EQ(github_.deployments().size(), 1U);
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 3; }));
  // One that starts anew has nothing to tell.
  reporter_.reset();
  const auto before = github_.asked().size();
  start();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(github_.asked().size(), before);
}

TEST_F(Reporting, trouble_at_github_delays_and_loses_nothing) {
  github_.fail_next("/repos/octo/web/deployments", 502, json::object(), json::object(), 2);
  github_.fail_next("/repos/octo/web/deployments/.*", 0);
  push("d1");
  clone("d1");
  start();
  EXPECT_TRUE(eventually([&] { return states("d1").size() == 2; }));
  EXPECT_THAT(states("d1"), ElementsAre("queued", "in_progress"));
  EXPECT_EQ(github_.deployments().size(), 1U);
}

TEST_F(Reporting, what_could_not_be_told_for_three_days_is_given_up) {
  control_.set_now(1'700'000'000'000'000);
  github_.fail_next("/repos/octo/web/deployments", 502, json::object(), json::object(), 99);
  push("d1");
  start();
  EXPECT_TRUE(eventually([&] { return records_of(pb::Event::kGithubNotTold) == 1; }));
}

TEST_F(Reporting, github_is_left_alone_for_as_long_as_it_wants) {
  github_.fail_next("/repos/octo/web/deployments", 429, {{"Retry-After", "2"}});
  push("d1");
  const auto began = std::chrono::steady_clock::now();
  start();
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 1; }));
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(1'000));
  // One that was refused, and one that found nothing.
  EXPECT_EQ(github_.count_of("GET", "&sha=" + std::string(40, 'a')), 2U);
}

TEST_F(Reporting, what_github_will_not_hear_is_recorded_and_holds_up_no_other) {
  push("d1", "octo/none");
  clone("d1");
  push("d2");
  start();
  EXPECT_TRUE(eventually([&] { return states("d2").size() == 1; }));
  EXPECT_EQ(records_of(pb::Event::kGithubNotTold), 1U);
}

TEST_F(Reporting, without_an_app_github_is_asked_for_nothing) {
  static_cast<void>(control_.execute(Principal::user(), commands::DisconnectGitHubApp{}));
  push("d1");
  start();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_THAT(github_.asked(), IsEmpty());
}

}  // namespace
}  // namespace atlasflow::server
