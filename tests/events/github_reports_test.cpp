// What GitHub is owed, over the events that the real rules make.
#include "events/github_reports.hpp"

#include <gmock/gmock.h>

#include "events/fold_codec.hpp"
#include "events/fold_fields.hpp"
#include "events/settings.hpp"

// Long because: each test is a few events of one fold, and they share what makes them.
namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A log of the project pabc2345, "web", written event by event.
class Reports : public testing::Test {
 protected:
  void connect(const std::string& base_url = "https://github.com") {
    pb::Event event;
    event.mutable_github_app_connected()->set_app_id(7);
    event.mutable_github_app_connected()->set_base_url(base_url);
    owed_.apply(github_stream(), event, ++now_);
  }
  void disconnect() {
    pb::Event event;
    event.mutable_github_app_disconnected()->set_app_id(7);
    owed_.apply(github_stream(), event, ++now_);
  }
  void to(const std::string& deployment, const pb::Event& event) {
    owed_.apply(deployment_stream(DeploymentId{deployment}), event, ++now_);
  }
  void push(const std::string& deployment, const std::string& environment = "production") {
    pb::Event event;
    auto* received = event.mutable_push_received();
    received->set_project_id(project_.str());
    received->set_project_name("web");
    received->set_environment(environment);
    received->set_ref("refs/heads/main");
    received->set_repository_url(url_);
    received->set_after(std::string(40, 'a'));
    *received->mutable_settings() = default_settings();
    to(deployment, event);
  }
  void push_to_pull_request(const std::string& deployment,
                            const std::string& commit = std::string(40, 'a')) {
    pb::Event event;
    auto* received = event.mutable_push_received();
    received->set_project_id(project_.str());
    received->set_project_name("web");
    received->set_environment("pull/7");
    received->set_repository_url(url_);
    received->set_after(commit);
    received->mutable_pull_request()->set_number(7);
    *received->mutable_settings() = default_settings();
    to(deployment, event);
  }
  void redeploy_pull_request(const std::string& deployment) {
    pb::Event event;
    auto& push = *event.mutable_redeploy_requested()->mutable_push();
    push.set_project_id(project_.str());
    push.set_environment("pull/7");
    push.set_repository_url(url_);
    push.mutable_pull_request()->set_number(7);
    to(deployment, event);
  }
  void close_pull_request() {
    pb::Event event;
    event.mutable_pull_request_closed()->mutable_pull_request()->set_number(7);
    owed_.apply(project_stream(project_), event, ++now_);
  }
  // "d1 queued: pending in 7"
  [[nodiscard]] std::vector<std::string> shown() const {
    std::vector<std::string> texts;
    for (const auto& [project, queue] : owed_.owed()) {
      for (const auto& each : queue) {
        texts.push_back(each.deployment.str() + " " + std::string(name_of(each.status)) + ": " +
                        each.commit_state + " in " + std::to_string(each.pull_request));
      }
    }
    return texts;
  }
  void clone(const std::string& deployment) {
    pb::Event event;
    event.mutable_clone_started();
    to(deployment, event);
  }
  void go_live(const std::string& deployment) {
    pb::Event started;
    started.mutable_vm_started()->set_vm_id(deployment + "-v3");
    to(deployment, started);
    pb::Event healthy;
    healthy.mutable_healthy()->set_vm_id(deployment + "-v3");
    to(deployment, healthy);
    pb::Event routed;
    routed.mutable_routed()->set_generation(1);
    to(deployment, routed);
  }
  void fail(const std::string& deployment, pb::Fault fault = pb::FAULT_USER) {
    pb::Event event;
    event.mutable_deployment_failed()->set_step(pb::STEP_BUILD);
    event.mutable_deployment_failed()->set_fault(fault);
    event.mutable_deployment_failed()->set_reason("step 'RUN x' failed: a word of the build's");
    to(deployment, event);
  }
  // Another's route is older.
  void claim(const std::string& deployment, std::uint64_t generation) {
    pb::Event event;
    event.mutable_route_change_requested()->set_generation(generation);
    to(deployment, event);
  }
  void retire(const std::string& deployment) {
    pb::Event event;
    event.mutable_deployment_retired()->set_reason("x");
    to(deployment, event);
  }
  void told_with_comment(const std::string& deployment, const std::string& status) {
    pb::Event event;
    event.mutable_github_told()->set_deployment(deployment);
    event.mutable_github_told()->set_status(status);
    event.mutable_github_told()->set_comment(5001);
    owed_.apply(github_reports_stream(project_), event, ++now_);
  }
  // All that is kept of it.
  [[nodiscard]] std::string bytes() const {
    FoldWriter writer;
    writer.put(owed_);
    return std::move(writer).take();
  }
  void told(const std::string& deployment, const std::string& status, std::int64_t id = 1000) {
    pb::Event event;
    event.mutable_github_told()->set_deployment(deployment);
    event.mutable_github_told()->set_status(status);
    event.mutable_github_told()->set_github_deployment(id);
    owed_.apply(github_reports_stream(project_), event, ++now_);
  }
  void not_told(const std::string& deployment, const std::string& status) {
    pb::Event event;
    event.mutable_github_not_told()->set_deployment(deployment);
    event.mutable_github_not_told()->set_status(status);
    event.mutable_github_not_told()->set_reason("no");
    owed_.apply(github_reports_stream(project_), event, ++now_);
  }
  // "d1 queued"
  [[nodiscard]] std::vector<std::string> all() const {
    std::vector<std::string> texts;
    for (const auto& [project, queue] : owed_.owed()) {
      for (const auto& each : queue) {
        texts.push_back(each.deployment.str() + " " + std::string(name_of(each.status)));
      }
    }
    return texts;
  }

