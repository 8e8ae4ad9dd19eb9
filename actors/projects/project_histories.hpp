// The histories of projects as folds of the log's records (events/project_history.hpp), whether
// they come from reading it or as they are written. One thread at a time.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "events/fields.hpp"
#include "events/project_history.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::actors {

// Folds a record of the project, of one of its deployments or of the node; one that is folded
// already is passed over. True when the project's or a deployment's state has changed.
bool apply(ProjectHistory& history, const storage::Record& record);

// Of a log's records, told in their order from the first, those that a project's history is made
// of: the node's, its own and its deployments'. Copies share what they have been told.
[[nodiscard]] std::function<bool(const storage::Record&)> records_of(const ProjectId& project);

// The histories of all projects whose records it is given, which must come in the log's order.
class ProjectHistories {
 public:
  void apply(const storage::Record& record);
  // By project.
  [[nodiscard]] std::map<ProjectId, ProjectHistory> take() && { return std::move(histories_); }

 private:
  ATLAS_OWN_FIELDS(ProjectHistories, histories, owner_of_unfinished)

  std::map<ProjectId, ProjectHistory> histories_;
  std::map<DeploymentId, ProjectId> owner_of_unfinished_;
};

}  // namespace atlasflow::actors
