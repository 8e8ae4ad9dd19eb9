#include "sim/checkers/pull_requests.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "events/deployment_events.hpp"
#include "events/project_history.hpp"

namespace atlasflow::sim {
namespace {

std::string key_of(const std::string& project, std::int64_t number) {
  return fmt::format("{}/{}", project, number);
}

}  // namespace

void PullRequests::on_closing(const std::string& project, const pb::PullRequestHead& head) {
  auto& known = known_[key_of(project, head.number())];
  known.closed_s = std::max(known.closed_s, head.updated_at_s());
}

std::string PullRequests::take(const storage::Record& record) {
  const auto& event = record.event;
  if (event.has_project_created()) {
    names_[project_of(record.stream).str()] = event.project_created().name();
  }
  const auto deployment = deployment_of(record.stream).str();
  if (const auto* push = push_of(event)) {
    return push->has_pull_request() ? take_push(deployment, *push, event.has_push_received()) : "";
  }
  if (ends_deployment(event)) {
    const auto owner = owners_.find(deployment);
    if (owner != owners_.end()) known_[owner->second].going_on.erase(deployment);
    return "";
  }
  const auto& name = names_[project_of(record.stream).str()];
  if (event.has_pull_request_held()) {
    const auto& head = event.pull_request_held().pull_request();
    auto& known = known_[key_of(name, head.number())];
    if (head.updated_at_s() < known.newest_s) {
      return fmt::format("an older commit of pull request {} of {} is held", head.number(), name);
    }
    known.newest_s = head.updated_at_s();
  } else if (event.has_push_ignored() && event.push_ignored().has_pull_request()) {
    const auto& head = event.push_ignored().pull_request();
    auto& known = known_[key_of(name, head.number())];
    known.newest_s = std::max(known.newest_s, head.updated_at_s());
  } else if (event.has_pull_request_closed()) {
    const auto& head = event.pull_request_closed().pull_request();
    auto& known = known_[key_of(name, head.number())];
    if (head.updated_at_s() < known.newest_s) {
      return fmt::format("pull request {} of {} was closed by an older delivery", head.number(),
                         name);
    }
    known.newest_s = head.updated_at_s();
    known.closed_s = std::max(known.closed_s, head.updated_at_s());
    known.heads.clear();
  }
  return "";
}

std::string PullRequests::take_push(const std::string& deployment, const pb::PushReceived& push,
                                    bool is_new) {
  const auto& head = push.pull_request();
  const auto key = key_of(push.project_name(), head.number());
  auto& known = known_[key];
  owners_[deployment] = key;
  known.going_on.insert(deployment);
  const bool fork = head.from_fork() || head.repository() == GitHub::fork_name();
  if (fork) of_forks_.insert(deployment);
  if (push.environment() != fmt::format("pull/{}", head.number())) {
    return "deployment " + deployment + " of a pull request is in " + push.environment();
  }
  if (!is_new) return "";
  if (fork && approved_.insert(push.after()).second) {
    return fmt::format("commit {} of a fork is deployed, and nobody approved it", push.after());
  }
  // Somebody approves what was told before.
  const bool told = push.trigger() == pb::TRIGGER_WEBHOOK;
  if (told && head.updated_at_s() < known.newest_s) {
    return fmt::format("an older delivery of pull request {} made deployment {}", key, deployment);
  }
  known.newest_s = std::max(known.newest_s, head.updated_at_s());
  known.opened_s = head.updated_at_s();
  if (known.heads.insert(push.after()).second) return "";
  return fmt::format("commit {} of pull request {} is deployed twice", push.after(), key);
}

std::string PullRequests::unrest(const std::map<std::string, std::string>& routes) const {
  for (const auto& [key, known] : known_) {
    if (!is_closed(known)) continue;
    if (!known.going_on.empty()) {
      return fmt::format("pull request {} is closed, and deployment {} goes on", key,
                         *known.going_on.begin());
    }
    const auto slash = key.find('/');
    const auto label = fmt::format("pr-{}-{}.", key.substr(slash + 1), key.substr(0, slash));
    for (const auto& [host, deployment] : routes) {
      if (host.starts_with(label)) return host + " still leads somewhere, and it is closed";
    }
  }
  return "";
}

}  // namespace atlasflow::sim