  ProjectId project_{"pabc2345"};
  std::string url_ = "https://github.com/octo/web.git";
  GitHubReportsOwed owed_{"example.com"};
  TimestampUs now_ = 1'700'000'000'000'000;
};

TEST_F(Reports, a_deployment_is_told_of_step_by_step_with_where_it_runs) {
  connect();
  push("d1");
  clone("d1");
  go_live("d1");
  ASSERT_THAT(all(), ElementsAre("d1 queued", "d1 in_progress", "d1 success"));
  const auto& report = owed_.owed().at(project_).back();
  EXPECT_EQ(report.project, "web");
  EXPECT_EQ(report.commit, std::string(40, 'a'));
  EXPECT_EQ(report.environment, "production");
  EXPECT_EQ(report.hostname, "web.example.com");
  EXPECT_EQ(report.repository_url, "https://github.com/octo/web.git");
  EXPECT_EQ(report.reason, "");
}

TEST_F(Reports, a_commits_status_stays_what_it_was_when_a_newer_one_takes_over) {
  connect();
  push("d1");
  go_live("d1");
  pb::Event retired;
  retired.mutable_deployment_retired()->set_reason("a newer deployment took over");
  to("d1", retired);
  EXPECT_THAT(shown(), ElementsAre("d1 queued: pending in 0", "d1 in_progress: pending in 0",
                                   "d1 success: success in 0", "d1 inactive:  in 0"));
}

TEST_F(Reports, nobody_waits_for_the_status_of_a_commit_that_is_not_deployed) {
  connect();
  push("d1");
  pb::Event cancelled;
  cancelled.mutable_deployment_cancelled()->set_by("user");
  to("d1", cancelled);
  push("d2");
  pb::Event skipped;
  skipped.mutable_deployment_skipped()->set_reason("the commit's message says [skip ci]");
  to("d2", skipped);
  push("d3");
  fail("d3", pb::FAULT_SYSTEM);
  EXPECT_THAT(shown(), ElementsAre("d1 queued: pending in 0", "d1 inactive: error in 0",
                                   "d2 queued: pending in 0", "d2 inactive: success in 0",
                                   "d3 queued: pending in 0", "d3 failure: error in 0"));
}

TEST_F(Reports, a_pull_requests_comment_shows_its_newest_deployment_and_its_end) {
  connect();
  push_to_pull_request("d1");
  go_live("d1");
  push_to_pull_request("d2");
  fail("d2");
  pb::Event retired;
  retired.mutable_deployment_retired()->set_reason("the pull request was closed");
  close_pull_request();
  to("d1", retired);
  EXPECT_THAT(shown(), ElementsAre("d1 queued: pending in 7", "d1 in_progress: pending in 7",
                                   "d1 success: success in 7", "d2 queued: pending in 7",
                                   "d2 failure: failure in 7", "d1 inactive:  in 7"));
  EXPECT_EQ(owed_.owed().at(project_).front().hostname, "pr-7-web.example.com");
}

