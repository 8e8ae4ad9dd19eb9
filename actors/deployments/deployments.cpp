#include "actors/deployments/deployments.hpp"

#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {

const deployment_actor* DeploymentsState::child(deployments_actor::pointer self,
                                                const DeploymentId& id, Birth birth) {
  if (children.is_quarantined(id)) return nullptr;
  if (const auto* known = children.find(id)) return known;
  return &children.hold(self, id, self->spawn(deployment, id, wiring, birth));
}

void DeploymentsState::on_down(deployments_actor::pointer self, const caf::down_msg& down) {
  const auto end = children.on_down(down, wiring.clock->now());
  if (!end || end->orderly) return;
  if (!end->again_in) return quarantine(self, end->key);
  ATLAS_PROBE(true, "a deployment's actor died and another went on");
  log_event(LogLevel::warn, "deployments", "restarted",
            {{"deployment", end->key.str()}, {"reason", end->why}});
  static_cast<void>(child(self, end->key, Birth::after_one));
}

void DeploymentsState::quarantine(deployments_actor::pointer self, const DeploymentId& id) {
  ATLAS_PROBE(true, "a deployment was quarantined");
  log_event(LogLevel::error, "deployments", "quarantined", {{"deployment", id.str()}});
  std::vector<pb::Event> events(1);
  auto* violated = events[0].mutable_invariant_violated();
  violated->set_stream(deployment_stream(id).str());
  violated->set_reason("its actor died again and again; the server's log says why");
  write_to_node(self, wiring.log_writer, std::move(events));
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
