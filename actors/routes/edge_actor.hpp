// The edge's supervisor: collects the deployments' claims on hostnames, publishes the whole table
// under the next generation, and drains what is to be stopped. Of two claims on one hostname the
// one with the higher generation wins, so the order in which a restart repeats them does not
// matter.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "actors/runtime/outcome_sink.hpp"
#include "actors/runtime/support.hpp"

namespace atlasflow::actors {

using edge_actor = caf::typed_actor<
    // Sets or changes a deployment's claim; once published, Routed goes to the sink if it is owed.
    caf::reacts_to<ClaimRoute, outcome_sink>,
    // Withdraws a deployment's claim.
    caf::reacts_to<DropClaim>,
    // Lets the requests finish of a VM that no claim names any more; the outcome is Drained.
    caf::reacts_to<DrainVm, outcome_sink>,
    // After a start: holds every table back until these deployments have claimed, or 10 s at most.
    // The edge that outlived the last control plane serves the table of then meanwhile.
    caf::reacts_to<ExpectClaims>,
    // Which hostnames of users' own lead where; the newest counts.
    caf::reacts_to<DomainHosts>,
    // To itself.
    caf::reacts_to<ClaimsOverdue>,
    // To itself: publish what was claimed by now.
    caf::reacts_to<Publish>>;

struct EdgeActorConfig {
  EdgeEngine* engine = nullptr;
  Clock* clock = nullptr;
  SpawnMode spawn;
};

struct EdgeActorState {
  struct Claim {
    ClaimRoute claim;
    outcome_sink sink;
    bool owed = false;  // Routed has not been answered yet
  };
  struct Draining {
    DrainVm request;
    outcome_sink sink;
  };
  EdgeActorConfig config;
  std::uint64_t generation = 0;
  std::map<DeploymentId, Claim> claims;
  DomainHosts domain_hosts;
  std::vector<Draining> draining;                // that wait for the next table
  std::map<caf::actor_addr, Draining> drainers;  // by who waits one out
  std::set<DeploymentId> expected;               // their claims are to come before the first table
  bool publishing = false;
  const char* name = "edge";

  void heard_of(edge_actor::pointer self, const DeploymentId& deployment);
  void publish_soon(edge_actor::pointer self);
  void publish(edge_actor::pointer self);
  void begin_draining(edge_actor::pointer self);
  [[nodiscard]] std::vector<RouteClaim> table() const;
};

[[nodiscard]] edge_actor::behavior_type edge_supervisor(
    edge_actor::stateful_pointer<EdgeActorState> self, EdgeActorConfig config);

}  // namespace atlasflow::actors
