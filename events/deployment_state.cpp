// evolve and outstanding: the fold, and what it says the world still owes.
#include "events/deployment.hpp"

namespace atlasflow {

std::string_view name_of(DeploymentStatus status) {
  switch (status) {
    case DeploymentStatus::absent:
      return "absent";
    case DeploymentStatus::queued:
      return "queued";
    case DeploymentStatus::cloning:
      return "cloning";
    case DeploymentStatus::building:
      return "building";
    case DeploymentStatus::pushing:
      return "pushing";
    case DeploymentStatus::starting:
      return "starting";
    case DeploymentStatus::checking:
      return "checking";
    case DeploymentStatus::routing:
      return "routing";
    case DeploymentStatus::live:
      return "live";
    case DeploymentStatus::restarting:
      return "restarting";
    case DeploymentStatus::retiring:
      return "retiring";
    case DeploymentStatus::failing:
      return "failing";
    case DeploymentStatus::cancelling:
      return "cancelling";
    case DeploymentStatus::failed:
      return "failed";
    case DeploymentStatus::superseded:
      return "superseded";
    case DeploymentStatus::cancelled:
      return "cancelled";
    case DeploymentStatus::retired:
      return "retired";
  }
  return "absent";
}

std::string_view name_of(pb::Step step) {
  switch (step) {
    case pb::STEP_CLONE:
      return "clone";
    case pb::STEP_BUILD:
      return "build";
    case pb::STEP_PUSH_IMAGE:
      return "image push";
    case pb::STEP_START_VM:
      return "VM start";
    case pb::STEP_HEALTH:
      return "health check";
    case pb::STEP_ROUTE:
      return "route";
    default:
      return "unknown step";
  }
}

std::string_view name_of(pb::Fault fault) {
  switch (fault) {
    case pb::FAULT_USER:
      return "user";
    case pb::FAULT_SYSTEM:
      return "system";
    default:
      return "unknown";
  }
}

bool is_terminal(DeploymentStatus status) {
  return status == DeploymentStatus::failed || status == DeploymentStatus::superseded ||
         status == DeploymentStatus::cancelled || status == DeploymentStatus::retired;
}

namespace {

// The fold, one handler per event that changes state.
struct Evolution {
  DeploymentState& state;

  // A deployment on its way out stays that, whatever outcome still comes in.
  void progress(DeploymentStatus next) const {
    switch (state.status) {
      case DeploymentStatus::cancelling:
      case DeploymentStatus::retiring:
      case DeploymentStatus::failing:
        return;
      default:
        break;
    }
    const bool again = state.routed && next != DeploymentStatus::live;
    state.status = again ? DeploymentStatus::restarting : next;
  }

  void begin(IntentKind kind, TimestampUs deadline = 0) const {
    state.intent_kind = kind;
    state.intent = effect_id(state.id, state.version);
    state.intent_deadline = deadline;
    state.retry.reset();
  }

  void end_intent() const {
    state.intent_kind = IntentKind::none;
    state.intent = EffectId{};
    state.intent_deadline = 0;
  }

  void fail_unless_routed(pb::Step step, pb::Fault fault, std::string reason) const {
    progress(DeploymentStatus::failing);
    if (state.status == DeploymentStatus::failing) {
      state.failure = Failure{step, fault, std::move(reason)};
    }
  }

  void end(DeploymentStatus terminal) const {
    end_intent();
    state.retry.reset();
    state.status = terminal;
  }

  void on(const pb::PushReceived& event) const {
    state.push = event;
    state.status = DeploymentStatus::queued;
  }
  void on(const pb::DeploymentSuperseded& event) const {
    state.superseded_by = event.by();
    end(DeploymentStatus::superseded);
  }
  void on(const pb::CancelRequested& event) const {
    state.cancelled_by = event.by();
    state.retry.reset();
    state.status = DeploymentStatus::cancelling;
  }
  void on(const pb::DeploymentCancelled& event) const {
    state.cancelled_by = event.by();
    end(DeploymentStatus::cancelled);
  }

