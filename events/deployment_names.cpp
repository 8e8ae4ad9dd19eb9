// What users read: names of statuses, steps and faults, and a deployment's hostnames.
#include <algorithm>

#include "events/deployment.hpp"
#include "events/environment.hpp"

namespace atlasflow {

std::string_view name_of(DeploymentStatus status) {
  switch (status) {
    case DeploymentStatus::absent:
      return "absent";
    case DeploymentStatus::queued:
      return "queued";
    case DeploymentStatus::cloning:
      return "cloning";
    case DeploymentStatus::building:
      return "building";
    case DeploymentStatus::pushing:
      return "pushing";
    case DeploymentStatus::releasing:
      return "releasing";
    case DeploymentStatus::starting:
      return "starting";
    case DeploymentStatus::checking:
      return "checking";
    case DeploymentStatus::routing:
      return "routing";
    case DeploymentStatus::live:
      return "live";
    case DeploymentStatus::restarting:
      return "restarting";
    case DeploymentStatus::crashed:
      return "crashed";
    case DeploymentStatus::stopping:
      return "stopping";
    case DeploymentStatus::stopped:
      return "stopped";
    case DeploymentStatus::retiring:
      return "retiring";
    case DeploymentStatus::failing:
      return "failing";
    case DeploymentStatus::cancelling:
      return "cancelling";
    case DeploymentStatus::failed:
      return "failed";
    case DeploymentStatus::superseded:
      return "superseded";
    case DeploymentStatus::cancelled:
      return "cancelled";
    case DeploymentStatus::skipped:
      return "skipped";
    case DeploymentStatus::retired:
      return "retired";
  }
  return "absent";
}

std::string_view name_of(pb::Step step) {
  switch (step) {
    case pb::STEP_CLONE:
      return "clone";
    case pb::STEP_BUILD:
      return "build";
    case pb::STEP_PUSH_IMAGE:
      return "image push";
    case pb::STEP_RELEASE:
      return "release command";
    case pb::STEP_START_VM:
      return "VM start";
    case pb::STEP_HEALTH:
      return "health check";
    case pb::STEP_ROUTE:
      return "route";
    default:
      return "unknown step";
  }
}

std::string_view name_of(pb::Fault fault) {
  switch (fault) {
    case pb::FAULT_USER:
      return "user";
    case pb::FAULT_SYSTEM:
      return "system";
    default:
      return "unknown";
  }
}

std::vector<std::string> hostnames_of(const DeploymentState& state, const std::string& domain) {
  const auto& project = state.push.project_name();
  const auto own = state.id.str() + "-" + project + "." + domain;
  if (!is_preview(state.push.environment())) return {project + "." + domain, own};
  return {preview_label(state.push.environment(), project) + "." + domain, own};
}

}  // namespace atlasflow
