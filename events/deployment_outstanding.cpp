// outstanding: the effects that a deployment still waits for, read off its state.
#include "base/probe.hpp"
#include "events/deployment.hpp"

namespace atlasflow {
namespace {

struct OutstandingEffects {
  const DeploymentState& state;
  std::vector<Effect> effects;

  [[nodiscard]] bool ending() const {
    return state.status == DeploymentStatus::cancelling ||
           state.status == DeploymentStatus::failing;
  }

  void of_step(const Intent& intent) {
    switch (intent.kind) {
      case IntentKind::clone:
        effects.emplace_back(CloneEffect{intent.effect, intent.deadline});
        break;
      case IntentKind::build:
        effects.emplace_back(BuildEffect{intent.effect, intent.deadline});
        break;
      case IntentKind::push_image:
        effects.emplace_back(PushImageEffect{intent.effect, intent.deadline});
        break;
      case IntentKind::release:
        effects.emplace_back(RunReleaseEffect{intent.effect, intent.deadline});
        break;
      case IntentKind::route:
        break;  // of_route() says it together with the claim
    }
    if (ending()) effects.emplace_back(AbortEffect{intent.effect});
  }

  void of_pipeline() {
    if (state.intent) of_step(*state.intent);
    if (!state.release_vm.empty() && !state.awaits(IntentKind::release)) {
      effects.emplace_back(StopVmEffect{effect_of(state.release_vm), state.release_vm, HostId{}});
    }
  }

  // The VMs that get the requests: the healthy ones; when none is, those that run, since an
  // unhealthy answer may still be better than none.
  [[nodiscard]] std::vector<ClaimedUpstream> upstreams() const {
    std::vector<ClaimedUpstream> healthy;
    std::vector<ClaimedUpstream> unhealthy;
    for (const auto& [slot, instance] : state.instances) {
      if (!instance.has_served() || instance.leaving) continue;
      const auto& vm = *instance.vm();
      (instance.is_healthy() ? healthy : unhealthy).push_back({vm.id, vm.address, vm.port});
    }
    ATLAS_PROBE(healthy.empty() && !unhealthy.empty(), "an app is served by unhealthy VMs only");
    return healthy.empty() ? unhealthy : healthy;
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

  // Before every other effect: a VM must leave the route table before it is drained.
  void of_route() {
    if (state.generation == 0) return;
    if (state.status != DeploymentStatus::routing && !is_serving(state.status)) return;
    ClaimRouteEffect claim;
    if (state.awaits(IntentKind::route)) claim.effect = state.intent->effect;
    claim.generation = state.generation;
    claim.upstreams = upstreams();
    ATLAS_PROBE(claim.upstreams.empty(), "a route leads to no VM and says why");
    if (claim.upstreams.empty()) claim.unavailable_reason = unavailable_reason();
    effects.emplace_back(std::move(claim));
    if (state.awaits(IntentKind::route) && state.intent->deadline != 0) {
      effects.emplace_back(DeadlineEffect{state.intent->effect, state.intent->deadline});
    }
  }

  // The step or the VM that a slot's phase is about.
  struct OfPhase {
    OutstandingEffects& outstanding;
    const Instance& instance;

    [[nodiscard]] bool unwanted() const {
      return outstanding.ending() || instance.leaving.has_value();
    }
    void abort_unwanted(const EffectId& effect) const {
      ATLAS_PROBE(unwanted(), "a VM that is being started is wanted no more");
      if (unwanted()) outstanding.effects.emplace_back(AbortEffect{effect});
    }

    void operator()(const phase::Waiting& waiting) const {
      const auto& [step, attempt, due] = waiting.retry;
      outstanding.effects.emplace_back(TimerEffect{step, attempt, instance.slot, due});
    }
    void operator()(const phase::Placing& placing) const {
      outstanding.effects.emplace_back(PlaceVmEffect{placing.effect});
      abort_unwanted(placing.effect);
    }
    void operator()(const phase::Starting& starting) const {
      outstanding.effects.emplace_back(
          StartVmEffect{starting.effect, starting.host, instance.slot, starting.deadline});
      abort_unwanted(starting.effect);
    }
    void operator()(const phase::Up& up) const {
      const auto& vm = up.vm;
      outstanding.effects.emplace_back(
          KeepVmEffect{vm.id, vm.host, vm.was_healthy(), instance.is_healthy()});
      const auto* checking = std::get_if<health::Checking>(&vm.health);
      if (checking != nullptr && !unwanted()) {
        outstanding.effects.emplace_back(ProbeEffect{vm.id, vm.host, checking->deadline});
      }
      if (instance.leaving && vm.was_healthy() && !instance.leaving->drained) {
        outstanding.effects.emplace_back(DrainEffect{vm.id, instance.leaving->drain_deadline});
      }
      const auto* unhealthy = std::get_if<health::Unhealthy>(&vm.health);
      if (unhealthy != nullptr && unhealthy->restart_due != 0 && !unwanted()) {
        outstanding.effects.emplace_back(
            TimerEffect{pb::STEP_HEALTH, 0, instance.slot, unhealthy->restart_due});
      }
    }
    void operator()(const phase::Stopping& stopping) const {
      outstanding.effects.emplace_back(
          StopVmEffect{stopping.effect, stopping.vm.id, stopping.vm.host});
    }
    // Nothing: an event follows these by itself, or its owner has to act.
    void operator()(const phase::Vacant&) const {}
    void operator()(const phase::Placed&) const {}
    void operator()(const phase::Finished&) const {}
    void operator()(const phase::Ended&) const {}
    void operator()(const phase::GivenUp&) const {}
  };
};

struct KeyOf {
  std::string operator()(const CloneEffect& e) const { return "clone " + e.effect.str(); }
  std::string operator()(const BuildEffect& e) const { return "build " + e.effect.str(); }
  std::string operator()(const PushImageEffect& e) const { return "push " + e.effect.str(); }
  std::string operator()(const RunReleaseEffect& e) const { return "release " + e.effect.str(); }
  std::string operator()(const PlaceVmEffect& e) const { return "place " + e.effect.str(); }
  std::string operator()(const StartVmEffect& e) const { return "start " + e.effect.str(); }
  std::string operator()(const ProbeEffect& e) const { return "probe " + e.vm_id.str(); }
  std::string operator()(const KeepVmEffect& e) const { return "keep " + e.vm_id.str(); }
  std::string operator()(const ClaimRouteEffect& e) const {
    std::string key = "claim " + std::to_string(e.generation) + " " + e.effect.str();
    for (const auto& upstream : e.upstreams) key += " " + upstream.vm_id.str();
    return key + " " + e.unavailable_reason;
  }
  std::string operator()(const DrainEffect& e) const { return "drain " + e.vm_id.str(); }
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
  OutstandingEffects outstanding{state, {}};
  outstanding.of_route();
  outstanding.of_pipeline();
  for (const auto& [slot, instance] : state.instances) {
    std::visit(OutstandingEffects::OfPhase{outstanding, instance}, instance.phase);
  }
  if (state.retry) {
    outstanding.effects.emplace_back(
        TimerEffect{state.retry->step, state.retry->attempt, 0, state.retry->due});
  }
  return std::move(outstanding.effects);
}

std::string key_of(const Effect& effect) { return std::visit(KeyOf{}, effect); }

}  // namespace atlasflow
