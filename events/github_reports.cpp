#include "events/github_reports.hpp"

#include <algorithm>

#include "events/project.hpp"
#include "events/project_history.hpp"

namespace atlasflow {
namespace {

// Without the failure's own reason: that may quote what the build or the app has printed, and a
// repository's page on GitHub may be open to everybody.
std::string failure_text(const std::optional<Failure>& failure) {
  if (!failure || failure->step == pb::STEP_UNSPECIFIED) return "it failed";
  return "the " + std::string(name_of(failure->step)) + " failed; the fault is " +
         (failure->fault == pb::FAULT_USER ? "the repository's or the app's"
                                           : "Atlasflow's or its machine's");
}

std::string reason_for(const DeploymentState& state) {
  switch (state.status) {
    case DeploymentStatus::failing:
    case DeploymentStatus::failed:
      return failure_text(state.failure);
    case DeploymentStatus::crashed:
      return "it crashed too often in a row and is not started any more";
    case DeploymentStatus::stopping:
    case DeploymentStatus::stopped:
      return "stopped by " + state.stopped_by;
    case DeploymentStatus::cancelled:
      return "cancelled by " + state.cancelled_by +
             (state.cancel_reason.empty() ? "" : ": " + state.cancel_reason);
    case DeploymentStatus::superseded:
      return "superseded by deployment " + state.superseded_by;
    case DeploymentStatus::skipped:
      return "skipped: " + state.skip_reason;
    case DeploymentStatus::retiring:
    case DeploymentStatus::retired:
      // By whom, or by which deployment.
      return "retired by " + state.retired_by +
             (state.retire_reason.empty() ? "" : ": " + state.retire_reason);
    default:
      return "";
  }
}

// What the commit's status is by it. A commit that had been live keeps its success, and of one that
// nothing was built of it says that nobody waits for it.
std::string commit_state_of(const DeploymentState& state, ReportStatus status) {
  switch (status) {
    case ReportStatus::queued:
    case ReportStatus::in_progress:
      return "pending";
    case ReportStatus::success:
      return "success";
    case ReportStatus::failure:
      return state.failure && state.failure->fault == pb::FAULT_SYSTEM ? "error" : "failure";
    case ReportStatus::inactive:
      if (state.routed) return "";
      return state.status == DeploymentStatus::skipped ? "success" : "error";
  }
  return "";
}

// "github.com", "git.example.com:8443"; empty of a local path.
std::string authority_of(const std::string& url) {
  const auto repository = normalized_repository(url);
  return repository.substr(0, repository.find('/'));
}

std::string without_port(const std::string& authority) {
  return authority.substr(0, authority.find(':'));
}

// Whether a clone URL leads to the host of "https://github.com": by https, ssh:// or git@host:. Who
// tells GitHub looks closer.
bool is_on(const std::string& base_url, const std::string& url) {
  const auto wanted = authority_of(base_url);
  const auto found = authority_of(url);
  if (found.empty()) return false;
  if (url.starts_with("https://") || url.starts_with("http://")) return found == wanted;
  // SSH has a port of its own.
  return without_port(found) == without_port(wanted);
}

}  // namespace

std::string_view name_of(ReportStatus status) {
  switch (status) {
    case ReportStatus::queued:
      return "queued";
    case ReportStatus::in_progress:
      return "in_progress";
    case ReportStatus::success:
      return "success";
    case ReportStatus::failure:
      return "failure";
    case ReportStatus::inactive:
      return "inactive";
  }
  return "unknown";
}

std::optional<ReportStatus> report_status_of(DeploymentStatus status) {
  switch (status) {
    case DeploymentStatus::queued:
      return ReportStatus::queued;
    case DeploymentStatus::cloning:
    case DeploymentStatus::building:
    case DeploymentStatus::pushing:
    case DeploymentStatus::releasing:
    case DeploymentStatus::starting:
    case DeploymentStatus::checking:
    case DeploymentStatus::routing:
      return ReportStatus::in_progress;
    case DeploymentStatus::live:
      return ReportStatus::success;
    case DeploymentStatus::failing:
    case DeploymentStatus::failed:
    case DeploymentStatus::crashed:
      return ReportStatus::failure;
    case DeploymentStatus::stopping:
    case DeploymentStatus::stopped:
    case DeploymentStatus::retiring:
    case DeploymentStatus::retired:
    case DeploymentStatus::superseded:
    case DeploymentStatus::cancelled:
    case DeploymentStatus::skipped:
      return ReportStatus::inactive;
    case DeploymentStatus::absent:
    case DeploymentStatus::restarting:  // it is live again in a moment, or crashed
    case DeploymentStatus::cancelling:
      break;
  }
  return std::nullopt;
}

void GitHubReportsOwed::apply(const StreamId& stream, const pb::Event& event,
                              TimestampUs recorded_at) {
  if (const auto id = deployment_of(stream); !id.empty()) {
    apply_to_deployment(id, event, recorded_at);
  } else if (stream == github_stream()) {
    const auto before = app_.app_id;
    evolve(app_, event);
    if (app_.app_id != before) {
      // An App may not edit another's comments.
      for (auto& [project, numbers] : pull_requests_) {
        for (auto& [number, commented] : numbers) commented.comment = 0;
      }
    }
    if (!app_.is_connected()) {
      owed_.clear();
      deployments_.clear();
      pull_requests_.clear();
    }
  } else if (event.has_pull_request_closed()) {
    const auto known = pull_requests_.find(project_of(stream));
    if (known == pull_requests_.end()) return;
    const auto found = known->second.find(event.pull_request_closed().pull_request().number());
    if (found != known->second.end()) found->second.closed = true;
  } else if (const auto project = reported_project_of(stream); !project.empty()) {
    if (event.has_github_told()) {
      const auto& told = event.github_told();
      learn_comment(project, told);
      settle(project, told.deployment(), told.status(), told.github_deployment(), false);
    } else if (event.has_github_not_told()) {
      const auto& refused = event.github_not_told();
      settle(project, refused.deployment(), refused.status(), 0, true);
    }
  }
}

void GitHubReportsOwed::apply_to_deployment(const DeploymentId& id, const pb::Event& event,
                                            TimestampUs recorded_at) {
  // Of one that began before, GitHub has no deployment and gets none at its end.
  if (const auto* push = push_of(event);
      push != nullptr && app_.is_connected() && is_on(app_.base_url, push->repository_url())) {
    deployments_[id].state.id = id;
    if (push->has_pull_request()) {
      auto& commented =
          pull_requests_[ProjectId{push->project_id()}][push->pull_request().number()];
      commented.newest = id;
      commented.closed = false;
    }
  }
  const auto found = deployments_.find(id);
  if (found == deployments_.end()) return;
  auto& told = found->second;
  evolve(told.state, event);
  const auto status = report_status_of(told.state.status);
  if (status && status != told.newest && !told.refused) {
    told.newest = status;
    const auto& state = told.state;
    owed_[ProjectId{state.push.project_id()}].push_back(
        {ProjectId{state.push.project_id()}, state.push.project_name(), id, *status,
         state.push.repository_url(), state.push.after(), state.push.environment(),
         hostnames_of(state, domain_).front(), reason_for(state), recorded_at,
         commit_state_of(state, *status), shown_in(state)});
  }
  forget_if_over(id);
}

// An older deployment's end is no news of the pull request while a newer one is on its way.
std::int64_t GitHubReportsOwed::shown_in(const DeploymentState& state) const {
  const auto number = state.push.pull_request().number();
  const auto known = pull_requests_.find(ProjectId{state.push.project_id()});
  if (number == 0 || known == pull_requests_.end()) return 0;
  const auto found = known->second.find(number);
  if (found == known->second.end()) return 0;
  return found->second.newest == state.id || found->second.closed ? number : 0;
}

void GitHubReportsOwed::learn_comment(const ProjectId& project, const pb::GitHubTold& told) {
  const auto known = deployments_.find(DeploymentId{told.deployment()});
  if (told.comment() == 0 || known == deployments_.end()) return;
  const auto number = known->second.state.push.pull_request().number();
  if (number != 0) pull_requests_[project][number].comment = told.comment();
}

std::int64_t GitHubReportsOwed::comment_of(const ProjectId& project,
                                           std::int64_t pull_request) const {
  const auto known = pull_requests_.find(project);
  if (known == pull_requests_.end()) return 0;
  const auto found = known->second.find(pull_request);
  return found == known->second.end() ? 0 : found->second.comment;
}

void GitHubReportsOwed::settle(const ProjectId& project, const std::string& deployment,
                               const std::string& status, std::int64_t github_deployment,
                               bool refused) {
  const DeploymentId id(deployment);
  const auto known = deployments_.find(id);
  if (known != deployments_.end()) {
    if (github_deployment != 0) known->second.github_deployment = github_deployment;
    if (refused) known->second.refused = true;
  }
  const auto found = owed_.find(project);
  if (found == owed_.end()) return;
  auto& queue = found->second;
  if (refused) {
    // What GitHub does not take of it now it does not take later.
    std::erase_if(queue, [&](const auto& each) { return each.deployment == id; });
  } else {
    // One of them: it may have been live twice.
    const auto first = std::find_if(queue.begin(), queue.end(), [&](const auto& each) {
      return each.deployment == id && name_of(each.status) == status;
    });
    if (first != queue.end()) queue.erase(first);
  }
  if (queue.empty()) owed_.erase(found);
  forget_if_over(id);
}

void GitHubReportsOwed::forget_if_over(const DeploymentId& id) {
  const auto found = deployments_.find(id);
  if (found == deployments_.end() || !is_terminal(found->second.state.status)) return;
  const auto queue = owed_.find(ProjectId{found->second.state.push.project_id()});
  const bool is_owed =
      queue != owed_.end() && std::any_of(queue->second.begin(), queue->second.end(),
                                          [&](const auto& each) { return each.deployment == id; });
  if (!is_owed) deployments_.erase(found);
}

std::int64_t GitHubReportsOwed::github_deployment_of(const DeploymentId& id) const {
  const auto found = deployments_.find(id);
  return found == deployments_.end() ? 0 : found->second.github_deployment;
}

}  // namespace atlasflow
