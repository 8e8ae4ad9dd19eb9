// outstanding: what the world still owes a deployment, read off its state.
#include "base/probe.hpp"
#include "events/deployment.hpp"

namespace atlasflow {
namespace {

struct Debts {
  const DeploymentState& state;
  std::vector<Effect> effects;

  [[nodiscard]] bool ending() const {
    return state.status == DeploymentStatus::cancelling ||
           state.status == DeploymentStatus::failing;
  }

  void of_pipeline() {
    switch (state.intent_kind) {
      case IntentKind::clone:
        effects.emplace_back(CloneEffect{state.intent, state.intent_deadline});
        break;
      case IntentKind::build:
        effects.emplace_back(BuildEffect{state.intent, state.intent_deadline});
        break;
      case IntentKind::push_image:
        effects.emplace_back(PushImageEffect{state.intent, state.intent_deadline});
        break;
      case IntentKind::release:
        effects.emplace_back(RunReleaseEffect{state.intent, state.intent_deadline});
        break;
      case IntentKind::route:
      case IntentKind::none:
        break;
    }
    if (ending() && state.intent_kind != IntentKind::none) {
      effects.emplace_back(AbortEffect{state.intent});
    }
    if (!state.release_vm.empty() && state.intent_kind != IntentKind::release) {
      effects.emplace_back(StopVmEffect{EffectId{state.release_vm}, state.release_vm, ""});
    }
  }

  // The VMs that get the requests: those that answer well; when none does, those that run, since an
  // ill answer may still be better than none.
  [[nodiscard]] std::vector<ClaimedUpstream> upstreams() const {
    std::vector<ClaimedUpstream> well;
    std::vector<ClaimedUpstream> ill;
    for (const auto& [slot, instance] : state.instances) {
      if (!instance.is_up() || !instance.was_healthy || instance.leaving) continue;
      (instance.healthy ? well : ill).push_back({instance.vm_id, instance.address, instance.port});
    }
    ATLAS_PROBE(well.empty() && !ill.empty(), "an app is served by VMs that all answer ill");
    return well.empty() ? ill : well;
  }

  [[nodiscard]] std::string unavailable_reason() const {
    switch (state.status) {
      case DeploymentStatus::crashed:
        return "The app crashed too often in a row and is not started again; its log says why.";
      case DeploymentStatus::stopping:
      case DeploymentStatus::stopped:
        return "The app was stopped by its owner.";
      default:
        return "The app has ended and is being started again.";
    }
  }

  // Before what else is owed: a VM must leave the route table before it is drained.
  void of_route() {
    if (state.generation == 0) return;
    if (state.status != DeploymentStatus::routing && !is_serving(state.status)) return;
    ClaimRouteEffect claim;
    if (state.intent_kind == IntentKind::route) claim.effect = state.intent;
    claim.generation = state.generation;
    claim.upstreams = upstreams();
    ATLAS_PROBE(claim.upstreams.empty(), "a route leads to no VM and says why");
    if (claim.upstreams.empty()) claim.unavailable_reason = unavailable_reason();
    effects.emplace_back(std::move(claim));
    if (state.intent_kind == IntentKind::route && state.intent_deadline != 0) {
      effects.emplace_back(DeadlineEffect{state.intent, state.intent_deadline});
    }
  }

  void of_instance(const Instance& instance) {
    switch (instance.intent) {
      case InstanceIntent::place:
        effects.emplace_back(PlaceVmEffect{instance.effect});
        break;
      case InstanceIntent::start:
        effects.emplace_back(
            StartVmEffect{instance.effect, instance.host, instance.slot, instance.deadline});
        break;
      case InstanceIntent::stop:
        effects.emplace_back(StopVmEffect{instance.effect, instance.vm_id, instance.host});
        break;
      case InstanceIntent::none:
        break;
    }
    const bool unwanted = ending() || instance.leaving;
    const bool begun =
        instance.intent == InstanceIntent::place || instance.intent == InstanceIntent::start;
    ATLAS_PROBE(unwanted && begun, "a VM that is being started is wanted no more");
    if (unwanted && begun) effects.emplace_back(AbortEffect{instance.effect});
    if (instance.is_up()) {
      effects.emplace_back(
          KeepVmEffect{instance.vm_id, instance.host, instance.was_healthy, instance.healthy});
      if (!instance.was_healthy && !unwanted) {
        effects.emplace_back(ProbeEffect{instance.vm_id, instance.host, instance.health_deadline});
      }
      if (instance.leaving && instance.was_healthy && !instance.drained) {
        effects.emplace_back(DrainEffect{instance.vm_id, instance.drain_deadline});
      }
    }
    if (instance.is_up() && instance.unhealthy_due != 0 && !unwanted) {
      effects.emplace_back(TimerEffect{pb::STEP_HEALTH, 0, instance.slot, instance.unhealthy_due});
    }
    if (instance.retry) {
      effects.emplace_back(TimerEffect{instance.retry->step, instance.retry->attempt, instance.slot,
                                       instance.retry->due});
    }
  }
};

struct KeyOf {
  std::string operator()(const CloneEffect& e) const { return "clone " + e.effect.str(); }
  std::string operator()(const BuildEffect& e) const { return "build " + e.effect.str(); }
  std::string operator()(const PushImageEffect& e) const { return "push " + e.effect.str(); }
  std::string operator()(const RunReleaseEffect& e) const { return "release " + e.effect.str(); }
  std::string operator()(const PlaceVmEffect& e) const { return "place " + e.effect.str(); }
  std::string operator()(const StartVmEffect& e) const { return "start " + e.effect.str(); }
  std::string operator()(const ProbeEffect& e) const { return "probe " + e.vm_id; }
  std::string operator()(const KeepVmEffect& e) const { return "keep " + e.vm_id; }
  std::string operator()(const ClaimRouteEffect& e) const {
    std::string key = "claim " + std::to_string(e.generation) + " " + e.effect.str();
    for (const auto& upstream : e.upstreams) key += " " + upstream.vm_id;
    return key + " " + e.unavailable_reason;
  }
  std::string operator()(const DrainEffect& e) const { return "drain " + e.vm_id; }
  std::string operator()(const StopVmEffect& e) const { return "stop " + e.effect.str(); }
  std::string operator()(const TimerEffect& e) const {
    return "timer " + std::to_string(e.step) + " " + std::to_string(e.attempt) + " " +
           std::to_string(e.slot) + " " + std::to_string(e.due);
  }
  std::string operator()(const DeadlineEffect& e) const { return "deadline " + e.effect.str(); }
  std::string operator()(const AbortEffect& e) const { return "abort " + e.effect.str(); }
};

}  // namespace

std::vector<Effect> outstanding(const DeploymentState& state) {
  if (is_terminal(state.status) || state.status == DeploymentStatus::absent) return {};
  Debts debts{state, {}};
  debts.of_route();
  debts.of_pipeline();
  for (const auto& [slot, instance] : state.instances) debts.of_instance(instance);
  if (state.retry) {
    debts.effects.emplace_back(
        TimerEffect{state.retry->step, state.retry->attempt, 0, state.retry->due});
  }
  return std::move(debts.effects);
}

std::string key_of(const Effect& effect) { return std::visit(KeyOf{}, effect); }

}  // namespace atlasflow
