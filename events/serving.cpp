#include "events/serving.hpp"

#include <algorithm>

#include "events/environment.hpp"

namespace atlasflow {
namespace {

bool is_of_production(const DeploymentState& state) {
  return !is_preview(state.push.environment());
}

}  // namespace

bool claims_before(const DeploymentState& one, const DeploymentState& other) {
  return one.generation > other.generation;
}

const DeploymentState* serving_production(const DeploymentStates& oldest_first) {
  const DeploymentState* newest = nullptr;
  for (const auto* state : oldest_first) {
    if (!is_serving(state->status) || !is_of_production(*state)) continue;
    if (newest == nullptr || claims_before(*state, *newest)) newest = state;
  }
  return newest;
}

const DeploymentState* newest_of_production(const DeploymentStates& oldest_first) {
  const auto found =
      std::find_if(oldest_first.rbegin(), oldest_first.rend(),
                   [](const DeploymentState* state) { return is_of_production(*state); });
  return found == oldest_first.rend() ? nullptr : *found;
}

const DeploymentState* redeployed_by_default(const DeploymentStates& oldest_first) {
  const auto* serves = serving_production(oldest_first);
  return serves != nullptr ? serves : newest_of_production(oldest_first);
}

}  // namespace atlasflow
