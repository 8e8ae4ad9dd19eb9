// The deployments of a project by the read model, oldest first: what tests count and pick from.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "storage/readmodel/catalog.hpp"

namespace atlasflow {

inline std::vector<DeploymentId> deployment_ids(const storage::Catalog& catalog,
                                                const ProjectId& project) {
  std::vector<DeploymentId> ids;
  for (auto& entry : catalog.entries_of(project)) ids.push_back(std::move(entry.id));
  return ids;
}

// None: there is no project of that name.
inline std::vector<DeploymentId> deployment_ids(const storage::Catalog& catalog,
                                                const std::string& name) {
  const auto project = catalog.project_named(name);
  return project ? deployment_ids(catalog, project->state.id) : std::vector<DeploymentId>{};
}

}  // namespace atlasflow
