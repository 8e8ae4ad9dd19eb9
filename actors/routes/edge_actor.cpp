#include "actors/routes/edge_actor.hpp"

#include <utility>

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

constexpr auto k_publish_retry = std::chrono::seconds(1);
constexpr auto k_claims_patience = std::chrono::seconds(10);

// Waits out one drain: blocks, so it is an actor of its own for as long as that takes.
caf::behavior drainer(caf::event_based_actor* self, EdgeEngine* engine, Clock* clock,
                      const DrainVm& request, const outcome_sink& sink) {
  end_of_exceptions(self);
  self->send(self, Tick{});
  return {[=](const Tick&) {
    const auto left = std::max<TimestampUs>(request.deadline - clock->now(), 0);
    Succeeded succeeded;
    succeeded.effect = effect_of(request.vm_id);
    ATLAS_PROBE(left == 0, "a drain began after its deadline");
    const auto cut = engine->drain(request.vm_id, std::chrono::microseconds(left));
    succeeded.outcome.mutable_drained()->set_requests_cut(static_cast<std::int64_t>(cut));
    self->send(sink, Deliver{std::move(succeeded)});
    self->quit();
  }};
}

}  // namespace

std::vector<RouteClaim> EdgeActorState::table() const {
  std::map<std::string, const Claim*> winners;
  for (const auto& [deployment, claim] : claims) {
    for (const auto& host : claim.claim.hostnames) {
      auto& winner = winners[host];
#ifdef ATLAS_CANARY_DOUBLE_ROUTE
      // A canary (cmake/Canary.cmake): the oldest claim is published for as long as it is made.
      const auto newer = [](const Claim& a, const Claim& b) {
        return a.claim.generation < b.claim.generation;
      };
#else
      const auto newer = [](const Claim& a, const Claim& b) {
        return a.claim.generation > b.claim.generation;
      };
#endif
      if (winner == nullptr || newer(claim, *winner)) winner = &claim;
    }
  }
  for (const auto& [host, target] : domain_hosts.targets) {
    const auto winner = winners.find(target);
    if (winner != winners.end()) winners.try_emplace(host, winner->second);
  }
  std::vector<RouteClaim> routes;
  routes.reserve(winners.size());
  for (const auto& [host, claim] : winners) {
    const auto redirect = domain_hosts.redirects.find(host);
    // A host without a route would send its visitors to a page that says that there is nothing.
    const bool leads_on =
        redirect != domain_hosts.redirects.end() && winners.contains(redirect->second);
    routes.push_back({host, claim->claim.project, claim->claim.deployment.str(),
                      claim->claim.upstreams, claim->claim.unavailable_reason, claim->claim.terms,
                      leads_on ? redirect->second : std::string()});
  }
  return routes;
}

void EdgeActorState::heard_of(edge_actor::pointer self, const DeploymentId& deployment) {
  if (expected.erase(deployment) != 0 && expected.empty()) publish_soon(self);
}

void EdgeActorState::publish_soon(edge_actor::pointer self) {
  ATLAS_PROBE(!expected.empty(), "a route table waits for what all deployments claim");
  if (!expected.empty() || std::exchange(publishing, true)) return;
  if (ATLAS_BUGGIFY("a route table is published half a second late")) {
    self->delayed_send(self, std::chrono::milliseconds(500), Publish{});
    return;
  }
  self->send(self, Publish{});
}

