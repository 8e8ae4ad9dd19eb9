// The directory of projects: names and repositories to project actors. Hands pushes to every
// project of their repository and records to the project that they belong to; restarts a project's
// actor by replay.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "actors/projects/project_actor.hpp"
#include "actors/runtime/supervisor.hpp"

namespace atlasflow::actors {

using projects_actor = caf::typed_actor<
    // Starts every project's actor; until then nothing but records may come.
    caf::reacts_to<BeginProjects>,
    // Makes a project, or says that the name is taken.
    caf::replies_to<CreateProjectNow>::with<ProjectReply>,
    // A command for the project of that name.
    caf::replies_to<CommandProject>::with<ProjectReply>,
    // A push, for every project of its repository that its signature speaks for.
    caf::replies_to<ReceivePushNow>::with<PushReply>,
    // A push for the project of that name.
    caf::replies_to<DeployNow>::with<PushReply>,
    // A deployment of an earlier one.
    caf::replies_to<ReuseNow>::with<IntakeReply>,
    // The deployment of a fork's commit that waits for it.
    caf::replies_to<ApproveNow>::with<IntakeReply>,
    // What has been recorded.
    caf::reacts_to<RecordBatch>,
    // To itself.
    caf::reacts_to<GoOnWithProject>>;

// What a project does may fail again and again, after each start of the server perhaps: one
// project's trouble is nobody else's.
inline constexpr RestartPolicy k_project_restarts{.beyond = RestartPolicy::Beyond::pause};

struct ProjectsState {
  struct Entry {
    std::string name;
    std::string repository;  // normalized
    std::int64_t repository_id = 0;
    bool own_secret = false;
  };
  ProjectWiring wiring;
  bool begun = false;
  std::vector<RecordBatch> early;  // that came before
  std::map<ProjectId, Entry> projects;
  Supervisor<ProjectId, project_actor> children{k_project_restarts};
  std::map<std::string, ProjectId> by_name;  // of projects that exist
  std::map<DeploymentId, ProjectId> owners;  // of those that have not ended
  std::set<std::string> creating;
  // The newest record of a project that came while it had no actor.
  std::map<ProjectId, Position> missed;
  const char* name = "projects";

  void begin(projects_actor::pointer self, const BeginProjects& message);
  void add(projects_actor::pointer self, ProjectHistory history);
  void spawn_project(projects_actor::pointer self, const ProjectId& id, ProjectHistory history);
  void create(projects_actor::pointer self, CreateProjectNow message,
              PromiseGuard<ProjectReply> reply);
  void receive_push(projects_actor::pointer self, const Push& push, PromiseGuard<PushReply> reply);
  // Whether the push is of the project's repository.
  [[nodiscard]] static bool is_of(const Push& push, const std::set<std::string>& repositories,
                                  const Entry& entry);
  [[nodiscard]] bool takes_a_hostname(const PullRequestNews& news,
                                      const std::string& project) const;
  static void note_repository(Entry& entry, const pb::Event& event);
  void on_records(projects_actor::pointer self, const RecordBatch& batch);
  void hand_on(projects_actor::pointer self, const ProjectId& id,
               std::shared_ptr<const std::vector<storage::Record>> records);
  void on_down(projects_actor::pointer self, const caf::down_msg& down);
  // Starts the project's next actor over what the log has of it by now.
  void go_on(projects_actor::pointer self, const ProjectId& id);
  // Reads on from there; again when records came meanwhile that it may not have read.
  void replay(projects_actor::pointer self, const ProjectId& id,
              const std::shared_ptr<ProjectHistories>& histories, const IsWanted& only,
              Position from);
  // The actor of the project with that name.
  [[nodiscard]] Result<project_actor> named(const std::string& project) const;
  [[nodiscard]] Result<project_actor> actor_of(const ProjectId& id) const;
};

[[nodiscard]] projects_actor::behavior_type projects(
    projects_actor::stateful_pointer<ProjectsState> self, ProjectWiring wiring);

}  // namespace atlasflow::actors
