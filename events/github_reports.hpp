// What GitHub is still to be told of deployments: a fold of the whole log. It is told of those that
// began while an App was connected, from repositories on that App's GitHub. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "events/deployment.hpp"
#include "events/fields.hpp"
#include "events/github_app.hpp"

namespace atlasflow {

// As GitHub names the status of a deployment.
enum class ReportStatus : std::uint8_t { queued, in_progress, success, failure, inactive };

[[nodiscard]] std::string_view name_of(ReportStatus status);
// Nothing: GitHub is told nothing new by it.
[[nodiscard]] std::optional<ReportStatus> report_status_of(DeploymentStatus status);

// What the one comment on a pull request tells of its preview.
struct PreviewReport {
  DeploymentId newest;
  std::string commit;  // of that, as the next two
  ReportStatus status = ReportStatus::queued;
  std::string reason;
  // What answers at the preview's address, which may be an earlier one; empty: nothing does.
  DeploymentId serving;
  std::string serving_commit;
};

// One change, with what was true when it was recorded.
struct GitHubReport {
  ProjectId project_id;
  std::string project;
  DeploymentId deployment;
  ReportStatus status = ReportStatus::queued;
  std::string repository_url;
  std::string commit;
  std::string environment;  // "production", "preview/<branch>"
  std::string hostname;
  // Which step failed by whose fault, or why it is inactive. What an event quotes of a build's or
  // an app's words is left out.
  std::string reason;
  TimestampUs at = 0;
  // "pending", "success", "failure" or "error", for the commit; empty: it stays what it is.
  std::string commit_state;
  std::int64_t pull_request = 0;  // whose comment shows this; 0: none does
  PreviewReport preview;          // what that shows
  bool comment_only = false;      // GitHub has refused the deployment, and shows this all the same
};

// The log's records must come in position order. What was told, and what GitHub will not hear, is
// recorded in the project's stream "github-reports/<id>"; so what is owed is what a reporter that
// starts anew goes on with. When the App is disconnected nothing is owed.
class GitHubReportsOwed {
 public:
  // `domain` ends the hostnames.
  explicit GitHubReportsOwed(std::string domain) : domain_(std::move(domain)) {}

  void apply(const StreamId& stream, const pb::Event& event, TimestampUs recorded_at);

  // Of each project, oldest first, and never an empty list: GitHub must hear them in order.
  using ByProject = std::map<ProjectId, std::deque<GitHubReport>>;
  [[nodiscard]] const ByProject& owed() const { return owed_; }
  // What GitHub calls the deployment; 0: it has none so far.
  [[nodiscard]] std::int64_t github_deployment_of(const DeploymentId& id) const;
  // GitHub's id of the comment of a project's pull request; 0: none is known.
  [[nodiscard]] std::int64_t comment_of(const ProjectId& project, std::int64_t pull_request) const;

 private:
  struct Followed {
    DeploymentState state;
    std::optional<ReportStatus> newest;  // that was owed
    std::int64_t github_deployment = 0;
    // GitHub hears nothing of it: it began without an App, and is here as a preview that may serve;
    // or GitHub will hear no more of it.
    bool is_silent = false;
    bool is_refused = false;  // GitHub has it as no deployment; its pull request's comment goes on
  };
  // Of a pull request, until it is closed and nothing of it is followed any more.
  struct Comment {
    PreviewReport shown;
    bool closed = false;  // then what is left of it tells of its end
    std::int64_t id = 0;  // GitHub's; 0: none is known
  };
  void follow(const DeploymentId& id, const pb::Event& event, const pb::PushReceived& push);
  [[nodiscard]] Comment* comment_for(const ProjectId& project, std::int64_t pull_request);
  // Live, or so again in a moment; or null.
  [[nodiscard]] const DeploymentState* answering(const pb::PushReceived& of) const;
  void apply_to_deployment(const DeploymentId& id, const pb::Event& event, TimestampUs recorded_at);
  void owe(const Followed& followed, ReportStatus status, TimestampUs recorded_at,
           bool serving_changed);
  void apply_to_app(const pb::Event& event);
  void apply_to_project(const ProjectId& project, const pb::Event& event);
  void settle(const ProjectId& project, const std::string& deployment, const std::string& status,
              std::int64_t github_deployment);
  void settle_refused(const ProjectId& project, const pb::GitHubNotTold& refused);
  void take_back(const ProjectId& project, const DeploymentId& id, const std::string& status);
  void learn_comment(const ProjectId& project, const std::string& deployment, std::int64_t comment);
  // Of one that has ended and of which nothing is owed.
  void forget_if_over(const DeploymentId& id);
  void forget_comment_if_over(const ProjectId& project, std::int64_t pull_request);

  ATLAS_OWN_FIELDS(Followed, state, newest, github_deployment, is_silent, is_refused)
  ATLAS_OWN_FIELDS(Comment, shown, closed, id)
  ATLAS_OWN_FIELDS(GitHubReportsOwed, domain, app, followed, comments, owed)

  std::string domain_;
  GitHubAppState app_;
  std::map<DeploymentId, Followed> followed_;
  std::map<ProjectId, std::map<std::int64_t, Comment>> comments_;
  ByProject owed_;
};

}  // namespace atlasflow