  void on(const pb::CloneStarted& event) const {
    begin(IntentKind::clone, event.deadline_us());
    state.attempts[pb::STEP_CLONE] = event.attempt();
    progress(DeploymentStatus::cloning);
  }
  void on(const pb::Cloned& event) const {
    end_intent();
    state.subject = event.subject();
    state.author = event.author();
    state.notices.assign(event.notices().begin(), event.notices().end());
  }

  void on(const pb::BuildStarted& event) const {
    begin(IntentKind::build, event.deadline_us());
    state.attempts[pb::STEP_BUILD] = event.attempt();
    state.build = state.intent;
    progress(DeploymentStatus::building);
  }
  void on(const pb::Built& event) const {
    end_intent();
    state.image_id = event.image_id();
    state.stack = event.stack();
  }

  void on(const pb::ImagePushStarted& event) const {
    begin(IntentKind::push_image);
    state.attempts[pb::STEP_PUSH_IMAGE] = event.attempt();
    progress(DeploymentStatus::pushing);
  }
  void on(const pb::ImagePushed& event) const {
    state.image = event.reference();
    // A pushed image is the intent to place a VM for it.
    begin(IntentKind::place_vm);
    progress(DeploymentStatus::starting);
  }

  void on(const pb::VMPlaced& event) const {
    end_intent();
    state.vm = VmRecord{};
    state.vm->host = event.host();
  }
  void on(const pb::VMStartRequested& event) const {
    begin(IntentKind::start_vm);
    state.attempts[pb::STEP_START_VM] = event.attempt();
    if (!state.vm) state.vm = VmRecord{};
    state.vm->host = event.host();
    state.vm->vm_id = state.intent.str();
    state.newest_vm_id = state.vm->vm_id;
    progress(DeploymentStatus::starting);
  }
  void on(const pb::VMStarted& event) const {
    end_intent();
    if (!state.vm) state.vm = VmRecord{};
    state.vm->vm_id = event.vm_id();
    state.vm->host = event.host();
    state.vm->address = event.address();
    state.vm->port = event.port();
    state.vm->health_deadline = event.health_deadline_us();
    state.vm->started = true;
    progress(DeploymentStatus::checking);
  }
  void on(const pb::VMExited& event) const {
    if (state.vm) state.vm->exited = true;
    fail_unless_routed(pb::STEP_HEALTH, pb::FAULT_USER, event.reason());
  }
  void on(const pb::VMRestarting& event) const {
    state.restarts = event.attempt();
    state.retry = Retry{pb::STEP_START_VM, event.attempt(), event.due_us()};
    progress(DeploymentStatus::restarting);
  }
  void on(const pb::VMStopRequested&) const {
    begin(IntentKind::stop_vm);
    if (state.vm) state.vm->stop_requested = true;
  }
  void on(const pb::VMStopped&) const {
    end_intent();
    state.vm.reset();
  }

  void on(const pb::Healthy&) const {
    if (state.vm) state.vm->healthy = true;
    progress(DeploymentStatus::routing);
  }
  void on(const pb::HealthDeadlineExceeded& event) const {
    fail_unless_routed(
        pb::STEP_HEALTH, pb::FAULT_USER,
        "no 2xx within " + std::to_string(event.limit_us() / 1'000'000) + " s; last answer: " +
            (event.last_status() != 0 ? "status " + std::to_string(event.last_status())
                                      : event.last_error()));
  }

  void on(const pb::RouteChangeRequested& event) const {
    begin(IntentKind::route);
    ++state.attempts[pb::STEP_ROUTE];
    state.generation = event.generation();
    state.hostnames.assign(event.hostnames().begin(), event.hostnames().end());
  }
  void on(const pb::Routed&) const {
    end_intent();
    state.attempts[pb::STEP_ROUTE] = 0;
    state.attempts[pb::STEP_START_VM] = 0;
    state.routed = true;
    progress(DeploymentStatus::live);
  }
  void on(const pb::RouteFailed& event) const {
    end_intent();
    if (!event.retryable()) fail_unless_routed(pb::STEP_ROUTE, pb::FAULT_SYSTEM, event.reason());
  }
  void on(const pb::RetirementRequested& event) const {
    begin(IntentKind::drain, event.drain_deadline_us());
    state.retired_by = event.by();
    state.retire_reason = event.reason();
    state.drain_deadline = event.drain_deadline_us();
    state.status = DeploymentStatus::retiring;
  }
  void on(const pb::Drained&) const {
    end_intent();
    state.drained = true;
  }

