#include "server/github_reporter.hpp"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>

#include "base/log.hpp"
#include "events/environment.hpp"
#include "events/github_reports.hpp"
#include "github/commit_status.hpp"
#include "github/deployments.hpp"
#include "github/pull_request_comment.hpp"

namespace atlasflow::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto k_pause_max = std::chrono::minutes(5);
constexpr int k_doublings_max = 6;
// After that GitHub is told no more of it, so that what is owed does not grow for ever.
constexpr TimestampUs k_age_max_us = 3LL * 24 * 3600 * 1'000'000;

TimestampUs now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// One thread's.
class Reporter {
 public:
  Reporter(actors::ControlPlane& control, github::ConnectedApp& connected,
           api::PublicAddress address, std::chrono::milliseconds pause)
      : control_(control),
        connected_(connected),
        address_(std::move(address)),
        pause_(pause),
        owed_(address_.domain) {
    if (auto begun = control_.take_github_reports()) {
      owed_ = std::move(begun->owed);
      position_ = begun->position;
    }
  }

  // Once an interval: everything that can be told now.
  void tick(const std::stop_token& stop) {
    while (!stop.stop_requested() && read_on(stop) && tell_one_of_each(stop)) {
    }
  }

 private:
  struct Waiting {
    int failures = 0;  // in a row
    Clock::time_point until;
    // What GitHub has been asked already and the log does not take yet.
    std::optional<commands::RecordGitHubReport> unrecorded;
  };

  // False: the log can't be read just now.
  bool read_on(const std::stop_token& stop) {
    const auto read = control_.log().read_all(position_.next(), [&](const auto& record) {
      owed_.apply(record.stream, record.event, record.recorded_at);
      position_ = record.position;
      return !stop.stop_requested();
    });
    const auto error = read ? std::string() : to_string(read.error());
    // Once, and not each second for as long as it stays so.
    if (!read && error != unreadable_) {
      log_event(LogLevel::error, "server", "github_reports_unreadable", {{"error", error}});
    }
    unreadable_ = error;
    return read.has_value();
  }

  // Whether anything was recorded, so that more may follow.
  bool tell_one_of_each(const std::stop_token& stop) {
    if (owed_.owed().empty()) return false;
    const auto app = connected_.get().value_or(nullptr);
    if (app == nullptr) return false;
    bool recorded = false;
    for (const auto& [project, queue] : owed_.owed()) {
      auto& waiting = waiting_[project];
      if (stop.stop_requested()) break;
      if (Clock::now() < waiting.until) continue;
      if (tell(*app, queue.front(), waiting, stop)) {
        recorded = true;
        waiting = {};
      } else {
        waiting.until = Clock::now() + std::min<std::chrono::milliseconds>(
                                           pause_ * (1 << waiting.failures), k_pause_max);
        waiting.failures = std::min(waiting.failures + 1, k_doublings_max);
      }
    }
    std::erase_if(waiting_,
                  [this](const auto& each) { return !owed_.owed().contains(each.first); });
    return recorded;
  }

  // Whether it was told, or given up, and recorded.
  bool tell(github::AppClient& app, const GitHubReport& report, Waiting& waiting,
            const std::stop_token& stop) {
    const auto& known = waiting.unrecorded;
    if (!known || known->deployment != report.deployment ||
        known->status != name_of(report.status)) {
      waiting.unrecorded = outcome_of(app, report, stop);
    }
    if (!waiting.unrecorded) return false;
    const auto done = control_.execute(Principal::system("github-reporter"), *waiting.unrecorded);
    if (!done) {
      log_event(LogLevel::warn, "server", "github_report_not_recorded",
                {{"deployment", report.deployment.str()}, {"error", to_string(done.error())}});
    }
    return done.has_value();
  }

  // Tells it; nothing: it is to be told later.
  std::optional<commands::RecordGitHubReport> outcome_of(github::AppClient& app,
                                                         const GitHubReport& report,
                                                         const std::stop_token& stop) {
    commands::RecordGitHubReport outcome;
    outcome.project = report.project_id;
    outcome.deployment = report.deployment;
    outcome.status = name_of(report.status);
    const auto told = tell_all(app, report, outcome, stop);
    if (!told) {
      if (told.error().code == ErrorCode::cancelled) return std::nullopt;
      const bool is_final = told.error().code == ErrorCode::user_error ||
                            told.error().code == ErrorCode::not_found ||
                            now_us() - report.at > k_age_max_us;
      log_event(LogLevel::warn, "server", "github_not_told",
                {{"project", report.project},
                 {"deployment", report.deployment.str()},
                 {"status", name_of(report.status)},
                 {"final", is_final},
                 {"error", to_string(told.error())}});
      if (!is_final) return std::nullopt;
      outcome.refused = to_string(told.error());
    }
    return outcome;
  }

