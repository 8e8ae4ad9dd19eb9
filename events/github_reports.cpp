#include "events/github_reports.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "events/project.hpp"
#include "events/project_history.hpp"
#include "events/serving.hpp"

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
    apply_to_app(event);
  } else if (const auto of = project_of(stream); !of.empty()) {
    apply_to_project(of, event);
  } else if (const auto project = reported_project_of(stream); !project.empty()) {
    if (event.has_github_told()) {
      const auto& told = event.github_told();
      learn_comment(project, told.deployment(), told.comment());
      settle(project, told.deployment(), told.status(), told.github_deployment());
    } else if (event.has_github_not_told()) {
      const auto& refused = event.github_not_told();
      learn_comment(project, refused.deployment(), refused.comment());
      settle_refused(project, refused);
    }
  }
}

void GitHubReportsOwed::apply_to_app(const pb::Event& event) {
  const auto before = app_.app_id;
  evolve(app_, event);
  if (app_.app_id != before) {
    // An App may not edit another's comments.
    for (auto& [project, comments] : comments_) {
      for (auto& [number, comment] : comments) comment.id = 0;
    }
  }
  if (app_.is_connected()) return;
  owed_.clear();
  comments_.clear();
  std::erase_if(followed_, [](const auto& each) {
    const auto& state = each.second.state;
    return !state.push.has_pull_request() || is_terminal(state.status);
  });
  for (auto& [id, followed] : followed_) {
    followed.is_silent = true;
    followed.github_deployment = 0;
  }
}

void GitHubReportsOwed::apply_to_project(const ProjectId& project, const pb::Event& event) {
  if (event.has_pull_request_closed()) {
    const auto number = event.pull_request_closed().pull_request().number();
    if (auto* comment = comment_for(project, number)) comment->closed = true;
    forget_comment_if_over(project, number);
  } else if (event.has_project_deleted()) {
    const auto known = comments_.find(project);
    if (known == comments_.end()) return;
    // Nobody tells of their closing any more.
    std::vector<std::int64_t> numbers;
    for (auto& [number, comment] : known->second) {
      comment.closed = true;
      numbers.push_back(number);
    }
    for (const auto number : numbers) forget_comment_if_over(project, number);
  }
}

// Of one that began before, GitHub has no deployment and gets none at its end.
void GitHubReportsOwed::follow(const DeploymentId& id, const pb::Event& event,
                               const pb::PushReceived& push) {
  const bool is_told = app_.is_connected() && is_on(app_.base_url, push.repository_url());
  if (!is_told && !push.has_pull_request()) return;
  auto& followed = followed_[id];
  followed.state.id = id;
  followed.is_silent = !is_told;
  if (!is_told || !push.has_pull_request()) return;
  auto& comments = comments_[ProjectId{push.project_id()}];
  const auto [comment, is_new] = comments.try_emplace(push.pull_request().number());
  comment->second.shown.newest = id;
  comment->second.shown.commit = push.after();
  // A redeployment opens none again; whether one is closed of which nothing is known, nobody says.
  comment->second.closed = !event.has_push_received() && (is_new || comment->second.closed);
}

GitHubReportsOwed::Comment* GitHubReportsOwed::comment_for(const ProjectId& project,
                                                           std::int64_t pull_request) {
  const auto known = comments_.find(project);
  if (known == comments_.end()) return nullptr;
  const auto found = known->second.find(pull_request);
  return found == known->second.end() ? nullptr : &found->second;
}

const DeploymentState* GitHubReportsOwed::answering(const pb::PushReceived& of) const {
  const DeploymentState* newest = nullptr;
  for (const auto& [id, followed] : followed_) {
    const auto& state = followed.state;
    const bool answers =
        state.status == DeploymentStatus::live || state.status == DeploymentStatus::restarting;
    if (!answers || state.push.project_id() != of.project_id() ||
        state.push.environment() != of.environment()) {
      continue;
    }
    if (newest == nullptr || claims_before(state, *newest)) newest = &state;
  }
  return newest;
}

void GitHubReportsOwed::apply_to_deployment(const DeploymentId& id, const pb::Event& event,
                                            TimestampUs recorded_at) {
  if (const auto* push = push_of(event)) follow(id, event, *push);
  const auto found = followed_.find(id);
  if (found == followed_.end()) return;
  auto& followed = found->second;
  evolve(followed.state, event);
  const auto& push = followed.state.push;
  bool serving_changed = false;
  if (push.has_pull_request()) {
    if (auto* comment = comment_for(ProjectId{push.project_id()}, push.pull_request().number())) {
      const auto* serving = answering(push);
      auto& shown = comment->shown;
      const auto before = std::exchange(shown.serving, serving ? serving->id : DeploymentId{});
      shown.serving_commit = serving ? serving->push.after() : "";
      serving_changed = before != shown.serving;
    }
  }
  const auto status = report_status_of(followed.state.status);
  if (status && status != followed.newest && !followed.is_silent) {
    followed.newest = status;
    owe(followed, *status, recorded_at, serving_changed);
  }
  forget_if_over(id);
}