  void on(const pb::RetryScheduled& event) const {
    state.retry = Retry{event.step(), event.attempt(), event.due_us()};
  }
  void on(const pb::TimerFired& event) const {
    state.retry.reset();
    // Placing a VM has no intent event of its own: the timer is it.
    if (event.step() == pb::STEP_START_VM) {
      begin(IntentKind::place_vm);
      state.attempts[pb::STEP_START_VM] = event.attempt() - 1;  // VMStartRequested makes it whole
    }
  }

  void on(const pb::DeploymentFailed& event) const {
    state.failure = Failure{event.step(), event.fault(), event.reason()};
    end(DeploymentStatus::failed);
  }
  void on(const pb::DeploymentRetired&) const { end(DeploymentStatus::retired); }
};

}  // namespace

void evolve(DeploymentState& state, const pb::Event& event) {
  state.version = state.version.next();
  const Evolution evolution{state};
  switch (event.kind_case()) {
    case pb::Event::kPushReceived:
      return evolution.on(event.push_received());
    case pb::Event::kDeploymentSuperseded:
      return evolution.on(event.deployment_superseded());
    case pb::Event::kCancelRequested:
      return evolution.on(event.cancel_requested());
    case pb::Event::kDeploymentCancelled:
      return evolution.on(event.deployment_cancelled());
    case pb::Event::kCloneStarted:
      return evolution.on(event.clone_started());
    case pb::Event::kCloned:
      return evolution.on(event.cloned());
    case pb::Event::kBuildStarted:
      return evolution.on(event.build_started());
    case pb::Event::kBuilt:
      return evolution.on(event.built());
    case pb::Event::kImagePushStarted:
      return evolution.on(event.image_push_started());
    case pb::Event::kImagePushed:
      return evolution.on(event.image_pushed());
    case pb::Event::kVmPlaced:
      return evolution.on(event.vm_placed());
    case pb::Event::kVmStartRequested:
      return evolution.on(event.vm_start_requested());
    case pb::Event::kVmStarted:
      return evolution.on(event.vm_started());
    case pb::Event::kVmExited:
      return evolution.on(event.vm_exited());
    case pb::Event::kVmRestarting:
      return evolution.on(event.vm_restarting());
    case pb::Event::kVmStopRequested:
      return evolution.on(event.vm_stop_requested());
    case pb::Event::kVmStopped:
      return evolution.on(event.vm_stopped());
    case pb::Event::kHealthy:
      return evolution.on(event.healthy());
    case pb::Event::kHealthDeadlineExceeded:
      return evolution.on(event.health_deadline_exceeded());
    case pb::Event::kRouteChangeRequested:
      return evolution.on(event.route_change_requested());
    case pb::Event::kRouted:
      return evolution.on(event.routed());
    case pb::Event::kRouteFailed:
      return evolution.on(event.route_failed());
    case pb::Event::kRetirementRequested:
      return evolution.on(event.retirement_requested());
    case pb::Event::kDrained:
      return evolution.on(event.drained());
    case pb::Event::kRetryScheduled:
      return evolution.on(event.retry_scheduled());
    case pb::Event::kTimerFired:
      return evolution.on(event.timer_fired());
    case pb::Event::kDeploymentFailed:
      return evolution.on(event.deployment_failed());
    case pb::Event::kDeploymentRetired:
      return evolution.on(event.deployment_retired());
    // Each of these ends the intent that it answers; what follows is in the events after it.
    case pb::Event::kCloneFailed:
    case pb::Event::kBuildFailed:
    case pb::Event::kBuildTimedOut:
    case pb::Event::kBuildAbandoned:
    case pb::Event::kBuilderLost:
    case pb::Event::kImagePushFailed:
    case pb::Event::kCapacityExhausted:
      return evolution.end_intent();
    case pb::Event::kVmStartFailed:
      evolution.end_intent();
      state.vm.reset();
      return;
    default:
      return;
  }
}

std::vector<Effect> outstanding(const DeploymentState& state) {
  std::vector<Effect> effects;
  if (is_terminal(state.status) || state.status == DeploymentStatus::absent) return effects;
  const bool cancelling = state.status == DeploymentStatus::cancelling;
  switch (state.intent_kind) {
    case IntentKind::clone:
      effects.emplace_back(CloneEffect{state.intent, state.intent_deadline});
      break;
    case IntentKind::build:
      effects.emplace_back(BuildEffect{state.intent, state.intent_deadline});
      break;
    case IntentKind::push_image:
      effects.emplace_back(PushImageEffect{state.intent});
      break;
    case IntentKind::place_vm:
      effects.emplace_back(PlaceVmEffect{state.intent});
      break;
    case IntentKind::start_vm:
      effects.emplace_back(StartVmEffect{state.intent, state.vm ? state.vm->host : ""});
      break;
    case IntentKind::drain:
      effects.emplace_back(
          DrainEffect{state.intent, state.vm ? state.vm->vm_id : "", state.intent_deadline});
      break;
    case IntentKind::stop_vm:
      effects.emplace_back(StopVmEffect{state.intent, state.vm ? state.vm->vm_id : "",
                                        state.vm ? state.vm->host : ""});
      break;
    case IntentKind::route:
    case IntentKind::none:
      break;
  }
  if (cancelling && state.intent_kind != IntentKind::none &&
      state.intent_kind != IntentKind::stop_vm) {
    effects.emplace_back(AbortEffect{state.intent});
  }
  if (state.vm && state.vm->started && !state.vm->exited && !state.vm->stop_requested) {
    effects.emplace_back(KeepVmEffect{state.vm->vm_id, state.vm->host});
    if (!state.vm->healthy && !cancelling) {
      effects.emplace_back(ProbeEffect{state.vm->vm_id, state.vm->health_deadline});
    }
  }
  const bool serving =
      state.status == DeploymentStatus::routing || state.status == DeploymentStatus::live;
  const bool returning = state.status == DeploymentStatus::restarting;
  if (state.generation != 0 && (serving || returning)) {
    const bool up = state.vm && state.vm->healthy && !state.vm->exited && !state.vm->stop_requested;
    effects.emplace_back(ClaimRouteEffect{
        state.intent_kind == IntentKind::route ? state.intent : EffectId{}, state.generation, up,
        up ? "" : "The app has ended and is being started again."});
  }
  if (state.retry) {
    effects.emplace_back(TimerEffect{state.retry->step, state.retry->attempt, state.retry->due});
  }
  return effects;
}

namespace {
struct KeyOf {
  std::string operator()(const CloneEffect& e) const { return "clone " + e.effect.str(); }
  std::string operator()(const BuildEffect& e) const { return "build " + e.effect.str(); }
  std::string operator()(const PushImageEffect& e) const { return "push " + e.effect.str(); }
  std::string operator()(const PlaceVmEffect& e) const { return "place " + e.effect.str(); }
  std::string operator()(const StartVmEffect& e) const { return "start " + e.effect.str(); }
  std::string operator()(const ProbeEffect& e) const { return "probe " + e.vm_id; }
  std::string operator()(const KeepVmEffect& e) const { return "keep " + e.vm_id; }
  std::string operator()(const ClaimRouteEffect& e) const {
    return "claim " + std::to_string(e.generation) + (e.has_upstream ? " up " : " down ") +
           e.effect.str();
  }
  std::string operator()(const DrainEffect& e) const { return "drain " + e.effect.str(); }
  std::string operator()(const StopVmEffect& e) const { return "stop " + e.effect.str(); }
  std::string operator()(const TimerEffect& e) const {
    return "timer " + std::to_string(e.step) + " " + std::to_string(e.attempt) + " " +
           std::to_string(e.due);
  }
  std::string operator()(const AbortEffect& e) const { return "abort " + e.effect.str(); }
};
}  // namespace

std::string key_of(const Effect& effect) { return std::visit(KeyOf{}, effect); }

}  // namespace atlasflow
