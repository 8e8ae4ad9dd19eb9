#include "events/pull_request.hpp"

#include <algorithm>

#include "base/probe.hpp"
#include "events/environment.hpp"
#include "events/project_history.hpp"

namespace atlasflow {
namespace {

constexpr std::size_t k_replaced_max = 100;

using Kind = PullRequestVerdict::Kind;

std::string shortened(const std::string& sha) { return sha.substr(0, 7); }

std::string name_of(std::int64_t number) { return "pull request " + std::to_string(number); }

void note_replaced(PullRequestState& state, const std::string& sha) {
  if (sha.empty() || std::ranges::find(state.replaced, sha) != state.replaced.end()) return;
  state.replaced.push_back(sha);
  if (state.replaced.size() > k_replaced_max) state.replaced.pop_front();
}

void take_head(PullRequestState& state, const std::string& before, const std::string& head) {
  note_replaced(state, before);
  if (state.head != head) note_replaced(state, state.head);
  std::erase(state.replaced, head);
  state.head = head;
  state.closed = false;
}

// Before take_head(): what was replaced matters within one second only.
void take_time(PullRequestState& state, const pb::PullRequestHead& head) {
  if (head.updated_at_s() > state.updated_at_s) state.replaced.clear();
  state.updated_at_s = std::max(state.updated_at_s, head.updated_at_s());
}

std::string reason_if_late(const PullRequestState& known, const Push& push) {
  const auto& news = *push.pull_request;
  const auto number = name_of(news.head.number());
  if (news.head.updated_at_s() > known.updated_at_s) return "";
  if (news.head.updated_at_s() < known.updated_at_s) {
    ATLAS_PROBE(true, "a delivery of a pull request came after a later one");
    return "late: " + number + " has changed since";
  }
  if (!news.is_open) return "";
  if (known.closed) {
    ATLAS_PROBE(true, "a pull request was closed in the second in which it was changed");
    return "late: " + number + " was closed in that second";
  }
  if (push.after == known.head) return "";
  const bool replaced = std::ranges::find(known.replaced, push.after) != known.replaced.end();
  if (!known.head.empty() && (news.is_first || replaced)) {
    ATLAS_PROBE(true, "two heads of a pull request came in the wrong order within one second");
    return "late: " + number + " has moved on from commit " + shortened(push.after);
  }
  return "";
}

// Of an open one that is news, and whose project deploys pull requests.
PullRequestVerdict judge_open(const ProjectHistory& history, const PullRequestState& known,
                              const Push& push) {
  const auto& head = push.pull_request->head;
  if (push.after == known.head && !known.closed) {
    ATLAS_PROBE(true, "a pull request's head was told of twice");
    return {Kind::ignored, "commit " + shortened(push.after) + " is known"};
  }
  if (head.from_fork() && !history.project.settings.pull_requests_from_forks()) {
    return {Kind::ignored, name_of(head.number()) +
                               " comes from a fork, and those are not deployed; atlasflow project "
                               "set " +
                               history.project.name +
                               " pull_requests_from_forks=true lets you approve them"};
  }
  if (head.from_fork() && push.after != known.approved) {
    ATLAS_PROBE(true, "a fork's commit waits for an approval");
    return {.kind = Kind::held};
  }
  auto reason = reason_against_preview(history, pull_request_environment(head.number()));
  if (!reason.empty()) return {Kind::ignored, std::move(reason)};
  ATLAS_PROBE(known.closed, "a pull request was opened again");
  return {.kind = Kind::deploys, .approved_by = head.from_fork() ? known.approved_by : ""};
}

}  // namespace

void take(PullRequestState& state, const pb::PushReceived& push) {
  take_time(state, push.pull_request());
  take_head(state, push.before(), push.after());
  if (push.pull_request().approved_by().empty()) return;
  state.approved = push.after();
  state.approved_by = push.pull_request().approved_by();
}

void take(PullRequestState& state, const pb::PushIgnored& ignored) {
  take_time(state, ignored.pull_request());
}

void take(PullRequestState& state, const pb::PullRequestHeld& held) {
  take_time(state, held.pull_request());
  take_head(state, held.before(), held.head());
}

void take(PullRequestState& state, const pb::PullRequestClosed& closed) {
  take_time(state, closed.pull_request());
  state.closed = true;
  state.closed_by = Principal::parsed(closed.by()).value_or(Principal::webhook("github"));
}

PullRequestVerdict judge(const ProjectHistory& history, const Push& push) {
  const auto& news = *push.pull_request;
  const auto number = news.head.number();
  const auto found = history.pull_requests.find(number);
  const bool is_known = found != history.pull_requests.end();
  const auto& settings = history.project.settings;
  const auto off = name_of(number) + " is not deployed; atlasflow project set " +
                   history.project.name + " pull_requests=true gives each a preview";
  if (!is_known && !settings.pull_requests()) return {Kind::unwanted, off};
  const auto known = is_known ? found->second : PullRequestState{};
  if (auto late = reason_if_late(known, push); !late.empty()) return {Kind::ignored, late};
  if (!news.is_open) {
    if (known.closed) return {Kind::ignored, name_of(number) + " is closed already"};
    return {.kind = Kind::closes};
  }
  if (!settings.pull_requests()) return {Kind::ignored, off};
  return judge_open(history, known, push);
}

Result<pb::PushReceived> approved(const ProjectHistory& history, const Approval& approval,
                                  const Principal& by) {
  const auto& project = history.project;
  if (!project.exists()) return fail(ErrorCode::not_found, "there is no such project");
  const auto found = project.awaiting_approval.find(approval.number);
  const auto pull_request = history.pull_requests.find(approval.number);
  const auto name = name_of(approval.number);
  // Asked again, as when the answer was lost: the log knows it by its id.
  const auto made = history.environments.find(pull_request_environment(approval.number));
  if (made != history.environments.end()) {
    for (const auto& [id, deployment] : made->second.deployments) {
      if (deployment.push.delivery_id() == approval.command_id) return deployment.push;
    }
  }
  if (found == project.awaiting_approval.end()) {
    if (pull_request != history.pull_requests.end() && !pull_request->second.closed &&
        pull_request->second.approved == approval.sha) {
      return fail(ErrorCode::conflict,
                  "commit " + shortened(approval.sha) + " of " + name + " is deployed already");
    }
    return fail(ErrorCode::not_found,
                "no commit of " + name + " of project '" + project.name +
                    "' waits for an approval; atlasflow project show " + project.name +
                    " lists those that do, and one that is pushed to or opened again waits anew");
  }
  const auto& held = found->second;
  if (approval.sha != held.head()) {
    ATLAS_PROBE(true, "a fork was pushed to while somebody approved the commit before");
    return fail(ErrorCode::conflict, name + " has moved on: commit " + held.head() +
                                         " waits by now; look at it, and approve that one");
  }
  if (!project.settings.pull_requests() || !project.settings.pull_requests_from_forks()) {
    return fail(ErrorCode::conflict,
                "project '" + project.name +
                    "' deploys no pull requests from forks any more; atlasflow project set " +
                    project.name + " pull_requests=true pull_requests_from_forks=true changes it");
  }
  const auto environment = pull_request_environment(approval.number);
  if (auto reason = reason_against_preview(history, environment); !reason.empty()) {
    return fail(ErrorCode::conflict, reason);
  }
  Push push{.trigger = pb::TRIGGER_COMMAND,
            .ref = "refs/pull/" + std::to_string(approval.number) + "/head",
            .before = held.before(),
            .after = held.head(),
            .delivery_id = approval.command_id,
            .pusher = held.pusher(),
            .by = by,
            .pull_request = PullRequestNews{.head = held.pull_request()}};
  push.pull_request->head.set_approved_by(by.str());
  return push_received(push, project, environment);
}

}  // namespace atlasflow
