// evolve: the fold of a deployment's stream.
// Long because: one handler per event, each of a few lines.
#include <algorithm>

#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "events/settings.hpp"

namespace atlasflow {

const Instance* DeploymentState::instance_of(const std::string& vm_id) const {
  for (const auto& [slot, instance] : instances) {
    if (!vm_id.empty() && instance.vm_id == vm_id) return &instance;
  }
  return nullptr;
}

namespace {

// What was true of the VM in the slot; the slot itself keeps its counts.
void clear_vm(Instance& instance) {
  Instance cleared;
  cleared.slot = instance.slot;
  cleared.leaving = instance.leaving;
  cleared.refusals = instance.refusals;
  cleared.attempts = instance.attempts;
  cleared.crashes = instance.crashes;
  cleared.losses = instance.losses;
  cleared.given_up = instance.given_up;
  instance = cleared;
}

// What a probe saw. The reason says more than the status, where there is one.
std::string answer_text(std::int32_t status, const std::string& reason) {
  return reason.empty() ? "status " + std::to_string(status) : reason;
}

// Its VM is gone without being asked, and what comes next depends on how long it was well.
void end_vm(Instance& instance, bool lost) {
  const auto healthy_since = instance.healthy_since;
  clear_vm(instance);
  instance.ended = true;
  instance.lost = lost;
  instance.healthy_since = healthy_since;
}

// The fold, one handler per event that changes state.
struct Evolution {
  DeploymentState& state;

