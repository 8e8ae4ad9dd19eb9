// What the page of a commit on GitHub shows, told by the real reporter over a log.
#include "server/github_reporter.hpp"

#include <atomic>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"
#include "tests/api/plane_app.hpp"
#include "tests/github/local_github.hpp"

// Long because: they share one reporter, its GitHub and what both are asked.
namespace atlasflow::server {
namespace {

using github::LocalGitHub;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// A log that can't be read, until it can.
class UnreadableLog final : public storage::ForwardingEventLog {
 public:
  UnreadableLog() : storage::ForwardingEventLog(storage::open_memory_event_log()) {}
  Result<void> read_all(Position,
                        const std::function<bool(const storage::Record&)>&) const override {
    const auto read = ++reads;
    return fail(ErrorCode::internal, read < 20 ? "the disk is gone" : "the disk is on fire");
  }
  mutable std::atomic<int> reads = 0;
};

class UnreadablePlane final : public api::testing::RecordingControlPlane {
 public:
  const storage::EventLog& log() const override { return log_; }
  [[nodiscard]] int reads() const { return log_.reads; }

 private:
  UnreadableLog log_;
};

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
  void push_to_pull_request(const std::string& id, const std::string& commit) {
    pb::Event event;
    auto& received = *event.mutable_push_received();
    received.set_project_id("web");
    received.set_project_name("web");
    received.set_environment("pull/7");
    received.set_ref("refs/pull/7/head");
    received.set_repository_url(github_.base_url() + "/octo/web.git");
    received.set_after(commit);
    received.mutable_pull_request()->set_number(7);
    control_.append_to(id, event);
  }
  [[nodiscard]] std::vector<std::string> commit_states() const {
    std::vector<std::string> found;
    for (const auto& each : github_.commit_statuses()) found.push_back(each["state"]);
    return found;
  }
  // What was recorded that GitHub would not hear.
  [[nodiscard]] std::vector<std::string> left_out() const {
    std::vector<std::string> found;
    static_cast<void>(control_.log().read_all(Position{1}, [&](const storage::Record& record) {
      for (const auto& sentence : record.event.github_told().left_out()) found.push_back(sentence);
      return true;
    }));
    return found;
  }
  [[nodiscard]] std::size_t comment_attempts() const {
    return github_.count_of("GET", "/issues/7/comments?per_page=100");
  }
  // "d1 queued", in the order of the log.
  [[nodiscard]] std::vector<std::string> told() const {
    std::vector<std::string> found;
    static_cast<void>(control_.log().read_all(Position{1}, [&](const storage::Record& record) {
      const auto& told = record.event.github_told();
      if (record.event.has_github_told()) {
        found.push_back(told.deployment() + " " + told.status());
      }
      return true;
    }));
    return found;
  }
  void clone(const std::string& id) {
    pb::Event event;
    event.mutable_clone_started();
    control_.append_to(id, event);
  }
  void fail_for(const std::string& id, const std::string& reason) {
    pb::Event event;
    event.mutable_deployment_failed()->set_step(pb::STEP_BUILD);
    event.mutable_deployment_failed()->set_fault(pb::FAULT_USER);
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

// A repository's page may be open to everybody, and the reason may quote the build.
TEST_F(Reporting, a_failure_shows_its_step_and_no_word_of_the_build) {
  push("d1");
  fail_for("d1", "step 'RUN make' failed: sentinel");
  start();
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 2; }));
  EXPECT_THAT(states("d1"), ElementsAre("queued", "failure"));
  EXPECT_EQ(github_.deployments()[0]["statuses"][1]["description"],
            "the build failed; the fault is the repository's or the app's");
  for (const auto& each : github_.asked()) EXPECT_THAT(each.body, Not(HasSubstr("sentinel")));
}

TEST_F(Reporting, a_preview_is_transient) {
  push("d1", "octo/web", "preview/feature");
  start();
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 1; }));
  EXPECT_EQ(github_.deployments()[0]["transient"], true);
  EXPECT_EQ(github_.deployments()[0]["production"], false);
}

