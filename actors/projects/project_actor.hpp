// One project: decides its commands, turns pushes into deployments, and says which deployment runs,
// which waits and which makes room. What it wants follows from what is: after every event it
// compares (events/project_history.hpp).
#pragma once

#include <functional>
#include <map>

#include "actors/deployments/deployments.hpp"
#include "actors/projects/project_histories.hpp"

namespace atlasflow::actors {

using project_actor = caf::typed_actor<
    // Makes a deployment of a push or command, or records why not.
    caf::replies_to<Intake>::with<IntakeReply>,
    // Makes a deployment of an earlier one.
    caf::replies_to<ReuseNow>::with<IntakeReply>,
    // Makes the deployment of a fork's commit that waits for it.
    caf::replies_to<ApproveNow>::with<IntakeReply>,
    // Decides and records a command of the project's own stream.
    caf::replies_to<DecideProject>::with<ProjectReply>,
    // What has been recorded of its deployments, and of quarantined ones.
    caf::reacts_to<RecordBatch>,
    // To itself: look again at what only time has changed.
    caf::reacts_to<LookAgain>>;

struct ProjectWiring {
  log_actor log_writer;
  log_reader_actor log_reader;
  LogEnd log_end;
  deployments_actor deployments;
  Clock* clock = nullptr;
  std::size_t rollbacks = 5;  // how many earlier images can be rolled back to
};

struct ProjectActorState {
  using IntakeAnswer = std::shared_ptr<PromiseGuard<IntakeReply>>;
  struct Recorded {
    Position position;
    DeploymentId earlier;  // the same delivery made it before
  };
  // What begins a deployment, and the key that makes it one.
  struct Beginning {
    DeploymentCommand command;
    std::string dedupe_key;
    std::string correlation_id;
    IntakeAnswer answer = nullptr;  // nobody waits
    int salt = 0;                   // of the short id, when another deployment has the one before
    // Set when the image of an earlier deployment is taken: whether that is kept rests on what all
    // that go on have recorded. Called when one of them has recorded more than this actor knew.
    std::function<void()> decide_again = nullptr;
    Position cause = Position{};  // the event that it follows from; none of what a person asked for
  };
  ProjectWiring wiring;
  ProjectHistory history;
  // Told to start, but its first step is not in the log yet: until then nothing else may start.
  Starting starting;
  std::optional<TimestampUs> wake_at;
  // The newest of the project's and its deployments' events that this actor has folded: what it
  // wishes next comes from it.
  Position newest;
  // The newest record that began a deployment of which the log has told, or that was read of it at
  // the start. What the answers to its own appends told may be newer.
  Position told;
  StreamWriter writer;
  std::vector<std::function<void()>> undecided;  // what waits for records that are on their way
  const char* name = "project";

  void intake(project_actor::pointer self, const Push& push, const IntakeAnswer& answer);
  void intake_now(project_actor::pointer self, const Push& push, const IntakeAnswer& answer);
  void intake_pull_request(project_actor::pointer self, const Push& push,
                           const IntakeAnswer& answer);
  // Records what makes no deployment, and answers why.
  void record(project_actor::pointer self, const Push& push, const ProjectCommand& command,
              const std::string& reason, const IntakeAnswer& answer);
  void approve(project_actor::pointer self, const ApproveNow& message, const IntakeAnswer& answer);
  void reuse(project_actor::pointer self, const ReuseNow& message, const IntakeAnswer& answer);
  void reuse_now(project_actor::pointer self, const ReuseNow& message, const IntakeAnswer& answer);
  void ignore(project_actor::pointer self, const Push& push, const std::string& reason,
              const IntakeAnswer& answer);
  void begin(project_actor::pointer self, Beginning beginning);
  void begin_now(project_actor::pointer self, const Beginning& beginning);
  void begun(project_actor::pointer self, const Beginning& beginning, const DeploymentId& id,
             const Basis& based_on, const WriteOutcome& outcome);
  void command(project_actor::pointer self, const ProjectCommand& command, const Principal& by,
               const std::string& dedupe_key, const std::function<void(Result<Recorded>)>& done);
  void command_now(project_actor::pointer self, const ProjectCommand& command, const Principal& by,
                   const std::string& dedupe_key,
                   const std::function<void(Result<Recorded>)>& done);
  // Every deployment that goes on, as far as this actor knows.
  [[nodiscard]] Basis basis() const;
  void learn(const storage::Record& record);
  // Of what the log tells, in its order. Throws where a deployment was passed over.
  void hear(const storage::Record& record);
  void reconcile(project_actor::pointer self);
  [[nodiscard]] std::string dedupe_key(pb::Trigger trigger, const std::string& id) const;
  [[nodiscard]] std::string dedupe_key(const Push& push) const;
};

[[nodiscard]] project_actor::behavior_type project(
    project_actor::stateful_pointer<ProjectActorState> self, ProjectWiring wiring,
    ProjectHistory history);

}  // namespace atlasflow::actors
