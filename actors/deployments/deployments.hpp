// The directory of deployments: finds or starts the actor of a deployment, lets finished ones go,
// and restarts one that died by replaying its stream. One that dies again and again is quarantined:
// it gets no actor any more, the log says so, and no other deployment notices.
#pragma once

#include "actors/deployments/deployment_actor.hpp"
#include "actors/runtime/supervisor.hpp"

namespace atlasflow::actors {

using deployments_actor = caf::typed_actor<
    // Hands the command to the deployment's actor.
    caf::reacts_to<DeliverTo>,
    // The same from a person, answered once it is recorded, or with the refusal.
    caf::replies_to<CommandDeployment>::with<DeploymentReply>,
    // Starts the actors of unfinished deployments after a start of the control plane.
    caf::reacts_to<Resume>>;

// One deployment that fails at whatever it does must not hold up the others.
inline constexpr RestartPolicy k_deployment_restarts{.beyond = RestartPolicy::Beyond::quarantine};

struct DeploymentsState {
  DeploymentWiring wiring;
  Supervisor<DeploymentId, deployment_actor> children{k_deployment_restarts};
  const char* name = "deployments";

  // Null: it is quarantined.
  const deployment_actor* child(deployments_actor::pointer self, const DeploymentId& id,
                                Birth birth);
  void on_down(deployments_actor::pointer self, const caf::down_msg& down);
  void quarantine(deployments_actor::pointer self, const DeploymentId& id);
};

[[nodiscard]] deployments_actor::behavior_type deployments(
    deployments_actor::stateful_pointer<DeploymentsState> self, DeploymentWiring wiring);

}  // namespace atlasflow::actors
