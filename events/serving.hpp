// Which of a project's deployments serves, and which one is meant where none is named. Pure: for
// whoever has the states, whether in a fold of one project or in the read model.
#pragma once

#include <vector>

#include "events/deployment.hpp"

namespace atlasflow {

using DeploymentStates = std::vector<const DeploymentState*>;

// Of two deployments of one environment, whether `one` has the hostnames before `other`: of two
// claims the newer wins (architecture.md, Routes).
[[nodiscard]] bool claims_before(const DeploymentState& one, const DeploymentState& other);

// What serves production: of those that serve it, the one whose claim is the newest; or null.
[[nodiscard]] const DeploymentState* serving_production(const DeploymentStates& oldest_first);

// The newest of production, whatever became of it; or null.
[[nodiscard]] const DeploymentState* newest_of_production(const DeploymentStates& oldest_first);

// What a redeployment deploys again that names nothing: what serves production, else its newest,
// since what failed or was skipped can be deployed again as well; or null.
[[nodiscard]] const DeploymentState* redeployed_by_default(const DeploymentStates& oldest_first);

}  // namespace atlasflow
