#include "server/github_reporter.hpp"

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <map>
#include <mutex>
#include <set>
#include <tuple>

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
    while (!stop.stop_requested() && read_on(stop) && tell_some_of_each(stop)) {
    }
  }

 private:
  struct Backoff {
    int failures = 0;  // in a row
    Clock::time_point until;

    [[nodiscard]] bool is_over() const { return Clock::now() >= until; }
    void grow(std::chrono::milliseconds pause) {
      until =
          Clock::now() + std::min<std::chrono::milliseconds>(pause * (1 << failures), k_pause_max);
      failures = std::min(failures + 1, k_doublings_max);
    }
  };
  // How far a report has come that the log does not have as told yet.
  struct Progress {
    commands::RecordGitHubReport outcome;
    bool is_deployment_told = false;
    bool is_commit_told = false;
    bool is_comment_told = false;
    Backoff comment;
  };
  // One that was live twice has two reports of one status.
  using ReportKey = std::tuple<DeploymentId, ReportStatus, TimestampUs>;
  using Queue = GitHubReportsOwed::ByProject::mapped_type;
  // Of a project.
  struct Telling {
    Backoff backoff;
    std::map<ReportKey, Progress> reports;
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
  bool tell_some_of_each(const std::stop_token& stop) {
    if (owed_.owed().empty()) return false;
    const auto app = connected_.get().value_or(nullptr);
    if (app == nullptr) return false;
    bool recorded = false;
    for (const auto& [project, queue] : owed_.owed()) {
      if (stop.stop_requested()) break;
      if (tell_next(*app, queue, telling_[project], stop)) recorded = true;
    }
    std::erase_if(telling_,
                  [this](const auto& each) { return !owed_.owed().contains(each.first); });
    return recorded;
  }

  // Whether one of the project's was told, or given up, and recorded. Their statuses are told in
  // order, so what GitHub does not take holds up those behind it. A comment holds up those of its
  // preview alone: were a later one recorded before it, a reporter that starts anew would tell the
  // statuses of the earlier one again, and they would be the newest.
  bool tell_next(github::AppClient& app, const Queue& queue, Telling& telling,
                 const std::stop_token& stop) {
    std::erase_if(telling.reports, [&queue](const auto& known) {
      return std::none_of(queue.begin(), queue.end(),
                          [&](const auto& each) { return key_of(each) == known.first; });
    });
    if (!telling.backoff.is_over()) return false;
    std::set<std::string> held_up;  // environments
    for (auto report = queue.begin(); report != queue.end(); ++report) {
      if (stop.stop_requested()) return false;
      if (held_up.contains(report->environment)) continue;
      auto& progress = telling.reports[key_of(*report)];
      if (!tell_statuses(app, *report, progress, stop)) {
        telling.backoff.grow(pause_);
        return false;
      }
      // One comment tells of a pull request as a whole, so the newest report of it is enough.
      const bool is_superseded = std::any_of(
          std::next(report), queue.end(),
          [&report](const auto& later) { return later.pull_request == report->pull_request; });
      if (!is_superseded && !tell_comment(app, *report, progress, stop)) {
        held_up.insert(report->environment);
        continue;
      }
      const bool recorded = record(*report, progress);
      if (recorded) {
        telling.backoff = {};
      } else {
        telling.backoff.grow(pause_);
      }
      return recorded;
    }
    return false;
  }

  static ReportKey key_of(const GitHubReport& report) {
    return {report.deployment, report.status, report.at};
  }

  bool record(const GitHubReport& report, const Progress& progress) {
    const auto done = control_.execute(Principal::system("github-reporter"), progress.outcome);
    if (!done) {
      log_event(LogLevel::warn, "server", "github_report_not_recorded",
                {{"deployment", report.deployment.str()}, {"error", to_string(done.error())}});
    }
    return done.has_value();
  }

  // The deployment on GitHub and the commit's status, in this order; the latter may be refused
  // without harm to the first. What was told is not told again, whatever comes of the rest. False:
  // they are to be told later.
  bool tell_statuses(github::AppClient& app, const GitHubReport& report, Progress& progress,
                     const std::stop_token& stop) {
    auto& outcome = progress.outcome;
    outcome.project = report.project_id;
    outcome.deployment = report.deployment;
    outcome.status = name_of(report.status);
    if (report.comment_only) outcome.refused = "GitHub has no such deployment";
    if (!progress.is_deployment_told && !report.comment_only) {
      const auto told = tell_deployment(app, report, outcome, stop);
      if (!told && !is_final(told.error(), report)) return false;
      progress.is_deployment_told = true;
      if (!told) outcome.refused = to_string(told.error());
    }
    if (!outcome.refused.empty()) return true;
    if (!progress.is_commit_told) {
      const auto told = tell_commit(app, report, stop);
      if (!told && !is_final(told.error(), report)) return false;
      progress.is_commit_told = true;
      if (!told) outcome.left_out.push_back(to_string(told.error()));
    }
    return true;
  }

  // Of a deployment that GitHub refused, too: the comment is of the pull request, and would go on
  // to show what was true before. False: it is to be told later.
  bool tell_comment(github::AppClient& app, const GitHubReport& report, Progress& progress,
                    const std::stop_token& stop) {
    if (report.pull_request == 0 || progress.is_comment_told) return true;
    if (!progress.comment.is_over()) return false;
    const auto told = tell_pull_request(app, report, stop);
    if (!told && !is_final(told.error(), report)) {
      progress.comment.grow(pause_);
      return false;
    }
    progress.is_comment_told = true;
    if (told) {
      progress.outcome.comment = *told;
    } else {
      progress.outcome.left_out.push_back(to_string(told.error()));
    }
    return true;
  }

  // Whether GitHub is not asked for that any more: it will not have it, or not for days.
  static bool is_final(const Error& error, const GitHubReport& report) {
    if (error.code == ErrorCode::cancelled) return false;
    const bool is_refusal =
        error.code == ErrorCode::user_error || error.code == ErrorCode::not_found;
    const bool is_over = is_refusal || now_us() - report.at > k_age_max_us;
    log_event(LogLevel::warn, "server", "github_not_told",
              {{"project", report.project},
               {"deployment", report.deployment.str()},
               {"status", name_of(report.status)},
               {"final", is_over},
               {"error", to_string(error)}});
    return is_over;
  }

  static Result<github::RepositoryName> repository_of(github::AppClient& app,
                                                      const GitHubReport& report) {
    const auto repository = github::repository_on(app.address(), report.repository_url);
    if (repository) return *repository;
    return fail(ErrorCode::not_found, "the repository is not on the App's GitHub");
  }

  // Several may be deployed of one commit, and the newest status of a context is all that GitHub
  // shows: production has one, previews of branches and those of pull requests have theirs.
  static std::string context_of(const GitHubReport& report) {
    const auto context = "atlasflow/" + report.project;
    if (!is_preview(report.environment)) return context;
    return context + "/" + report.environment.substr(0, report.environment.find('/'));
  }

  Result<void> tell_commit(github::AppClient& app, const GitHubReport& report,
                           const std::stop_token& stop) {
    if (report.commit_state.empty()) return {};
    ATLAS_TRY(const auto repository, repository_of(app, report));
    github::CommitStatus status;
    status.sha = report.commit;
    status.state = report.commit_state;
    status.context = context_of(report);
    status.target_url = address_.url_of_host(report.hostname);
    status.description = headline_of(report.status, report.reason);
    return github::set_commit_status(app, repository, status, stop);
  }

  // GitHub's id of the comment.
  Result<std::int64_t> tell_pull_request(github::AppClient& app, const GitHubReport& report,
                                         const std::stop_token& stop) {
    ATLAS_TRY(const auto repository, repository_of(app, report));
    github::PullRequestComment comment;
    comment.pull_request = report.pull_request;
    comment.mark = report.project_id.str() + "/" + std::to_string(report.pull_request);
    comment.text = comment_text(report);
    return github::put_comment(app, repository, comment,
                               owed_.comment_of(report.project_id, report.pull_request), stop);
  }

  // What serves is told beside what became of the newest commit, which may be another one.
  std::string comment_text(const GitHubReport& report) const {
    const auto& shown = report.preview;
    const bool is_older = !shown.serving.empty() && shown.serving != shown.newest;
    const auto url = address_.url_of_host(report.hostname);
    const auto row = [](const std::string& name, const std::string& value) {
      return "| " + name + " | " + value + " |\n";
    };
    const auto text = headline_of(shown.status, shown.reason) +
                      (is_older ? "; an earlier commit is served meanwhile" : "");
    return "**" + report.project + "**: " + github::plain_markdown(text) +
           "\n\n| | |\n|---|---|\n" + row("Preview", shown.serving.empty() ? "none now" : url) +
           (is_older
                ? row("Serves", shown.serving_commit + ", deployment `" + shown.serving.str() + "`")
                : "") +
           row(is_older ? "Newest commit" : "Commit", shown.commit) +
           row(is_older ? "Its deployment" : "Deployment", "`" + shown.newest.str() + "`");
  }

  static std::string headline_of(ReportStatus status, const std::string& reason) {
    if (!reason.empty()) return reason;
    switch (status) {
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

  // Makes it on GitHub if need be, whose id is in the outcome from then on, and adds the status.
  Result<void> tell_deployment(github::AppClient& app, const GitHubReport& report,
                               commands::RecordGitHubReport& outcome, const std::stop_token& stop) {
    ATLAS_TRY(const auto repository, repository_of(app, report));
    auto& id = outcome.github_deployment;
    if (id == 0) id = owed_.github_deployment_of(report.deployment);
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
    return github::add_status(app, repository, status, stop);
  }

  actors::ControlPlane& control_;
  github::ConnectedApp& connected_;
  const api::PublicAddress address_;
  const std::chrono::milliseconds pause_;
  Position position_;       // of the newest record that is folded
  std::string unreadable_;  // why the log could not be read last time; empty: it could
  GitHubReportsOwed owed_;
  std::map<ProjectId, Telling> telling_;
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