  [[nodiscard]] bool on_its_way_out() const {
    switch (state.status) {
      case DeploymentStatus::cancelling:
      case DeploymentStatus::retiring:
      case DeploymentStatus::failing:
        return true;
      default:
        return false;
    }
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
  void begin(Instance& instance, InstanceIntent intent) const {
    instance.intent = intent;
    instance.effect = effect_id(state.id, state.version);
    instance.retry.reset();
  }
  static void end_intent(Instance& instance) {
    instance.intent = InstanceIntent::none;
    instance.effect = EffectId{};
    instance.deadline = 0;
  }

  // The slot's, made when there is none.
  [[nodiscard]] Instance& in_slot(std::int32_t slot) const {
    auto& instance = state.instances[slot];
    instance.slot = slot;
    return instance;
  }
  [[nodiscard]] Instance* with_vm(const std::string& vm_id) const {
    for (auto& [slot, instance] : state.instances) {
      if (!vm_id.empty() && instance.vm_id == vm_id) return &instance;
    }
    return nullptr;
  }

  // Nothing more is waited for: neither the turn of a retry nor the answer of the edge, whose claim
  // goes with this. Outcomes of other steps are still awaited.
  void stop_waiting() const {
    if (state.intent_kind == IntentKind::route) end_intent();
    state.retry.reset();
    for (auto& [slot, instance] : state.instances) instance.retry.reset();
  }

  // What has been live goes on trying; anything else fails.
  void fail_unless_routed(pb::Step step, pb::Fault fault, std::string reason) const {
    if (state.routed || on_its_way_out()) return;
    stop_waiting();
    state.status = DeploymentStatus::failing;
    state.failure = Failure{step, fault, std::move(reason)};
  }

  void end(DeploymentStatus terminal) const {
    end_intent();
    stop_waiting();
    state.status = terminal;
  }

  // Each VM of a deployment tells the same of its image.
  void add_notice(const std::string& notice) const {
    auto& notices = state.notices;
    if (std::find(notices.begin(), notices.end(), notice) == notices.end()) {
      notices.push_back(notice);
    }
  }

  void leave(Instance& instance, TimestampUs drain_deadline) const {
    instance.leaving = true;
    instance.drain_deadline = drain_deadline;
    instance.retry.reset();
  }

  void take_settings(const pb::Settings& settings) const {
    *state.push.mutable_settings() = with_defaults(settings);
    state.replicas = std::max(state.push.settings().replicas(), 1);
    const bool again = !state.rollback_to.empty() || state.redeployment == pb::REDEPLOYMENT_RESTART;
    state.release_owed = !settings.release_command().empty() && !again;
  }

  // ---- how it begins ----

  void operator()(const pb::PushReceived& event) const {
    state.push = event;
    take_settings(event.settings());
    state.status = DeploymentStatus::queued;
  }
  void take_built(const pb::BuiltBefore& built) const {
    state.image_id = built.image_id();
    state.image = built.reference();
    state.stack = built.stack();
    state.toolchain = built.toolchain();
    state.base_images.assign(built.base_images().begin(), built.base_images().end());
    state.subject = built.subject();
    state.author = built.author();
  }
  void operator()(const pb::RollbackRequested& event) const {
    state.rollback_to = event.to();
    state.requested_by = event.by();
    take_built(event.built());
    (*this)(event.push());
  }
  void operator()(const pb::RedeployRequested& event) const {
    state.redeployed_of = event.of();
    state.redeployment = event.kind();
    state.requested_by = event.by();
    take_built(event.built());
    (*this)(event.push());
  }

  // ---- ends that somebody wants ----

  void operator()(const pb::DeploymentSuperseded& event) const {
    state.superseded_by = event.by();
    end(DeploymentStatus::superseded);
  }
  void operator()(const pb::CancelRequested& event) const {
    ATLAS_PROBE(state.status == DeploymentStatus::queued, "a waiting deployment was cancelled");
    ATLAS_PROBE(state.status == DeploymentStatus::cloning,
                "a deployment was cancelled while it was cloned");
    ATLAS_PROBE(state.status == DeploymentStatus::building,
                "a deployment was cancelled while it was built");
    ATLAS_PROBE(state.status == DeploymentStatus::pushing,
                "a deployment was cancelled while its image was pushed");
    ATLAS_PROBE(state.status == DeploymentStatus::releasing,
                "a deployment was cancelled while its release command ran");
    ATLAS_PROBE(state.status == DeploymentStatus::starting,
                "a deployment was cancelled while its VMs were started");
    ATLAS_PROBE(state.status == DeploymentStatus::checking,
                "a deployment was cancelled while its health was awaited");
    ATLAS_PROBE(state.status == DeploymentStatus::routing,
                "a deployment was cancelled while its route was asked for");
    ATLAS_PROBE(state.retry.has_value(), "a deployment was cancelled while a retry was due");
    ATLAS_PROBE(!event.superseded_by().empty(), "a deployment under way made room for a newer one");
    state.cancelled_by = event.by();
    state.cancel_reason = event.reason();
    state.superseded_by = event.superseded_by();
    stop_waiting();
    state.status = DeploymentStatus::cancelling;
  }
  void operator()(const pb::DeploymentCancelled& event) const {
    state.cancelled_by = event.by();
    state.cancel_reason = event.reason();
    end(DeploymentStatus::cancelled);
  }
  void operator()(const pb::RetirementRequested& event) const {
    ATLAS_PROBE(state.status != DeploymentStatus::live,
                "an app was retired while none of its VMs served");
    state.retired_by = event.by();
    state.retire_reason = event.reason();
    stop_waiting();
    for (auto& [slot, instance] : state.instances) leave(instance, event.drain_deadline_us());
    state.status = DeploymentStatus::retiring;
  }
  void operator()(const pb::StopRequested& event) const {
    state.stopped_by = event.by();
    for (auto& [slot, instance] : state.instances) leave(instance, event.drain_deadline_us());
  }
  void operator()(const pb::StartRequested&) const {
    ATLAS_PROBE(state.status == DeploymentStatus::crashed,
                "an app that had crashed too often was started by its owner");
    state.stopped_by.clear();
    for (auto& [slot, instance] : state.instances) {
      instance.given_up = false;
      instance.crashes = 0;
      instance.attempts = 0;
      instance.refusals = 0;
    }
  }
  void operator()(const pb::ScaleRequested& event) const {
    state.replicas = std::max(event.replicas(), 1);
    for (auto& [slot, instance] : state.instances) {
      if (slot < state.replicas) continue;
      ATLAS_PROBE(!instance.is_up(), "a scale down ended an instance that was not up yet");
      leave(instance, event.drain_deadline_us());
    }
  }

  // ---- source to image ----

  void operator()(const pb::CloneStarted& event) const {
    begin(IntentKind::clone, event.deadline_us());
    state.base_sha = event.base_sha();
    state.attempts[pb::STEP_CLONE] = event.attempt();
  }
  void operator()(const pb::Cloned& event) const {
    end_intent();
    state.cloned = true;
    state.subject = event.subject();
    state.author = event.author();
    state.notices.assign(event.notices().begin(), event.notices().end());
    state.skip_reason = event.skip_reason();
    if (event.has_settings()) take_settings(event.settings());
  }
  void operator()(const pb::CloneFailed& event) const {
    ATLAS_PROBE(event.retryable(), "a clone failed and is tried again");
    end_intent();
    if (!event.retryable()) fail_unless_routed(pb::STEP_CLONE, event.fault(), event.reason());
  }
  void operator()(const pb::DeploymentSkipped&) const { end(DeploymentStatus::skipped); }

  void operator()(const pb::BuildStarted& event) const {
    begin(IntentKind::build, event.deadline_us());
    state.attempts[pb::STEP_BUILD] = event.attempt();
    state.build = state.intent;
  }
  void operator()(const pb::Built& event) const {
    end_intent();
    state.image_id = event.image_id();
    state.stack = event.stack();
    state.toolchain = event.toolchain();
    state.base_images.assign(event.base_images().begin(), event.base_images().end());
    state.notices.insert(state.notices.end(), event.notices().begin(), event.notices().end());
  }
  void operator()(const pb::BuildFailed& event) const {
    end_intent();
    if (!event.retryable()) fail_unless_routed(pb::STEP_BUILD, event.fault(), event.reason());
  }
  void operator()(const pb::BuildTimedOut& event) const {
    ATLAS_PROBE(true, "a build took longer than its deadline");
    end_intent();
    fail_unless_routed(
        pb::STEP_BUILD, pb::FAULT_USER,
        "the build took longer than " + std::to_string(event.limit_us() / 1'000'000) + " s");
  }

  // These end the step that they answer; what follows is in the events after them.
  void operator()(const pb::BuildAbandoned&) const {
    ATLAS_PROBE(true, "a build was abandoned, its process being gone");
    end_intent();
  }
  void operator()(const pb::BuilderLost&) const {
    ATLAS_PROBE(true, "a builder was lost with a step, which is tried again");
    end_intent();
  }

  void operator()(const pb::ImagePushStarted& event) const {
    begin(IntentKind::push_image, event.deadline_us());
    state.attempts[pb::STEP_PUSH_IMAGE] = event.attempt();
  }
  void operator()(const pb::ImagePushed& event) const {
    end_intent();
    state.image = event.reference();
  }
  void operator()(const pb::ImagePushFailed& event) const {
    ATLAS_PROBE(event.retryable(), "an image could not be pushed and is pushed again");
    end_intent();
    if (!event.retryable()) fail_unless_routed(pb::STEP_PUSH_IMAGE, event.fault(), event.reason());
  }

  // ---- the release command ----

  void operator()(const pb::ReleaseStarted& event) const {
    begin(IntentKind::release, event.deadline_us());
    state.attempts[pb::STEP_RELEASE] = event.attempt();
    state.release_vm = state.intent.str();
    state.newest_release_vm = state.release_vm;
  }
  void operator()(const pb::ReleaseSucceeded&) const {
    end_intent();
    state.release_owed = false;
  }
  void operator()(const pb::ReleaseFailed& event) const {
    ATLAS_PROBE(event.retryable(), "a release command was cut off and is run again");
    end_intent();
    if (!event.retryable()) fail_unless_routed(pb::STEP_RELEASE, event.fault(), event.reason());
  }

  // ---- instances ----

  void operator()(const pb::VMPlacementRequested& event) const {
    auto& instance = in_slot(event.slot());
    instance.ended = false;  // logs of before VMHostLost led to VMRestarting place at once
    instance.lost = false;
    begin(instance, InstanceIntent::place);
  }
  void operator()(const pb::VMPlaced& event) const {
    auto& instance = in_slot(event.slot());
    end_intent(instance);
    instance.host = event.host();
  }
  void operator()(const pb::CapacityExhausted& event) const {
    ATLAS_PROBE(!event.retryable() && !on_its_way_out(),
                "a deployment ended since no host had memory in time");
    ATLAS_PROBE(state.routed, "a live app found no memory for a VM");
    auto& instance = in_slot(event.slot());
    end_intent(instance);
    ++instance.refusals;
    if (!event.retryable()) {
      fail_unless_routed(pb::STEP_START_VM, pb::FAULT_SYSTEM, event.reason());
    }
  }
  void operator()(const pb::VMStartRequested& event) const {
    auto& instance = in_slot(event.slot());
    begin(instance, InstanceIntent::start);
    instance.deadline = event.deadline_us();
    instance.attempts = event.attempt();
    instance.host = event.host();
    instance.vm_id = instance.effect.str();
    state.newest_vm_id = instance.vm_id;
  }
  void operator()(const pb::VMStarted& event) const {
    auto* found = with_vm(event.vm_id());
    auto& instance = found == nullptr ? in_slot(event.slot()) : *found;
    end_intent(instance);
    instance.vm_id = event.vm_id();
    instance.host = event.host();
    instance.address = event.address();
    instance.port = event.port();
    instance.health_deadline = event.health_deadline_us();
    instance.started = true;
    instance.refusals = 0;
    for (const auto& notice : event.notices()) add_notice(notice);
  }
  void operator()(const pb::VMStartFailed& event) const {
    ATLAS_PROBE(state.routed, "a live app's new VM could not be started");
    ATLAS_PROBE(event.no_capacity(), "a host had no room left for a VM that was placed on it");
    auto& instance = in_slot(event.slot());
    clear_vm(instance);
    // Only a host that takes it ends a row of refusals: being placed on one that then has no room
    // is one more.
    instance.refusals = event.no_capacity() ? instance.refusals + 1 : 0;
    if (event.no_capacity()) instance.attempts = std::max(instance.attempts - 1, 0);
    if (!event.retryable()) fail_unless_routed(pb::STEP_START_VM, event.fault(), event.reason());
  }
  void operator()(const pb::Healthy& event) const {
    if (auto* instance = with_vm(event.vm_id())) {
      instance->healthy = true;
      instance->was_healthy = true;
      instance->healthy_since = event.at_us();
      instance->attempts = 0;
      instance->problem.clear();
    }
  }
  void operator()(const pb::HealthDeadlineExceeded& event) const {
    ATLAS_PROBE(state.routed, "a live app's new VM never became healthy");
    if (auto* instance = with_vm(event.vm_id())) instance->condemned = true;
    fail_unless_routed(
        pb::STEP_HEALTH, pb::FAULT_USER,
        "no 2xx within " + std::to_string(event.limit_us() / 1'000'000) +
            " s; last answer: " + answer_text(event.last_status(), event.last_error()));
  }
  void operator()(const pb::HealthCheckFailed& event) const {
    if (auto* instance = with_vm(event.vm_id())) {
      instance->problem = answer_text(event.last_status(), event.last_error());
    }
  }
  void operator()(const pb::BecameUnhealthy& event) const {
    ATLAS_PROBE(true, "a VM that served turned unhealthy");
    if (auto* instance = with_vm(event.vm_id())) {
      instance->healthy = false;
      instance->problem = answer_text(event.last_status(), event.last_error());
      instance->unhealthy_due = event.restart_due_us();
    }
  }
  void operator()(const pb::BecameHealthy& event) const {
    ATLAS_PROBE(true, "a VM that had turned unhealthy got well again");
    if (auto* instance = with_vm(event.vm_id())) {
      instance->healthy = true;
      instance->problem.clear();
      instance->unhealthy_due = 0;
    }
  }
  void operator()(const pb::UnhealthyTooLong& event) const {
    ATLAS_PROBE(true, "a VM is restarted, having been unhealthy for too long");
    if (auto* instance = with_vm(event.vm_id())) {
      instance->condemned = true;
      instance->lost = true;
      instance->unhealthy_due = 0;
    }
  }
  void operator()(const pb::VMExited& event) const {
    ATLAS_PROBE(event.soon_after_routed(), "an app crashed soon after it went live");
    ATLAS_PROBE(event.lost(), "a VM was lost without its app's doing");
    ATLAS_PROBE(!event.lost() && !state.routed, "an app exited before it was live");
    if (auto* instance = with_vm(event.vm_id())) {
      instance->exited = true;
      instance->healthy = false;
      instance->lost = event.lost();
    }
    state.crashed_early = state.crashed_early || event.soon_after_routed();
    if (!event.lost()) fail_unless_routed(pb::STEP_HEALTH, pb::FAULT_USER, event.reason());
  }
  void operator()(const pb::VMHostLost& event) const {
    ATLAS_PROBE(state.routed, "a host was lost with a VM of a live app");
    ATLAS_PROBE(on_its_way_out(), "a host was lost with a VM that was to end anyway");
    ATLAS_PROBE(event.vm_id().empty(), "a host was lost before the VM placed on it was asked for");
    if (auto* instance = with_vm(event.vm_id())) end_vm(*instance, true);
    if (!event.vm_id().empty()) return;
    for (auto& [slot, instance] : state.instances) {
      if (instance.host == event.host() && instance.vm_id.empty()) clear_vm(instance);
    }
  }
  void operator()(const pb::VMStopRequested& event) const {
    if (auto* instance = with_vm(event.vm_id())) begin(*instance, InstanceIntent::stop);
  }
  void operator()(const pb::VMStopped& event) const {
    ATLAS_PROBE(!event.overdue().empty(), "a VM did not end in time, and its deployment went on");
    if (!event.overdue().empty()) add_notice(event.overdue());
    if (event.vm_id() == state.release_vm) state.release_vm.clear();
    auto* instance = with_vm(event.vm_id());
    if (instance == nullptr) return;
    if (instance->exited || instance->condemned) {
      end_vm(*instance, instance->lost);
    } else {
      clear_vm(*instance);
    }
  }
  void operator()(const pb::VMRestarting& event) const {
    auto& instance = in_slot(event.slot());
    clear_vm(instance);
    instance.crashes = event.attempt();
    instance.losses = event.losses();
    instance.retry = Retry{pb::STEP_START_VM, event.attempt(), event.due_us()};
    ++state.restarts;
  }
  void operator()(const pb::CrashLoopDetected& event) const {
    ATLAS_PROBE(true, "an app crashed too often in a row and is given up");
    auto& instance = in_slot(event.slot());
    clear_vm(instance);
    instance.crashes = event.crashes();
    instance.given_up = true;
    fail_unless_routed(pb::STEP_START_VM, pb::FAULT_SYSTEM, "its VM was lost again and again");
  }
  void operator()(const pb::DrainRequested& event) const {
    if (auto* instance = with_vm(event.vm_id())) leave(*instance, event.drain_deadline_us());
  }
  void operator()(const pb::Drained& event) const {
    ATLAS_PROBE(event.requests_cut() > 0, "a drain was cut at its deadline");
    if (auto* instance = with_vm(event.vm_id())) instance->drained = true;
  }

  // ---- the route ----

  void operator()(const pb::RouteChangeRequested& event) const {
    begin(IntentKind::route, event.deadline_us());
    ++state.attempts[pb::STEP_ROUTE];
    // A canary (cmake/Canary.cmake): the fold forgets its claim.
#ifndef ATLAS_CANARY_FORGOTTEN_FIELD
    state.generation = event.generation();
#endif
    state.hostnames.assign(event.hostnames().begin(), event.hostnames().end());
  }
  void operator()(const pb::Routed& event) const {
    end_intent();
    state.attempts[pb::STEP_ROUTE] = 0;
    if (!state.routed) state.routed_at = event.at_us();
    state.routed = true;
  }
  void operator()(const pb::RouteFailed& event) const {
    ATLAS_PROBE(event.retryable(),
                "a route table could not be published and the claim is made again");
    end_intent();
    if (!event.retryable()) fail_unless_routed(pb::STEP_ROUTE, pb::FAULT_SYSTEM, event.reason());
  }

  // ---- time, and the end ----

  void operator()(const pb::RetryScheduled& event) const {
    const Retry retry{event.step(), event.attempt(), event.due_us()};
    if (event.step() == pb::STEP_START_VM) {
      in_slot(event.slot()).retry = retry;
    } else if (event.step() == pb::STEP_HEALTH) {
      in_slot(event.slot()).unhealthy_due = event.due_us();
    } else {
      state.retry = retry;
    }
  }
  void operator()(const pb::TimerFired& event) const {
    if (event.step() == pb::STEP_START_VM) {
      in_slot(event.slot()).retry.reset();
    } else {
      state.retry.reset();
    }
  }
  void operator()(const pb::DeploymentFailed& event) const {
    state.failure = Failure{event.step(), event.fault(), event.reason()};
    end(DeploymentStatus::failed);
  }
  void operator()(const pb::DeploymentRetired&) const { end(DeploymentStatus::retired); }

  // Later types are no part of this state.
  void operator()(const pb::Event&) const {}

  // ---- what follows from the parts ----

  // Slots that are to go and hold nothing any more.
  void drop_empty_slots() const {
    std::erase_if(state.instances, [this](const auto& item) {
      const Instance& instance = item.second;
      return (instance.leaving || on_its_way_out()) && instance.vm_id.empty() &&
             instance.intent == InstanceIntent::none;
    });
  }

  [[nodiscard]] DeploymentStatus serving_status() const {
    if (!state.stopped_by.empty()) {
      return state.instances.empty() ? DeploymentStatus::stopped : DeploymentStatus::stopping;
    }
    bool coming = state.instances.empty();
    for (const auto& [slot, instance] : state.instances) {
      if (instance.is_up() && instance.was_healthy) return DeploymentStatus::live;
      coming = coming || !instance.given_up;
    }
    return coming ? DeploymentStatus::restarting : DeploymentStatus::crashed;
  }

  [[nodiscard]] DeploymentStatus status_before_route() const {
    switch (state.intent_kind) {
      case IntentKind::clone:
        return DeploymentStatus::cloning;
      case IntentKind::build:
        return DeploymentStatus::building;
      case IntentKind::push_image:
        return DeploymentStatus::pushing;
      case IntentKind::release:
        return DeploymentStatus::releasing;
      case IntentKind::route:
        return DeploymentStatus::routing;
      case IntentKind::none:
        break;
    }
    if (state.instances.empty()) return state.status;  // between two steps
    bool all_started = true;
    bool all_healthy = true;
    for (const auto& [slot, instance] : state.instances) {
      all_started = all_started && instance.started;
      all_healthy = all_healthy && instance.was_healthy;
    }
    if (all_healthy) return DeploymentStatus::routing;
    return all_started ? DeploymentStatus::checking : DeploymentStatus::starting;
  }

  void settle() const {
    drop_empty_slots();
    if (is_terminal(state.status) || on_its_way_out()) return;
    if (state.routed) {
      state.status = serving_status();
    } else if (state.intent_kind != IntentKind::none || !state.instances.empty()) {
      state.status = status_before_route();
    }
  }
};

}  // namespace

void evolve(DeploymentState& state, const pb::Event& event) {
  state.version = state.version.next();
  const Evolution evolution{state};
  visit_deployment_event(event, evolution);
  evolution.settle();
}

}  // namespace atlasflow
