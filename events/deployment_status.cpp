// Where a deployment stands: what its status says, and which one follows from its parts.
#include "events/deployment_rules.hpp"

namespace atlasflow {

bool is_terminal(DeploymentStatus status) {
  switch (status) {
    case DeploymentStatus::failed:
    case DeploymentStatus::superseded:
    case DeploymentStatus::cancelled:
    case DeploymentStatus::skipped:
    case DeploymentStatus::retired:
      return true;
    default:
      return false;
  }
}

bool is_serving(DeploymentStatus status) {
  switch (status) {
    case DeploymentStatus::live:
    case DeploymentStatus::restarting:
    case DeploymentStatus::crashed:
    case DeploymentStatus::stopping:
    case DeploymentStatus::stopped:
      return true;
    default:
      return false;
  }
}

bool is_under_way(DeploymentStatus status) {
  switch (status) {
    case DeploymentStatus::cloning:
    case DeploymentStatus::building:
    case DeploymentStatus::pushing:
    case DeploymentStatus::releasing:
    case DeploymentStatus::starting:
    case DeploymentStatus::checking:
    case DeploymentStatus::routing:
    case DeploymentStatus::failing:
    case DeploymentStatus::cancelling:
      return true;
    default:
      return false;
  }
}

bool is_on_its_way_out(DeploymentStatus status) {
  switch (status) {
    case DeploymentStatus::cancelling:
    case DeploymentStatus::retiring:
    case DeploymentStatus::failing:
      return true;
    default:
      return false;
  }
}

namespace {

// Slots that are to go and hold nothing any more.
void drop_empty_slots(DeploymentState& state) {
  std::erase_if(state.instances, [&](const auto& item) {
    const Instance& instance = item.second;
    return (instance.leaving || is_on_its_way_out(state.status)) && instance.holds_nothing();
  });
}

DeploymentStatus serving_status(const DeploymentState& state) {
  if (!state.stopped_by.empty()) {
    return state.instances.empty() ? DeploymentStatus::stopped : DeploymentStatus::stopping;
  }
  bool coming = state.instances.empty();
  for (const auto& [slot, instance] : state.instances) {
    if (instance.has_served()) return DeploymentStatus::live;
    coming = coming || !instance.in<phase::GivenUp>();
  }
  return coming ? DeploymentStatus::restarting : DeploymentStatus::crashed;
}

DeploymentStatus status_before_route(const DeploymentState& state) {
  switch (state.intent_kind) {
    case IntentKind::clone:
      return DeploymentStatus::cloning;
    case IntentKind::build:
      return DeploymentStatus::building;
    case IntentKind::push_image:
      return DeploymentStatus::pushing;
    case IntentKind::release:
      return DeploymentStatus::releasing;
    case IntentKind::route:
      return DeploymentStatus::routing;
    case IntentKind::none:
      break;
  }
  if (state.instances.empty()) return state.status;  // between two steps
  bool all_started = true;
  bool all_healthy = true;
  for (const auto& [slot, instance] : state.instances) {
    const auto* vm = instance.vm();
    all_started = all_started && vm != nullptr;
    all_healthy = all_healthy && vm != nullptr && vm->was_healthy();
  }
  if (all_healthy) return DeploymentStatus::routing;
  return all_started ? DeploymentStatus::checking : DeploymentStatus::starting;
}

}  // namespace

void rules::settle(DeploymentState& state) {
  drop_empty_slots(state);
  if (is_terminal(state.status) || is_on_its_way_out(state.status)) return;
  if (state.routed) {
    state.status = serving_status(state);
  } else if (state.intent_kind != IntentKind::none || !state.instances.empty()) {
    state.status = status_before_route(state);
  }
}

}  // namespace atlasflow