TEST_F(Reports, a_comment_shows_what_serves_until_the_newest_does) {
  connect();
  push_to_pull_request("d1");
  const auto shown_last = [&] { return owed_.owed().at(project_).back().preview; };
  EXPECT_EQ(shown_last().serving.str(), "");
  go_live("d1");
  EXPECT_EQ(shown_last().serving.str(), "d1");
  push_to_pull_request("d2", std::string(40, 'b'));
  clone("d2");
  EXPECT_EQ(shown_last().newest.str(), "d2");
  EXPECT_EQ(shown_last().commit, std::string(40, 'b'));
  EXPECT_EQ(shown_last().status, ReportStatus::in_progress);
  EXPECT_EQ(shown_last().serving.str(), "d1");
  EXPECT_EQ(shown_last().serving_commit, std::string(40, 'a'));
  claim("d2", 9);
  go_live("d2");
  EXPECT_EQ(shown_last().serving.str(), "d2");
  EXPECT_EQ(shown_last().serving_commit, std::string(40, 'b'));
  retire("d1");
  EXPECT_EQ(owed_.owed().at(project_).back().pull_request, 0) << "no news of the pull request";
}

TEST_F(Reports, the_end_of_what_served_is_news_while_nothing_newer_serves) {
  connect();
  push_to_pull_request("d1");
  go_live("d1");
  push_to_pull_request("d2", std::string(40, 'b'));
  fail("d2");
  retire("d1");
  const auto& report = owed_.owed().at(project_).back();
  EXPECT_EQ(report.deployment.str(), "d1");
  EXPECT_EQ(report.pull_request, 7);
  EXPECT_EQ(report.preview.serving.str(), "");
  EXPECT_EQ(report.preview.newest.str(), "d2") << "that is the commit that the comment is about";
  EXPECT_EQ(report.preview.status, ReportStatus::failure);
  EXPECT_EQ(report.preview.reason, "the build failed; the fault is the repository's or the app's");
}

// By a webhook, before there was an App: GitHub is told nothing of it, but what serves is true.
TEST_F(Reports, a_preview_of_before_the_app_is_what_serves) {
  push_to_pull_request("d1");
  go_live("d1");
  connect();
  push_to_pull_request("d2", std::string(40, 'b'));
  EXPECT_EQ(owed_.owed().at(project_).back().preview.serving.str(), "d1");
  disconnect();
  connect();
  push_to_pull_request("d3", std::string(40, 'b'));
  EXPECT_EQ(owed_.owed().at(project_).back().preview.serving.str(), "d1");
  retire("d1");
  EXPECT_THAT(all(), ElementsAre("d3 queued")) << "d1's end is nothing that GitHub waits for";
}

// Deployed again since the App is there, and never pushed to: whether it is open nobody has said.
TEST_F(Reports, an_earlier_end_takes_no_comment_over_while_the_newest_is_followed) {
  connect();
  redeploy_pull_request("d1");
  go_live("d1");
  redeploy_pull_request("d2");
  claim("d2", 9);
  go_live("d2");
  retire("d1");
  const auto& shown = owed_.owed().at(project_).back().preview;
  EXPECT_EQ(shown.newest.str(), "d2");
  EXPECT_EQ(shown.serving.str(), "d2");
  EXPECT_EQ(shown.status, ReportStatus::success);
}

TEST_F(Reports, without_the_app_nothing_is_kept_of_a_preview_that_has_ended) {
  connect();
  disconnect();
  const auto before = bytes();
  connect();
  push_to_pull_request("d1");
  go_live("d1");
  retire("d1");
  EXPECT_THAT(all(), testing::Not(IsEmpty())) << "it is owed, and so kept";
  disconnect();
  EXPECT_EQ(bytes(), before);
}

TEST_F(Reports, nothing_is_kept_of_a_pull_request_that_is_closed_and_told_of) {
  connect();
  const auto before = bytes();
  push_to_pull_request("d1");
  told_with_comment("d1", "queued");
  go_live("d1");
  told_with_comment("d1", "in_progress");
  told_with_comment("d1", "success");
  close_pull_request();
  EXPECT_EQ(owed_.comment_of(project_, 7), 5001) << "its end is to be told";
  retire("d1");
  EXPECT_EQ(owed_.comment_of(project_, 7), 5001);
  told_with_comment("d1", "inactive");
  EXPECT_EQ(owed_.comment_of(project_, 7), 0);
  EXPECT_EQ(bytes(), before);
  // Closed when all of it had ended and was told.
  push_to_pull_request("d2");
  fail("d2");
  told_with_comment("d2", "queued");
  told_with_comment("d2", "failure");
  EXPECT_EQ(owed_.comment_of(project_, 7), 5001) << "a next push edits it";
  close_pull_request();
  EXPECT_EQ(bytes(), before);
}