TEST_F(Reporting, a_commit_has_a_status_of_its_deployment) {
  start();
  push("d1");
  clone("d1");
  control_.make_live("d1");
  ASSERT_TRUE(eventually([&] { return commit_states().size() == 3; }));
  EXPECT_THAT(commit_states(), ElementsAre("pending", "pending", "success"));
  const auto newest = github_.commit_statuses()[2];
  EXPECT_EQ(newest["context"], "atlasflow/web");
  EXPECT_EQ(newest["target_url"], "https://web.example.com:8443");
  EXPECT_THAT(github_.comments(), IsEmpty()) << "it is of no pull request";
}

TEST_F(Reporting, a_pull_request_has_one_comment_that_tells_of_its_newest_commit) {
  start();
  push_to_pull_request("d1", std::string(40, 'a'));
  control_.make_live("d1");
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 3; }));
  EXPECT_EQ(github_.deployments()[0]["environment"], "web/pull/7");
  EXPECT_EQ(github_.deployments()[0]["transient"], true);
  ASSERT_TRUE(eventually([&] { return github_.comments().size() == 1; }));
  EXPECT_TRUE(eventually([&] {
    return github_.comments()[0]["body"].get<std::string>().find(
               "https://pr-7-web.example.com:8443") != std::string::npos;
  }));
  push_to_pull_request("d2", std::string(40, 'b'));
  ASSERT_TRUE(eventually([&] {
    return github_.comments()[0]["body"].get<std::string>().find(std::string(40, 'b')) !=
           std::string::npos;
  }));
  // That the older one ends is no news.
  pb::Event event;
  event.mutable_deployment_retired()->set_reason("a newer deployment took over");
  control_.append_to("d1", event);
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 4; }));
  EXPECT_THAT(github_.comments()[0]["body"].get<std::string>(), HasSubstr(std::string(40, 'b')));
  EXPECT_EQ(github_.comments().size(), 1U);
}

TEST_F(Reporting, a_pull_requests_comment_tells_what_serves_while_a_newer_commit_does_not) {
  const auto comment = [&] {
    const auto all = github_.comments();
    return all.empty() ? std::string() : all[0]["body"].get<std::string>();
  };
  const auto shows = [&](const std::string& text) {
    return eventually([&] { return comment().find(text) != std::string::npos; });
  };
  start();
  push_to_pull_request("d1", std::string(40, 'a'));
  control_.make_live("d1");
  ASSERT_TRUE(shows("it is live"));
  EXPECT_THAT(comment(), Not(HasSubstr("Serves")));
  push_to_pull_request("d2", std::string(40, 'b'));
  ASSERT_TRUE(shows("it waits for its turn; an earlier commit is served meanwhile"));
  fail_for("d2", "x");
  ASSERT_TRUE(shows("the build failed"));
  EXPECT_THAT(comment(), HasSubstr("| Preview | https://pr-7-web.example.com:8443 |"));
  EXPECT_THAT(comment(), HasSubstr("| Serves | " + std::string(40, 'a') + ", deployment `d1` |"));
  EXPECT_THAT(comment(), HasSubstr("| Newest commit | " + std::string(40, 'b') + " |"));
  EXPECT_THAT(comment(), HasSubstr("| Its deployment | `d2` |"));
  // That what had served ends is news as long as nothing newer serves.
  pb::Event event;
  event.mutable_deployment_retired()->set_reason("its time is over");
  control_.append_to("d1", event);
  ASSERT_TRUE(shows("| Preview | none now |"));
  EXPECT_THAT(comment(), HasSubstr("the build failed"));
  EXPECT_THAT(comment(), HasSubstr("| Commit | " + std::string(40, 'b') + " |"));
}

TEST_F(Reporting, one_that_dies_after_the_comment_finds_it_again) {
  push_to_pull_request("d1", std::string(40, 'a'));
  control_.report_outcome = fail(ErrorCode::unavailable, "it died");
  start(std::chrono::hours(1));
  ASSERT_TRUE(eventually([&] { return github_.comments().size() == 1; }));
  reporter_.reset();
  control_.report_outcome = {};
  fail_for("d1", "x");
  start();
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 2; }));
  EXPECT_EQ(github_.comments().size(), 1U);
  EXPECT_THAT(github_.comments()[0]["body"].get<std::string>(), HasSubstr("the build failed"));
  EXPECT_THAT(commit_states().back(), "failure");
}

