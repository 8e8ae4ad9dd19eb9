// next_event: what follows from a deployment's state by itself.
#include <optional>

#include "base/probe.hpp"
#include "events/deployment_rules.hpp"

namespace atlasflow {

using rules::attempts_of;

pb::Event rules::pipeline_step(const DeploymentState& state, const Moment& moment) {
  const auto& settings = state.push.settings();
  pb::Event event;
  if (!state.image.empty()) {
    if (state.release_owed) {
      auto* started = event.mutable_release_started();
      started->set_attempt(attempts_of(state, pb::STEP_RELEASE) + 1);
      started->set_deadline_us(moment.now + settings.release_deadline_us());
    } else {
      event.mutable_vm_placement_requested()->set_slot(0);
    }
  } else if (!state.image_id.empty()) {
    auto* started = event.mutable_image_push_started();
    started->set_attempt(attempts_of(state, pb::STEP_PUSH_IMAGE) + 1);
    started->set_deadline_us(moment.now + k_push_deadline_us);
  } else if (state.cloned) {
    auto* started = event.mutable_build_started();
    started->set_attempt(attempts_of(state, pb::STEP_BUILD) + 1);
    started->set_deadline_us(moment.now + settings.build_deadline_us());
  } else {
    auto* started = event.mutable_clone_started();
    started->set_attempt(attempts_of(state, pb::STEP_CLONE) + 1);
    started->set_deadline_us(moment.now + settings.clone_deadline_us());
    started->set_base_sha(state.base_sha);
    *started->mutable_earlier() = {state.earlier.begin(), state.earlier.end()};
  }
  return event;
}

namespace {

struct Rules {
  const DeploymentState& state;
  const Moment& moment;

  using Next = std::optional<pb::Event>;

  static pb::Event stop(const Instance& instance, const std::string& reason) {
    pb::Event event;
    auto* request = event.mutable_vm_stop_requested();
    request->set_vm_id(instance.vm_id().str());
    const auto* finished = std::get_if<phase::Finished>(&instance.phase);
    const bool over = finished != nullptr && is_over(finished->end);
    request->set_reason(over ? "clear what it left" : reason);
    return event;
  }

  // Of an instance on its way out: the stop of its VM, once it has drained where it must.
  static Next stop_leaving(const Instance& instance, const std::string& reason) {
    if (!instance.is_up() && !instance.in<phase::Finished>()) return std::nullopt;
#ifdef ATLAS_CANARY_SKIPPED_DRAIN
    const bool serves = false;  // a canary (cmake/Canary.cmake): requests are cut
#else
    const bool serves = instance.has_served() && !instance.has_drained();
#endif
    if (serves) return std::nullopt;
    ATLAS_PROBE(!instance.vm()->was_healthy(), "a VM that was never healthy was to leave");
    return stop(instance, reason);
  }

  // The edge may send it requests: a table that was published counts, though nobody heard of it.
  [[nodiscard]] bool may_be_routed(const Instance& instance) const {
    return state.generation != 0 && instance.has_served() && !instance.has_drained();
  }

  // Cancelled or failed: everything stops, after its requests where it may have some, and only then
  // it has ended.
  [[nodiscard]] Next end_now(const pb::Event& end) const {
    const bool cancelled = state.status == DeploymentStatus::cancelling;
    for (const auto& [slot, instance] : state.instances) {
      if (may_be_routed(instance)) {
        if (instance.leaving) continue;
        ATLAS_PROBE(true, "what may have a route that was never confirmed is drained");
        pb::Event event;
        event.mutable_drain_requested()->set_vm_id(instance.vm_id().str());
        event.mutable_drain_requested()->set_drain_deadline_us(
            moment.now + state.push.settings().drain_deadline_us());
        return event;
      }
      const auto* finished = std::get_if<phase::Finished>(&instance.phase);
      if (finished == nullptr && !instance.is_up()) continue;
      const bool unfit = finished != nullptr && !is_over(finished->end);
      return stop(instance, cancelled ? "cancelled"
                            : unfit   ? "never healthy"
                                      : "the deployment failed");
    }
    if (state.intent || !state.instances.empty() || !state.release_vm.empty()) {
      ATLAS_PROBE(cancelled && state.intent.has_value(), "a cancel waits for a step to end");
      ATLAS_PROBE(cancelled && !state.intent, "a cancel waits for a VM to end");
      return std::nullopt;  // The ends of steps under way are awaited.
    }
    return end;
  }

  [[nodiscard]] Next cancelled() const {
    pb::Event event;
    if (state.superseded_by.empty()) {
      event.mutable_deployment_cancelled()->set_by(state.cancelled_by);
      event.mutable_deployment_cancelled()->set_reason(state.cancel_reason);
    } else {
      event.mutable_deployment_superseded()->set_by(state.superseded_by);
    }
    return end_now(event);
  }

  [[nodiscard]] Next failed() const {
    pb::Event event;
    auto* failed = event.mutable_deployment_failed();
    if (state.failure) {
      failed->set_step(state.failure->step);
      failed->set_fault(state.failure->fault);
      failed->set_reason(state.failure->reason);
    }
    return end_now(event);
  }

  [[nodiscard]] Next retired() const {
    for (const auto& [slot, instance] : state.instances) {
      if (auto event = stop_leaving(instance, "retired by " + state.retired_by)) return event;
    }
    if (!state.instances.empty()) return std::nullopt;
    pb::Event event;
    event.mutable_deployment_retired()->set_reason(state.retire_reason);
    return event;
  }