// An older deployment's end is no news of the pull request, unless it is what had served.
void GitHubReportsOwed::owe(const Followed& followed, ReportStatus status, TimestampUs recorded_at,
                            bool serving_changed) {
  const auto& state = followed.state;
  GitHubReport report;
  report.project_id = ProjectId{state.push.project_id()};
  report.project = state.push.project_name();
  report.deployment = state.id;
  report.status = status;
  report.repository_url = state.push.repository_url();
  report.commit = state.push.after();
  report.environment = state.push.environment();
  report.hostname = hostnames_of(state, domain_).front();
  report.reason = reason_for(state);
  report.at = recorded_at;
  report.commit_state = commit_state_of(state, status);
  const auto number = state.push.pull_request().number();
  auto* comment = number == 0 ? nullptr : comment_for(report.project_id, number);
  if (comment != nullptr) {
    auto& shown = comment->shown;
    const bool is_newest = shown.newest == state.id;
    if (is_newest) {
      shown.status = status;
      shown.reason = report.reason;
    }
    if (is_newest || comment->closed || serving_changed) {
      report.pull_request = number;
      report.preview = shown;
    }
    // An earlier one's end says nothing of the pull request while the newest is followed.
    if (comment->closed && !followed_.contains(shown.newest)) {
      report.preview.newest = state.id;
      report.preview.commit = report.commit;
      report.preview.status = status;
      report.preview.reason = report.reason;
    }
  }
  report.comment_only = followed.is_refused;
  if (report.comment_only && report.pull_request == 0) return;
  owed_[report.project_id].push_back(std::move(report));
}

void GitHubReportsOwed::learn_comment(const ProjectId& project, const std::string& deployment,
                                      std::int64_t id) {
  const auto known = followed_.find(DeploymentId{deployment});
  if (id == 0 || known == followed_.end()) return;
  const auto number = known->second.state.push.pull_request().number();
  if (auto* comment = comment_for(project, number)) comment->id = id;
}

std::int64_t GitHubReportsOwed::comment_of(const ProjectId& project,
                                           std::int64_t pull_request) const {
  const auto known = comments_.find(project);
  if (known == comments_.end()) return 0;
  const auto found = known->second.find(pull_request);
  return found == known->second.end() ? 0 : found->second.id;
}

void GitHubReportsOwed::settle(const ProjectId& project, const std::string& deployment,
                               const std::string& status, std::int64_t github_deployment) {
  const DeploymentId id(deployment);
  const auto known = followed_.find(id);
  if (known != followed_.end() && github_deployment != 0) {
    known->second.github_deployment = github_deployment;
  }
  take_back(project, id, status);
  forget_if_over(id);
}

// What GitHub does not take of a deployment now it does not take later; the comment on its pull
// request tells of it on, or it would show for ever what was true before.
void GitHubReportsOwed::settle_refused(const ProjectId& project, const pb::GitHubNotTold& refused) {
  const DeploymentId id(refused.deployment());
  const auto known = followed_.find(id);
  const bool goes_on = refused.comment_goes_on() && known != followed_.end() &&
                       known->second.state.push.has_pull_request();
  if (known != followed_.end())
    (goes_on ? known->second.is_refused : known->second.is_silent) = true;
  if (goes_on) take_back(project, id, refused.status());
  if (const auto found = owed_.find(project); found != owed_.end()) {
    auto& queue = found->second;
    std::erase_if(queue, [&](const auto& each) {
      return each.deployment == id && (!goes_on || each.pull_request == 0);
    });
    for (auto& each : queue) {
      if (each.deployment == id) each.comment_only = true;
    }
    if (queue.empty()) owed_.erase(found);
  }
  forget_if_over(id);
}

// One of them: it may have been live twice.
void GitHubReportsOwed::take_back(const ProjectId& project, const DeploymentId& id,
                                  const std::string& status) {
  const auto found = owed_.find(project);
  if (found == owed_.end()) return;
  auto& queue = found->second;
  const auto first = std::find_if(queue.begin(), queue.end(), [&](const auto& each) {
    return each.deployment == id && name_of(each.status) == status;
  });
  if (first != queue.end()) queue.erase(first);
  if (queue.empty()) owed_.erase(found);
}

void GitHubReportsOwed::forget_if_over(const DeploymentId& id) {
  const auto found = followed_.find(id);
  if (found == followed_.end() || !is_terminal(found->second.state.status)) return;
  const auto& push = found->second.state.push;
  const ProjectId project{push.project_id()};
  const auto number = push.pull_request().number();
  const auto queue = owed_.find(project);
  const bool is_owed =
      queue != owed_.end() && std::any_of(queue->second.begin(), queue->second.end(),
                                          [&](const auto& each) { return each.deployment == id; });
  if (is_owed) return;
  followed_.erase(found);
  if (number != 0) forget_comment_if_over(project, number);
}

void GitHubReportsOwed::forget_comment_if_over(const ProjectId& project,
                                               std::int64_t pull_request) {
  const auto* comment = comment_for(project, pull_request);
  if (comment == nullptr || !comment->closed) return;
  const bool is_followed = std::any_of(followed_.begin(), followed_.end(), [&](const auto& each) {
    const auto& push = each.second.state.push;
    return !each.second.is_silent && push.project_id() == project.str() &&
           push.pull_request().number() == pull_request;
  });
  if (is_followed) return;
  auto& comments = comments_.at(project);
  comments.erase(pull_request);
  if (comments.empty()) comments_.erase(project);
}

std::int64_t GitHubReportsOwed::github_deployment_of(const DeploymentId& id) const {
  const auto found = followed_.find(id);
  return found == followed_.end() ? 0 : found->second.github_deployment;
}

}  // namespace atlasflow