TEST_F(Reporting, what_the_app_may_not_write_is_left_out_and_recorded_with_what_to_do) {
  github_.control({{"permissions", {{"deployments", "write"}}}});
  push_to_pull_request("d1", std::string(40, 'a'));
  start();
  ASSERT_TRUE(eventually([&] { return left_out().size() == 2; }));
  EXPECT_THAT(states("d1"), ElementsAre("queued"));
  for (const auto& sentence : left_out()) EXPECT_THAT(sentence, HasSubstr("lacks a permission"));
  EXPECT_THAT(github_.comments(), IsEmpty());
}

TEST_F(Reporting, trouble_at_github_makes_no_second_comment) {
  github_.fail_next("/repos/octo/web/issues/7/comments", 502, json::object(), json::object(), 3);
  push_to_pull_request("d1", std::string(40, 'a'));
  start();
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 1; }));
  EXPECT_EQ(github_.comments().size(), 1U);
  EXPECT_EQ(github_.deployments().size(), 1U);
}

// Production's reports go on, and what GitHub has taken is not told again with each attempt.
TEST_F(Reporting,
       a_comment_that_fails_for_long_repeats_no_status_and_holds_up_no_other_environment) {
  github_.fail_next("/repos/octo/web/issues/7/comments", 502, json::object(), json::object(), 8);
  push_to_pull_request("d1", std::string(40, 'a'));
  push("d2");
  clone("d2");
  control_.make_live("d2");
  start(std::chrono::milliseconds(1));
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 4; }));
  reporter_.reset();
  EXPECT_EQ(github_.comments().size(), 1U);
  EXPECT_THAT(states("d1"), ElementsAre("queued"));
  EXPECT_THAT(states("d2"), ElementsAre("queued", "in_progress", "success"));
  EXPECT_EQ(commit_states().size(), 4U);
  EXPECT_THAT(told(), ElementsAre("d2 queued", "d2 in_progress", "d2 success", "d1 queued"))
      << "production did not wait for the comment";
  EXPECT_THAT(left_out(), IsEmpty());
}

TEST_F(Reporting,
       a_comment_that_could_not_be_told_for_three_days_is_left_out_and_the_rest_is_told) {
  control_.set_now(1'700'000'000'000'000);
  github_.fail_next("/repos/octo/web/issues/7/comments", 502, json::object(), json::object(), 99);
  push_to_pull_request("d1", std::string(40, 'a'));
  start();
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 1; }));
  EXPECT_EQ(left_out().size(), 1U);
  EXPECT_THAT(states("d1"), ElementsAre("queued"));
  fail_for("d1", "x");
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 2; }));
  EXPECT_THAT(states("d1"), ElementsAre("queued", "failure"));
  EXPECT_EQ(records_of(pb::Event::kGithubNotTold), 0U) << "that would be the end of all of it";
}

// So whoever starts anew repeats what is the newest by then, and nothing that is older.
TEST_F(Reporting, what_is_told_of_a_preview_is_recorded_in_order_while_a_comment_waits) {
  github_.fail_next("/repos/octo/web/issues/7/comments", 502, json::object(), json::object(), 1);
  push_to_pull_request("d1", std::string(40, 'a'));
  control_.make_live("d1");
  push_to_pull_request("d2", std::string(40, 'b'));
  pb::Event retired;
  retired.mutable_deployment_retired()->set_reason("a newer deployment took over");
  control_.append_to("d1", retired);
  start(std::chrono::hours(1));
  ASSERT_TRUE(eventually([&] { return comment_attempts() == 1; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  reporter_.reset();
  EXPECT_THAT(github_.comments(), IsEmpty());
  EXPECT_THAT(told(), ElementsAre("d1 queued", "d1 in_progress", "d1 success", "d2 queued"))
      << "the end of what served is the comment's newest";
  start(std::chrono::milliseconds(1));
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 5; }));
  EXPECT_THAT(told(),
              ElementsAre("d1 queued", "d1 in_progress", "d1 success", "d2 queued", "d1 inactive"));
  EXPECT_THAT(states("d1"), ElementsAre("queued", "in_progress", "success", "inactive", "inactive"))
      << "once in each life of the reporter";
}