  // A VM that ended without being asked: again at once when it served well, that was not its app's
  // doing and the first time, else with backoff. After too many crashes in a row no more; an end
  // soon after the start counts as one, whoever is to blame, so that nothing goes round for ever.
  [[nodiscard]] pb::Event restart(const Instance& instance, const phase::Ended& ended) const {
    pb::Event event;
    const TimestampUs well_for = ended.healthy_since == 0 ? 0 : moment.now - ended.healthy_since;
    const bool crashed = !is_loss(ended.end) || well_for < rules::k_served_well_us;
    const bool forgotten = well_for >= rules::k_crashes_forgotten_us;
    const std::int32_t before = forgotten ? 0 : instance.crashes;
    const std::int32_t lost_before = forgotten ? 0 : instance.losses;
    const bool at_once = !crashed && lost_before == 0;
    const std::int32_t crashes = crashed ? before + 1 : before;
    const std::int32_t losses = crashed ? lost_before : lost_before + 1;
    ATLAS_PROBE(!crashed && !at_once, "a VM that served well was lost again and waits its turn");
    ATLAS_PROBE(at_once, "a VM that had served well was lost and is started again at once");
    ATLAS_PROBE(instance.crashes > before,
                "an app's crashes were forgotten, as it ran well for long");
    if (crashes >= rules::k_crashes_max) {
      event.mutable_crash_loop_detected()->set_slot(instance.slot);
      event.mutable_crash_loop_detected()->set_crashes(crashes);
      return event;
    }
    auto* restarting = event.mutable_vm_restarting();
    restarting->set_slot(instance.slot);
    restarting->set_attempt(crashes);
    restarting->set_losses(losses);
    restarting->set_due_us(
        moment.now + (at_once ? 0 : rules::backoff_us(state.id, crashed ? crashes : losses - 1)));
    return event;
  }

  // Of a slot that is to hold a VM, by its phase.
  struct SlotStep {
    const Rules& rules;
    const Instance& instance;

    Next operator()(const phase::Vacant&) const {
      pb::Event event;
      event.mutable_vm_placement_requested()->set_slot(instance.slot);
      return event;
    }
    Next operator()(const phase::Placed& placed) const {
      pb::Event event;
      auto* request = event.mutable_vm_start_requested();
      request->set_slot(instance.slot);
      request->set_host(placed.host.str());
      request->set_attempt(instance.attempts + 1);
      request->set_deadline_us(rules.moment.now + rules::k_start_deadline_us);
      return event;
    }
    Next operator()(const phase::Finished& finished) const {
      return stop(instance, finished.vm.was_healthy() ? "unhealthy for too long" : "never healthy");
    }
    Next operator()(const phase::Ended& ended) const { return rules.restart(instance, ended); }
    // These wait for an outcome, for their time, for news of their VM, or for their owner.
    Next operator()(const phase::Waiting&) const { return std::nullopt; }
    Next operator()(const phase::Placing&) const { return std::nullopt; }
    Next operator()(const phase::Starting&) const { return std::nullopt; }
    Next operator()(const phase::Up&) const { return std::nullopt; }
    Next operator()(const phase::Stopping&) const { return std::nullopt; }
    Next operator()(const phase::GivenUp&) const { return std::nullopt; }
  };

  [[nodiscard]] Next instance_step(const Instance& instance) const {
    if (instance.leaving) {
      return stop_leaving(
          instance, state.stopped_by.empty() ? "scaled down" : "stopped by " + state.stopped_by);
    }
    return std::visit(SlotStep{*this, instance}, instance.phase);
  }

  [[nodiscard]] Next instances_step() const {
    if (state.stopped_by.empty()) {
      for (std::int32_t slot = 0; slot < state.replicas; ++slot) {
        if (state.instances.contains(slot)) continue;
        pb::Event event;
        event.mutable_vm_placement_requested()->set_slot(slot);
        return event;
      }
    }
    for (const auto& [slot, instance] : state.instances) {
      if (auto event = instance_step(instance)) return event;
    }
    return std::nullopt;
  }

  // Once every replica has answered 2xx. A retried claim keeps its generation: a newer deployment's
  // stays above it.
  [[nodiscard]] Next route_step() const {
    for (const auto& [slot, instance] : state.instances) {
      if (!instance.has_served()) return std::nullopt;
    }
    pb::Event event;
    ATLAS_PROBE(state.generation != 0, "a claim is made again under its old generation");
    auto* request = event.mutable_route_change_requested();
    request->set_generation(state.generation != 0 ? state.generation : moment.log_position);
    request->set_deadline_us(moment.now + rules::k_route_deadline_us);
    for (const auto& host : hostnames_of(state, moment.domain)) request->add_hostnames(host);
    return event;
  }

  [[nodiscard]] Next step() const {
    // A release command's VM goes before anything else begins.
    if (state.intent || state.retry || !state.release_vm.empty()) {
      return std::nullopt;
    }
    if (!state.skip_reason.empty()) {
      pb::Event event;
      event.mutable_deployment_skipped()->set_reason(state.skip_reason);
      return event;
    }
    if (state.image.empty() || state.release_owed) return rules::pipeline_step(state, moment);
    if (auto event = instances_step()) return event;
    return state.routed ? std::nullopt : route_step();
  }
};

}  // namespace

std::optional<pb::Event> next_event(const DeploymentState& state, const Moment& moment) {
  const Rules rules{state, moment};
  if (is_terminal(state.status)) return std::nullopt;
  switch (state.status) {
    case DeploymentStatus::absent:
    case DeploymentStatus::queued:
      return std::nullopt;
    case DeploymentStatus::cancelling:
      return rules.cancelled();
    case DeploymentStatus::failing:
      return rules.failed();
    case DeploymentStatus::retiring:
      return rules.retired();
    default:
      return rules.step();
  }
}

}  // namespace atlasflow