  // The deployment on GitHub, the commit's status and the pull request's comment, in this order.
  // Each of them may be told again, and the latter two may be refused without harm to the first.
  Result<void> tell_all(github::AppClient& app, const GitHubReport& report,
                        commands::RecordGitHubReport& outcome, const std::stop_token& stop) {
    const auto repository = github::repository_on(app.address(), report.repository_url);
    if (!repository) {
      return fail(ErrorCode::not_found, "the repository is not on the App's GitHub");
    }
    ATLAS_TRY(outcome.github_deployment, deployment_on_github(app, *repository, report, stop));
    ATLAS_TRYV(left_out_if_refused(tell_commit(app, *repository, report, stop), outcome));
    const auto comment = tell_pull_request(app, *repository, report, stop);
    if (comment) outcome.comment = *comment;
    return left_out_if_refused(comment.map([](std::int64_t) {}), outcome);
  }

  static Result<void> left_out_if_refused(const Result<void>& told,
                                          commands::RecordGitHubReport& outcome) {
    const bool refused = !told && (told.error().code == ErrorCode::user_error ||
                                   told.error().code == ErrorCode::not_found);
    if (!refused) return told;
    log_event(LogLevel::warn, "server", "github_not_told_all",
              {{"deployment", outcome.deployment.str()}, {"error", to_string(told.error())}});
    outcome.left_out.push_back(to_string(told.error()));
    return {};
  }

  Result<void> tell_commit(github::AppClient& app, const github::RepositoryName& repository,
                           const GitHubReport& report, const std::stop_token& stop) {
    if (report.commit_state.empty()) return {};
    github::CommitStatus status;
    status.sha = report.commit;
    status.state = report.commit_state;
    status.context = "atlasflow/" + report.project;
    status.target_url = address_.url_of_host(report.hostname);
    status.description = headline_of(report);
    return github::set_commit_status(app, repository, status, stop);
  }

  // GitHub's id of the comment; 0: there is none to write.
  Result<std::int64_t> tell_pull_request(github::AppClient& app,
                                         const github::RepositoryName& repository,
                                         const GitHubReport& report, const std::stop_token& stop) {
    if (report.pull_request == 0) return 0;
    const auto url = address_.url_of_host(report.hostname);
    const bool is_live = report.status == ReportStatus::success;
    github::PullRequestComment comment;
    comment.pull_request = report.pull_request;
    comment.mark = report.project_id.str() + "/" + std::to_string(report.pull_request);
    comment.text = "**" + report.project + "**: " + github::plain_markdown(headline_of(report)) +
                   "\n\n| | |\n|---|---|\n| Preview | " + (is_live ? url : "none now") +
                   " |\n| Commit | " + report.commit + " |\n| Deployment | `" +
                   report.deployment.str() + "` |\n";
    return github::put_comment(app, repository, comment,
                               owed_.comment_of(report.project_id, report.pull_request), stop);
  }

  static std::string headline_of(const GitHubReport& report) {
    if (!report.reason.empty()) return report.reason;
    switch (report.status) {
      case ReportStatus::queued:
        return "it waits for its turn";
      case ReportStatus::in_progress:
        return "it is cloned, built and started";
      case ReportStatus::success:
        return "it is live";
      default:
        return "it is not live";
    }
  }

  // Its id on GitHub, whose status is the report's by then.
  Result<std::int64_t> deployment_on_github(github::AppClient& app,
                                            const github::RepositoryName& repository,
                                            const GitHubReport& report,
                                            const std::stop_token& stop) {
    auto id = owed_.github_deployment_of(report.deployment);
    if (id == 0) {
      github::NewDeployment order;
      order.id = report.deployment.str();
      order.sha = report.commit;
      // Two projects may deploy the same repository.
      order.environment = report.project + "/" + report.environment;
      order.is_transient = is_preview(report.environment);
      order.is_production = !order.is_transient;
      ATLAS_TRY(id, github::make_deployment(app, repository, order, stop));
    }
    github::NewStatus status;
    status.deployment = id;
    status.state = name_of(report.status);
    status.description = report.reason;
    if (report.status == ReportStatus::success) {
      status.environment_url = address_.url_of_host(report.hostname);
    }
    ATLAS_TRYV(github::add_status(app, repository, status, stop));
    return id;
  }

  actors::ControlPlane& control_;
  github::ConnectedApp& connected_;
  const api::PublicAddress address_;
  const std::chrono::milliseconds pause_;
  Position position_;       // of the newest record that is folded
  std::string unreadable_;  // why the log could not be read last time; empty: it could
  GitHubReportsOwed owed_;
  std::map<ProjectId, Waiting> waiting_;
};

}  // namespace

GitHubReporter::GitHubReporter(actors::ControlPlane& control, github::ConnectedApp& connected,
                               api::PublicAddress address, std::chrono::milliseconds interval,
                               std::chrono::milliseconds pause)
    : thread_([&control, &connected, address = std::move(address), interval,
               pause](const std::stop_token& stop) {
        Reporter reporter(control, connected, address, pause);
        std::mutex mutex;
        std::condition_variable_any stopped;
        std::unique_lock lock(mutex);
        while (!stop.stop_requested()) {
          reporter.tick(stop);
          stopped.wait_for(lock, stop, interval, [] { return false; });
        }
      }) {}

}  // namespace atlasflow::server