TEST_F(Reporting, each_kind_of_environment_has_a_commit_status_of_its_own) {
  start();
  push("d1");
  ASSERT_TRUE(eventually([&] { return commit_states().size() == 1; }));
  push("d2", "octo/web", "preview/feature");
  ASSERT_TRUE(eventually([&] { return commit_states().size() == 2; }));
  push_to_pull_request("d3", std::string(40, 'a'));
  ASSERT_TRUE(eventually([&] { return commit_states().size() == 3; }));
  std::vector<std::string> contexts;
  for (const auto& each : github_.commit_statuses()) contexts.push_back(each["context"]);
  EXPECT_THAT(contexts,
              ElementsAre("atlasflow/web", "atlasflow/web/preview", "atlasflow/web/pull"));
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

// A full disk, say: GitHub is not told the same again and again meanwhile.
TEST_F(Reporting, what_can_not_be_recorded_just_now_is_told_once) {
  push("d1");
  clone("d1");
  std::atomic<int> tries = 0;
  control_.report_outcome = fail(ErrorCode::disk_full, "there is no room");
  // In the reporter's thread, as all that reads it.
  control_.then["record_github_report"] = [&] {
    if (++tries == 4) control_.report_outcome = {};
  };
  start(std::chrono::milliseconds(1));
  EXPECT_TRUE(eventually([&] { return records_of(pb::Event::kGithubTold) == 2; }));
  reporter_.reset();
  EXPECT_THAT(states("d1"), ElementsAre("queued", "in_progress"));
  EXPECT_EQ(tries, 6);
}

TEST(Reporter, tells_once_why_the_log_can_not_be_read_and_again_when_that_changes) {
  UnreadablePlane control;
  api::testing::PlaneApp connected{control};
  std::ostringstream lines;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(lines)));
  {
    const GitHubReporter reporter(control, connected, api::PublicAddress{"example.com", 8443},
                                  std::chrono::milliseconds(1), std::chrono::milliseconds(1));
    for (int i = 0; i < 1'000 && control.reads() < 40; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  spdlog::set_default_logger(before);
  EXPECT_GE(control.reads(), 40);
  std::size_t told = 0;
  for (std::size_t at = 0;
       (at = lines.str().find("github_reports_unreadable", at)) != std::string::npos; ++at) {
    ++told;
  }
  EXPECT_EQ(told, 2U) << lines.str();
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

// The comment had shown the commit before for ever.
TEST_F(Reporting, a_refused_deployment_of_a_pull_request_is_told_in_its_comment_all_the_same) {
  start();
  push_to_pull_request("d1", std::string(40, 'a'));
  control_.make_live("d1");
  ASSERT_TRUE(eventually([&] { return states("d1").size() == 3; }));
  ASSERT_TRUE(eventually([&] { return github_.comments().size() == 1; }));
  const auto shows = [&](const std::string& text) {
    return eventually([&] {
      return github_.comments()[0]["body"].get<std::string>().find(text) != std::string::npos;
    });
  };
  github_.fail_next("/repos/octo/web/deployments", 422, json::object(),
                    json{{"message", "No ref found"}}, 1);
  push_to_pull_request("d2", std::string(40, 'b'));
  ASSERT_TRUE(shows(std::string(40, 'b')));
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubNotTold) == 1; }));
  fail_for("d2", "x");
  ASSERT_TRUE(shows("the build failed"));
  ASSERT_TRUE(eventually([&] { return records_of(pb::Event::kGithubNotTold) == 2; }));
  EXPECT_EQ(github_.comments().size(), 1U);
  EXPECT_THAT(states("d2"), IsEmpty()) << "it is not asked for what it refused";
}

}  // namespace
}  // namespace atlasflow::server
