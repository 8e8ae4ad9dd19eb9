#include "actors/deployments/deployments.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "actors/upkeep/reconciler.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {

const deployment_actor* DeploymentsState::child(deployments_actor::pointer self,
                                                const DeploymentId& id, Birth birth) {
  if (quarantined.contains(id)) return nullptr;
  const auto [found, fresh] = children.try_emplace(id);
  if (fresh) {
    found->second = self->spawn(deployment, id, wiring, birth);
    self->monitor(*found->second);
  }
  return &*found->second;
}

void DeploymentsState::on_down(deployments_actor::pointer self, const caf::down_msg& down) {
  const auto found = std::find_if(children.begin(), children.end(), [&](const auto& item) {
    return item.second.address() == down.source;
  });
  if (found == children.end()) return;
  const auto id = found->first;
  children.erase(found);
  if (down.reason == caf::exit_reason::normal) {
    restarts.erase(id);
    return;
  }
  if (!restarts[id].allow(wiring.clock->now())) return quarantine(self, id);
  ATLAS_PROBE(true, "a deployment's actor died and another went on");
  spdlog::warn("part=deployments event=restarted deployment={} reason=\"{}\"", id.str(),
               to_string(from_caf(down.reason)));
  static_cast<void>(child(self, id, Birth::after_one));
}

void DeploymentsState::quarantine(deployments_actor::pointer self, const DeploymentId& id) {
  ATLAS_PROBE(true, "a deployment was quarantined");
  quarantined.insert(id);
  spdlog::error("part=deployments event=quarantined deployment={}", id.str());
  std::vector<pb::Event> events(1);
  auto* violated = events[0].mutable_invariant_violated();
  violated->set_stream(deployment_stream(id).str());
  violated->set_reason("its actor died again and again; the server's log says why");
  append_to_node(self, wiring.log_writer, wiring.log, std::move(events));
}

deployments_actor::behavior_type deployments(
    deployments_actor::stateful_pointer<DeploymentsState> self, DeploymentWiring wiring) {
  end_of_exceptions(self);
  self->state.wiring = std::move(wiring);
  self->set_down_handler([self](const caf::down_msg& down) { self->state.on_down(self, down); });
  return {[self](DeliverTo& message) {
            const auto* child = self->state.child(self, message.id, Birth::needed);
            if (child != nullptr)
              self->send(*child, Deliver{std::move(message.command), message.cause});
          },
          [self](CommandDeployment& message) -> caf::result<DeploymentReply> {
            const auto* child = self->state.child(self, message.id, Birth::needed);
            if (child == nullptr) {
              ATLAS_PROBE(true, "a command came for a quarantined deployment");
              return to_caf(Error{ErrorCode::conflict,
                                  "deployment " + message.id.str() +
                                      " is quarantined: its actor died again and again; the "
                                      "server's log says why",
                                  ""});
            }
            return self->delegate(*child, DecideDeployment{std::move(message.command)});
          },
          [self](const Resume& message) {
            for (const auto& id : message.ids) {
              static_cast<void>(self->state.child(self, id, Birth::recovery));
            }
          }};
}

}  // namespace atlasflow::actors