void EdgeActorState::publish(edge_actor::pointer self) {
  publishing = false;
  generation = std::max(generation, config.engine->generation()) + 1;
  const auto published = config.engine->publish(generation, table());
  if (!published) {
    log_event(LogLevel::error, "edge", "publish_failed",
              {{"generation", generation}, {"error", to_string(published.error())}});
  }
  for (auto& [deployment, claim] : claims) {
    if (!claim.owed) continue;
    claim.owed = false;
    if (!published) {
      self->send(claim.sink,
                 Deliver{failure_of(claim.claim.effect, pb::STEP_ROUTE, published.error())});
      continue;
    }
    Succeeded succeeded;
    succeeded.effect = claim.claim.effect;
    auto* routed = succeeded.outcome.mutable_routed();
    routed->set_generation(claim.claim.generation);
    for (const auto& host : claim.claim.hostnames) routed->add_hostnames(host);
    self->send(claim.sink, Deliver{std::move(succeeded)});
  }
  if (!published) {
    ATLAS_PROBE(true, "a route table was not taken, and is published again");
    // Withdrawn claims must leave the table too, and nobody else would ask again.
    publishing = true;
    self->delayed_send(self, k_publish_retry, Publish{});
    return;
  }
  begin_draining(self);
}

void EdgeActorState::begin_draining(edge_actor::pointer self) {
  for (auto& drain : std::exchange(draining, {})) {
    const auto handle = spawn_blocking(self, config.spawn, drainer, config.engine, config.clock,
                                       drain.request, drain.sink);
    self->monitor(handle);
    drainers.emplace(handle.address(), std::move(drain));
  }
}

edge_actor::behavior_type edge_supervisor(edge_actor::stateful_pointer<EdgeActorState> self,
                                          EdgeActorConfig config) {
  end_of_exceptions(self);
  self->state.config = config;
  self->set_down_handler([self](const caf::down_msg& down) {
    auto& state = self->state;
    auto drainer = state.drainers.extract(caf::actor_cast<caf::actor_addr>(down.source));
    if (!drainer || down.reason == caf::exit_reason::normal) return;
    ATLAS_PROBE(true, "who waited out a drain died, and another drains again");
    auto& drain = drainer.mapped();
    log_event(LogLevel::warn, "edge", "drainer_died", {{"vm", drain.request.vm_id.str()}});
    // Not for ever: at its deadline a drain is over, whoever waited for it.
    if (drain.request.deadline <= state.config.clock->now()) {
      Succeeded over;
      over.effect = effect_of(drain.request.vm_id);
      over.outcome.mutable_drained();
      self->send(drain.sink, Deliver{std::move(over)});
      return;
    }
    state.draining.push_back(std::move(drain));
    if (!std::exchange(state.publishing, true)) {
      self->delayed_send(self, k_publish_retry, Publish{});
    }
  });
  return {[self](ClaimRoute& claim, const outcome_sink& sink) {
            const bool owed = !claim.effect.empty();
            const auto deployment = claim.deployment;
            self->state.claims.insert_or_assign(
                deployment, EdgeActorState::Claim{std::move(claim), sink, owed});
            self->state.heard_of(self, deployment);
            self->state.publish_soon(self);
          },
          [self](const DropClaim& message) {
            self->state.heard_of(self, message.deployment);
            if (self->state.claims.erase(message.deployment) != 0) self->state.publish_soon(self);
          },
          [self](DrainVm& message, const outcome_sink& sink) {
            self->state.draining.push_back({std::move(message), sink});
            self->state.publish_soon(self);
          },
          [self](ExpectClaims& message) {
            self->state.domain_hosts = std::move(message.domains);
            self->state.expected.insert(message.ids.begin(), message.ids.end());
            if (self->state.expected.empty()) return self->state.publish_soon(self);
            self->delayed_send(self, k_claims_patience, ClaimsOverdue{});
          },
          [self](DomainHosts& message) {
            if (message == self->state.domain_hosts) return;
            self->state.domain_hosts = std::move(message);
            self->state.publish_soon(self);
          },
          [self](const ClaimsOverdue&) {
            if (self->state.expected.empty()) return;
            ATLAS_PROBE(true, "a route table was published without a claim that was expected");
            log_event(LogLevel::warn, "edge", "claims_overdue",
                      {{"missing", self->state.expected.size()}});
            self->state.expected.clear();
            self->state.publish_soon(self);
          },
          [self](const Publish&) { self->state.publish(self); }};
}

}  // namespace atlasflow::actors
