// One project: decides its commands, turns pushes into deployments, and says which deployment runs,
// which waits and which makes room. What it wants follows from what is: it compares after every
// event.
#pragma once

#include <deque>
#include <functional>
#include <map>

#include "actors/deployments.hpp"

namespace atlasflow::actors {

using project_actor = caf::typed_actor<
    // Makes a deployment of a push or command, or records why not.
    caf::replies_to<Intake>::with<IntakeReply>,
    // Decides and records a command of the project's own stream.
    caf::replies_to<DecideProject>::with<ProjectReply>,
    // What has been recorded of its deployments.
    caf::reacts_to<RecordBatch>>;

// A project as the log has it.
struct ProjectHistory {
  ProjectState project;
  std::map<DeploymentId, DeploymentState> deployments;  // those that have not reached their end
  std::vector<DeploymentId> order;                      // of the same, by PushReceived
  Position as_of;
};

// Folds a record of the project or of one of its deployments.
void apply(ProjectHistory& history, const storage::Record& record);
// The histories of all projects, or of one.
[[nodiscard]] Result<std::map<ProjectId, ProjectHistory>> read_histories(
    const storage::EventLog& log, const ProjectId* only = nullptr);

struct ProjectWiring {
  log_actor log_writer;
  deployments_actor deployments;
  Clock* clock = nullptr;
};

struct ProjectActorState {
  ProjectWiring wiring;
  ProjectHistory history;
  // Told to start, but its first step is not in the log yet: until then nothing else may start.
  std::optional<DeploymentId> starting;
  bool appending = false;
  std::deque<std::function<void()>> stash;  // what waits for the append under way
  const char* name = "project";

  void intake(project_actor::pointer self, Intake message, PromiseGuard<IntakeReply> reply);
  void append_push(project_actor::pointer self, const Intake& message, int salt,
                   const std::shared_ptr<PromiseGuard<IntakeReply>>& reply);
  void command(project_actor::pointer self, ProjectCommand command, std::string dedupe_key,
               std::function<void(Result<Position>)> done);
  void next();
  void reconcile(project_actor::pointer self);
  [[nodiscard]] std::string dedupe_key(const Intake& message) const;
};

[[nodiscard]] project_actor::behavior_type project(
    project_actor::stateful_pointer<ProjectActorState> self, ProjectWiring wiring,
    ProjectHistory history);

}  // namespace atlasflow::actors
