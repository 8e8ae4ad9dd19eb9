// The fold, and what can be made of what was.
#include "events/project_history.hpp"

#include <algorithm>

#include <google/protobuf/util/message_differencer.h>

#include "base/probe.hpp"
#include "events/earlier_builds.hpp"
#include "events/environment.hpp"
#include "events/serving.hpp"

namespace atlasflow {
namespace {

constexpr std::size_t k_past_max = 100;

void end(ProjectHistory& history, EnvironmentHistory& environment, const DeploymentId& id) {
  const auto found = environment.deployments.find(id);
  if (found->second.routed) {
    environment.past.push_back(std::move(found->second));
    ATLAS_PROBE(environment.past.size() > k_past_max,
                "a past deployment was forgotten, there being too many");
    if (environment.past.size() > k_past_max) {
      history.environment_by_id.erase(environment.past.front().id);
      environment.past.pop_front();
    }
  } else {
    history.environment_by_id.erase(id);
  }
  environment.deployments.erase(found);
  std::erase(environment.order, id);
  environment.made_at.erase(id);
}

// Forks' images lie in a store of their own, and are offered to nobody.
void note_builds(ProjectHistory& history, const DeploymentState& deployment,
                 const pb::Event& event) {
  if (deployment.push.pull_request().from_fork()) return;
  if (event.has_build_started()) {
    if (deployment.push.no_cache()) {
      history.builds.clear();
      history.building.clear();  // what began before it ends as if it had ended before it
    }
    history.building.insert(deployment.id);
  } else if (event.has_built() && history.building.erase(deployment.id) != 0) {
    note_build(history.builds, deployment.id, event.built());
  }
  if (is_terminal(deployment.status)) history.building.erase(deployment.id);
}

}  // namespace

const pb::PushReceived* push_of(const pb::Event& event) {
  switch (event.kind_case()) {
    case pb::Event::kPushReceived:
      return &event.push_received();
    case pb::Event::kRollbackRequested:
      return &event.rollback_requested().push();
    case pb::Event::kRedeployRequested:
      return &event.redeploy_requested().push();
    default:
      return nullptr;
  }
}

bool begins_deployment(pb::Event::KindCase kind) {
  return kind == pb::Event::kPushReceived || kind == pb::Event::kRollbackRequested ||
         kind == pb::Event::kRedeployRequested;
}

const DeploymentState* ProjectHistory::find(const DeploymentId& id) const {
  const auto name = environment_by_id.find(id);
  if (name == environment_by_id.end()) return nullptr;
  const auto& environment = environments.at(name->second);
  const auto found = environment.deployments.find(id);
  if (found != environment.deployments.end()) return &found->second;
  for (const auto& state : environment.past) {
    if (state.id == id) return &state;
  }
  return nullptr;
}

void evolve(ProjectHistory& history, const pb::Event& event) {
  evolve(history.project, event);
  if (event.has_env_set() || event.has_env_unset()) {
    history.env_changes.push_back(history.project.version);
  }
  if (event.has_branch_deleted()) {
    constexpr std::string_view k_heads = "refs/heads/";
    const auto& deletion = event.branch_deleted();
    const auto branch = deletion.ref().substr(std::min(k_heads.size(), deletion.ref().size()));
    take(history.environments[preview_environment(branch)].pushes, deletion);
  }
  if (event.has_push_ignored() && event.push_ignored().has_pull_request()) {
    const auto& ignored = event.push_ignored();
    take(history.pull_requests[ignored.pull_request().number()], ignored);
  } else if (event.has_pull_request_held()) {
    const auto& held = event.pull_request_held();
    take(history.pull_requests[held.pull_request().number()], held);
  } else if (event.has_pull_request_closed()) {
    const auto& closed = event.pull_request_closed();
    take(history.pull_requests[closed.pull_request().number()], closed);
  }
}

void evolve(ProjectHistory& history, const DeploymentId& id, const pb::Event& event,
            TimestampUs recorded_at) {
  if (const auto* push = push_of(event)) {
    const auto& name =
        push->environment().empty() ? std::string(k_production) : push->environment();
    history.environment_by_id[id] = name;
    auto& environment = history.environments[name];
    environment.deployments[id].id = id;
    environment.order.push_back(id);
    environment.made_at[id] = recorded_at;
    if (event.has_push_received() && push->has_pull_request()) {
      take(history.pull_requests[push->pull_request().number()], *push);
      note_deployed(history.project, *push);
    } else if (event.has_push_received() && push->trigger() == pb::TRIGGER_WEBHOOK) {
      take(environment.pushes, *push);
    }
  }
  const auto name = history.environment_by_id.find(id);
  if (name == history.environment_by_id.end()) return;
  auto& environment = history.environments[name->second];
  const auto found = environment.deployments.find(id);
  if (found == environment.deployments.end()) return;
  const bool waited = found->second.status == DeploymentStatus::queued;
  evolve(found->second, event);
  note_builds(history, found->second, event);
  if (event.has_cancel_requested() && !event.cancel_requested().superseded_by().empty()) {
    environment.protect_next = true;
  }
  if (waited && is_under_way(found->second.status) &&
      found->second.status != DeploymentStatus::cancelling) {
    ATLAS_PROBE(environment.protect_next,
                "a deployment that came of an override is spared the next");
    environment.spared = environment.protect_next ? id : DeploymentId{};
    environment.protect_next = false;
  }
  if (is_terminal(found->second.status)) end(history, environment, id);
}

const DeploymentState* serving(const EnvironmentHistory& environment) {
  const DeploymentState* newest = nullptr;
  for (const auto& [id, state] : environment.deployments) {
    if (!is_serving(state.status)) continue;
    if (newest == nullptr || claims_before(state, *newest)) newest = &state;
  }
  return newest;
}

namespace {

// How many changes of variables the deployment has seen.
std::ptrdiff_t env_changes_before(const ProjectHistory& history, const DeploymentState& state) {
  const StreamVersion made_with{state.push.settings_version()};
  return std::ranges::upper_bound(history.env_changes, made_with) - history.env_changes.begin();
}

// Production's that were live, the newest first. What was replaced just now may still drain.
std::vector<const DeploymentState*> once_live(const ProjectHistory& history) {
  std::vector<const DeploymentState*> states;
  const auto found = history.environments.find(k_production);
  if (found == history.environments.end()) return states;
  const auto consider = [&](const DeploymentState& state) {
    if (state.routed && !state.image.empty()) states.push_back(&state);
  };
  const auto& environment = found->second;
  for (auto id = environment.order.rbegin(); id != environment.order.rend(); ++id) {
    consider(environment.deployments.at(*id));
  }
  std::for_each(environment.past.rbegin(), environment.past.rend(), consider);
  return states;
}

}  // namespace

bool runs_the_same(const ProjectHistory& history, const DeploymentState& one,
                   const DeploymentState& other) {
  return one.image == other.image && one.push.after() == other.push.after() &&
         env_changes_before(history, one) == env_changes_before(history, other) &&
         google::protobuf::util::MessageDifferencer::Equals(one.push.settings(),
                                                            other.push.settings());
}

std::vector<const DeploymentState*> rollback_targets(const ProjectHistory& history,
                                                     std::size_t limit) {
  const auto found = history.environments.find(k_production);
  if (found == history.environments.end()) return {};
  std::vector<const DeploymentState*> seen;
  if (const auto* now = serving(found->second)) seen.push_back(now);
  const auto before = static_cast<std::ptrdiff_t>(seen.size());
  for (const auto* state : once_live(history)) {
    if (seen.size() - static_cast<std::size_t>(before) >= limit) break;
    const bool again = std::ranges::any_of(
        seen, [&](const auto* other) { return runs_the_same(history, *state, *other); });
    if (!again) seen.push_back(state);
  }
  return {seen.begin() + before, seen.end()};
}

std::size_t within_reach(const std::vector<const DeploymentState*>& in_order,
                         std::size_t rollbacks) {
  std::set<ImageRef> images;
  for (std::size_t i = 0; i < in_order.size(); ++i) {
    if (images.contains(in_order[i]->image)) continue;
    if (images.size() > rollbacks) return i;
    images.insert(in_order[i]->image);
  }
  return in_order.size();
}

bool is_within_reach(const ProjectHistory& history, const DeploymentId& id, std::size_t rollbacks) {
  const auto in_order = once_live(history);
  const auto end =
      in_order.begin() + static_cast<std::ptrdiff_t>(within_reach(in_order, rollbacks));
  return std::any_of(in_order.begin(), end, [&](const auto* state) { return state->id == id; });
}

const DeploymentState* good_before(const ProjectHistory& history, const DeploymentState& served) {
  for (const auto* state : once_live(history)) {
    if (state->generation >= served.generation || state->crashed_early) continue;
    ATLAS_PROBE(runs_the_same(history, *state, served),
                "an app crashed soon after it was deployed unchanged, and is not rolled back");
    return runs_the_same(history, *state, served) ? nullptr : state;
  }
  return nullptr;
}

namespace {

pb::BuiltBefore built_before(const DeploymentState& from) {
  pb::BuiltBefore built;
  built.set_image_id(from.image_id);
  built.set_reference(from.image.str());
  built.set_stack(from.stack);
  built.set_toolchain(from.toolchain);
  for (const auto& image : from.base_images) *built.add_base_images() = image;
  built.set_subject(from.subject);
  built.set_author(from.author);
  return built;
}

}  // namespace

Result<RequestRollback> rollback_of(const DeploymentState& from, const Principal& by,
                                    const std::string& why) {
  if (from.image.empty()) {
    return fail(ErrorCode::conflict,
                "deployment " + from.id.str() + " has no image to go back to; choose another one");
  }
  RequestRollback command{{}, by};
  auto& request = command.request;
  *request.mutable_push() = from.push;
  request.mutable_push()->clear_no_cache();
  request.mutable_push()->set_trigger(pb::TRIGGER_COMMAND);
  request.set_to(from.id.str());
  request.set_by(why.empty() ? by.str() : why);
  *request.mutable_built() = built_before(from);
  return command;
}

Result<RequestRedeploy> redeployment_of(const DeploymentState& from, const ProjectState& project,
                                        pb::Redeployment kind, const Principal& by) {
  RequestRedeploy command{{}, by};
  auto& request = command.request;
  auto* push = request.mutable_push();
  *push = from.push;
  push->clear_no_cache();
  push->set_trigger(pb::TRIGGER_COMMAND);
  request.set_of(from.id.str());
  request.set_by(by.str());
  request.set_kind(kind);
  if (kind == pb::REDEPLOYMENT_REDEPLOY) {
    *push->mutable_settings() = project.settings;
    push->set_settings_version(project.version.value());
    return command;
  }
  if (from.image.empty()) {
    return fail(ErrorCode::conflict, "deployment " + from.id.str() +
                                         " has no image yet; wait until it is built, or "
                                         "redeploy it");
  }
  *request.mutable_built() = built_before(from);
  if (kind == pb::REDEPLOYMENT_PROMOTE) {
    push->set_environment(k_production);
    push->clear_pull_request();
    push->set_settings_version(project.version.value());
  }
  return command;
}

}  // namespace atlasflow
