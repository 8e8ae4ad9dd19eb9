// One deployment: a shell around the fold. Command → decide → append → evolve → hand out what is
// outstanding. It holds nothing that its stream does not; a new one over the same stream goes on.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "actors/builders/builder_pool.hpp"
#include "actors/hosts/vm_hosts.hpp"
#include "actors/routes/edge_actor.hpp"
#include "actors/runtime/stream_writer.hpp"
#include "actors/runtime/timers.hpp"

namespace atlasflow::actors {

using deployment_actor = outcome_sink::extend<
    // The same from a person, answered once it is recorded, or with the refusal.
    caf::replies_to<DecideDeployment>::with<DeploymentReply>>;

// Whom a deployment asks; the same for all of them.
struct DeploymentWiring {
  log_actor log_writer;
  timers_actor timers;
  builder_pool_actor builders;
  vm_hosts_actor hosts;
  edge_actor edge;
  log_reader_actor log_reader;
  LogEnd log_end;
  Clock* clock = nullptr;
  std::string domain;
};

// Why a deployment's actor begins.
enum class Birth : std::uint8_t {
  needed,     // somebody has a command for it
  recovery,   // an earlier process is gone
  after_one,  // the actor before it died
};

struct DeploymentActorState {
  // Who waits for an answer to a command; null: nobody does.
  using Answer = std::shared_ptr<PromiseGuard<DeploymentReply>>;
  DeploymentWiring wiring;
  DeploymentState fold;
  std::vector<Position> positions;  // of the stream's events, by version - 1
  StreamWriter writer;              // commands that come while an append is under way wait in it
  std::set<std::string> in_flight;  // keys of the effects that have been handed out
  // The project's variables as they were when the deployment was made, not as they are now.
  std::map<std::string, EnvEntry> env;
  std::map<std::string, EnvEntry> build_secrets;  // likewise
  bool claimed = false;
  bool has_checkout = true;  // as far as this actor knows
  const char* name = "deployment";

  // Reads what the actor stands on; commands wait meanwhile.
  void read_and_begin(deployment_actor::pointer self, Birth birth);
  void begin(deployment_actor::pointer self, Birth birth);
  // In its turn. cause: the event of another stream that the command comes from; none: of its own,
  // if any.
  void handle(deployment_actor::pointer self, DeploymentCommand command, const Answer& answer,
              Position cause);
  void decide_now(deployment_actor::pointer self, const DeploymentCommand& command,
                  const Answer& answer, Position cause);
  void append(deployment_actor::pointer self, std::vector<pb::Event> events, const Principal& by,
              const Answer& answer, Position cause);
  [[nodiscard]] Position cause_of(const DeploymentCommand& command) const;
  void appended(deployment_actor::pointer self, const storage::Appended& appended);
  void learn(const storage::Record& record);
  // The fold, from the beginning of its stream.
  void replay(deployment_actor::pointer self, std::function<void()> then);
  void read_env(deployment_actor::pointer self, std::function<void()> then);
  // Ends the actor when the deployment has reached its end and nobody waits for an answer.
  void end_if_over(deployment_actor::pointer self) const;
  void carry_out_outstanding(deployment_actor::pointer self);
  void carry_out(deployment_actor::pointer self, const Effect& effect);
  [[nodiscard]] SourceTask source_task(SourceStep step, const EffectId& effect,
                                       TimestampUs deadline) const;
  [[nodiscard]] std::chrono::microseconds until(TimestampUs deadline) const;
  [[nodiscard]] VmJob vm_job(const VmId& vm_id) const;
  [[nodiscard]] Moment moment() const;
};

// Folds its stream from the log and hands out what is outstanding; in a recovery, it first tells
// the fold that an earlier process is gone. Quits when the deployment has reached its end.
[[nodiscard]] deployment_actor::behavior_type deployment(
    deployment_actor::stateful_pointer<DeploymentActorState> self, DeploymentId id,
    DeploymentWiring wiring, Birth birth);

}  // namespace atlasflow::actors