TEST_F(Reports, a_deleted_project_keeps_no_comment_either) {
  connect();
  const auto before = bytes();
  push_to_pull_request("d1");
  told_with_comment("d1", "queued");
  pb::Event deleted;
  deleted.mutable_project_deleted()->set_by("user");
  owed_.apply(project_stream(project_), deleted, ++now_);
  EXPECT_EQ(owed_.comment_of(project_, 7), 5001);
  pb::Event cancelled;
  cancelled.mutable_deployment_cancelled()->set_by("user");
  to("d1", cancelled);
  told_with_comment("d1", "inactive");
  EXPECT_EQ(bytes(), before);
}

// Somebody deploys a closed one's commit again: nobody closes it a second time.
TEST_F(Reports, a_redeployment_of_a_closed_pull_request_is_forgotten_at_its_end) {
  connect();
  const auto before = bytes();
  redeploy_pull_request("d1");
  EXPECT_EQ(owed_.owed().at(project_).back().pull_request, 7);
  fail("d1");
  told_with_comment("d1", "queued");
  told_with_comment("d1", "failure");
  EXPECT_EQ(bytes(), before);
}

// The statuses of a deployment that an older build told of are owed to nobody again.
TEST_F(Reports, a_log_of_before_the_comments_owes_nothing_twice) {
  connect();
  push_to_pull_request("d1");
  told("d1", "queued");
  go_live("d1");
  told("d1", "in_progress");
  told("d1", "success");
  EXPECT_THAT(all(), IsEmpty());
  close_pull_request();
  retire("d1");
  EXPECT_THAT(all(), ElementsAre("d1 inactive"));
}

TEST_F(Reports, a_comment_is_known_once_it_was_told_of) {
  connect();
  push_to_pull_request("d1");
  EXPECT_EQ(owed_.comment_of(project_, 7), 0);
  pb::Event event;
  event.mutable_github_told()->set_deployment("d1");
  event.mutable_github_told()->set_status("queued");
  event.mutable_github_told()->set_comment(5001);
  owed_.apply(github_reports_stream(project_), event, ++now_);
  EXPECT_EQ(owed_.comment_of(project_, 7), 5001);
  disconnect();
  EXPECT_EQ(owed_.comment_of(project_, 7), 0);
}

// What the event quotes of the build is for those who may read its log.
TEST_F(Reports, a_failure_is_told_once_with_its_step_and_whose_fault_it_is) {
  connect();
  push("d1");
  clone("d1");
  fail("d1");
  EXPECT_THAT(all(), ElementsAre("d1 queued", "d1 in_progress", "d1 failure"));
  EXPECT_EQ(owed_.owed().at(project_).back().reason,
            "the build failed; the fault is the repository's or the app's");
  push("d2");
  fail("d2", pb::FAULT_SYSTEM);
  EXPECT_EQ(owed_.owed().at(project_).back().reason,
            "the build failed; the fault is Atlasflow's or its machine's");
}

TEST_F(Reports, what_another_replaced_is_inactive) {
  connect();
  push("d1");
  go_live("d1");
  told("d1", "queued");
  told("d1", "in_progress");
  told("d1", "success");
  EXPECT_THAT(all(), IsEmpty());
  pb::Event event;
  event.mutable_retirement_requested()->set_by("d2");
  to("d1", event);
  EXPECT_THAT(all(), ElementsAre("d1 inactive"));
  EXPECT_EQ(owed_.github_deployment_of(DeploymentId("d1")), 1000);
  EXPECT_EQ(owed_.owed().at(project_).front().reason, "retired by d2");
  pb::Event retired;
  retired.mutable_deployment_retired();
  to("d1", retired);
  EXPECT_THAT(all(), ElementsAre("d1 inactive"));
  // Still known while something is owed, and forgotten after that.
  EXPECT_EQ(owed_.github_deployment_of(DeploymentId("d1")), 1000);
  told("d1", "inactive");
  EXPECT_EQ(owed_.github_deployment_of(DeploymentId("d1")), 0);
}

TEST_F(Reports, without_an_app_nothing_is_owed_and_nothing_of_that_time_later) {
  push("d1");
  EXPECT_THAT(all(), IsEmpty());
  connect();
  fail("d1");
  EXPECT_THAT(all(), IsEmpty());
  push("d2");
  EXPECT_THAT(all(), ElementsAre("d2 queued"));
  disconnect();
  EXPECT_THAT(all(), IsEmpty());
  connect();
  fail("d2");
  EXPECT_THAT(all(), IsEmpty());
}

TEST_F(Reports, what_github_will_not_hear_ends_what_is_owed_of_that_deployment_alone) {
  connect();
  push("d1");
  push("d2");
  clone("d1");
  not_told("d1", "queued");
  EXPECT_THAT(all(), ElementsAre("d2 queued"));
  fail("d1");
  EXPECT_THAT(all(), ElementsAre("d2 queued"));
}

