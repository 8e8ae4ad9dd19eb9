// What became of a life's deployments, as the read model has it.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "sim/run/life.hpp"
#include "tests/storage/deployment_ids.hpp"

namespace atlasflow::actors {

inline DeploymentStatus status_of(sim::Life& life, const DeploymentId& id) {
  const auto view = life.catalog().deployment(id);
  return view ? view->state.status : DeploymentStatus::absent;
}

inline std::vector<DeploymentId> deployments_of(sim::Life& life) {
  std::vector<DeploymentId> ids;
  for (const auto& project : life.catalog().projects()) {
    for (auto& id : deployment_ids(life.catalog(), project.state.id)) {
      ids.push_back(std::move(id));
    }
  }
  return ids;
}

inline bool all_settled(sim::Life& life) {
  const auto ids = deployments_of(life);
  return !ids.empty() && std::all_of(ids.begin(), ids.end(), [&](const auto& id) {
    const auto status = status_of(life, id);
    return status == DeploymentStatus::live || is_terminal(status);
  });
}

}  // namespace atlasflow::actors
