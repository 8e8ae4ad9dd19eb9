// The histories of projects as folds of the log's records (events/project_history.hpp), whether
// they come from reading it or as they are written. Free functions; any thread.
#pragma once

#include <map>

#include "base/error.hpp"
#include "events/project_history.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::actors {

// Folds a record of the project, of one of its deployments or of the node; one that is folded
// already is passed over. True when the project's or a deployment's state has changed.
bool apply(ProjectHistory& history, const storage::Record& record);
// The histories of all projects, or of one.
[[nodiscard]] Result<std::map<ProjectId, ProjectHistory>> read_histories(
    const storage::EventLog& log, const ProjectId* only = nullptr);

}  // namespace atlasflow::actors