TEST_F(Reports, of_repositories_elsewhere_github_is_told_nothing) {
  connect();
  for (const char* url :
       {"https://git.example.com/octo/web.git", "file:///srv/git/web.git",
        "https://notgithub.com/octo/web.git", "git@git.example.com:octo/web.git"}) {
    url_ = url;
    push("d1");
    EXPECT_THAT(all(), IsEmpty()) << url;
  }
  for (const char* url : {"git@github.com:octo/web.git", "ssh://git@github.com/octo/web.git"}) {
    url_ = url;
    push(url);
  }
  EXPECT_EQ(all().size(), 2U);
}

TEST_F(Reports, a_repository_is_on_the_app_s_github_however_it_is_written) {
  connect();
  std::size_t owed = 0;
  for (const char* url : {"https://GitHub.com/octo/web", "https://github.com:443/octo/web.git/",
                          "git@GITHUB.com:octo/web.git", "github.com:octo/web",
                          "ssh://github.com/octo/web", "ssh://git@github.com:22/octo/web.git"}) {
    url_ = url;
    push(url);
    EXPECT_EQ(all().size(), ++owed) << url;
  }
  connect("https://git.example.com:8443");
  for (const char* url : {"https://Git.example.com:8443/octo/web", "git@git.example.com:octo/web",
                          "ssh://git@git.example.com:2222/octo/web"}) {
    url_ = url;
    push(url);
    EXPECT_EQ(all().size(), ++owed) << url;
  }
  for (const char* url : {"https://git.example.com/octo/web", "https://github.com/octo/web2",
                          "https://x.example.com/git.example.com:8443/web"}) {
    url_ = url;
    push(url);
    EXPECT_EQ(all().size(), owed) << url;
  }
}

// At least once: what is told a second time settles nothing else.
TEST_F(Reports, what_was_told_twice_settles_one) {
  connect();
  push("d1");
  clone("d1");
  told("d1", "queued");
  told("d1", "queued");
  told("d9", "success");
  EXPECT_THAT(all(), ElementsAre("d1 in_progress"));
}

// Or the comment would show for ever what was true before GitHub refused the newer one.
TEST_F(Reports, of_a_pull_request_the_comment_is_told_of_a_deployment_that_github_refused) {
  connect();
  push_to_pull_request("d1", std::string(40, 'a'));
  push_to_pull_request("d2", std::string(40, 'b'));
  clone("d2");
  ASSERT_THAT(all(), ElementsAre("d1 queued", "d2 queued", "d2 in_progress"));
  pb::Event refused;
  refused.mutable_github_not_told()->set_deployment("d2");
  refused.mutable_github_not_told()->set_status("queued");
  refused.mutable_github_not_told()->set_comment_goes_on(true);
  refused.mutable_github_not_told()->set_comment(99);
  owed_.apply(github_reports_stream(project_), refused, ++now_);
  EXPECT_EQ(owed_.comment_of(project_, 7), 99);
  ASSERT_THAT(all(), ElementsAre("d1 queued", "d2 in_progress"));
  EXPECT_FALSE(owed_.owed().at(project_)[0].comment_only);
  EXPECT_TRUE(owed_.owed().at(project_)[1].comment_only);
  fail("d2");
  ASSERT_THAT(all(), ElementsAre("d1 queued", "d2 in_progress", "d2 failure"));
  EXPECT_TRUE(owed_.owed().at(project_)[2].comment_only);
  refused.mutable_github_not_told()->set_status("in_progress");
  owed_.apply(github_reports_stream(project_), refused, ++now_);
  EXPECT_THAT(all(), ElementsAre("d1 queued", "d2 failure"));
  refused.mutable_github_not_told()->set_status("failure");
  owed_.apply(github_reports_stream(project_), refused, ++now_);
  EXPECT_THAT(all(), ElementsAre("d1 queued"));
}

// As an older build recorded it, and as it is where there is no pull request.
TEST_F(Reports, of_any_other_deployment_that_github_refused_nothing_follows) {
  connect();
  push_to_pull_request("d1", std::string(40, 'a'));
  clone("d1");
  not_told("d1", "queued");
  EXPECT_THAT(all(), IsEmpty());
  push("d2");
  clone("d2");
  pb::Event refused;
  refused.mutable_github_not_told()->set_deployment("d2");
  refused.mutable_github_not_told()->set_status("queued");
  refused.mutable_github_not_told()->set_comment_goes_on(true);
  owed_.apply(github_reports_stream(project_), refused, ++now_);
  fail("d2");
  EXPECT_THAT(all(), IsEmpty());
}

}  // namespace
}  // namespace atlasflow
