// evolve: the fold of a deployment's stream.
#include <algorithm>

#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "events/deployment_rules.hpp"
#include "events/settings.hpp"

namespace atlasflow {

const Instance* DeploymentState::instance_of(const VmId& vm_id) const {
  for (const auto& [slot, instance] : instances) {
    if (!vm_id.empty() && instance.vm_id() == vm_id) return &instance;
  }
  return nullptr;
}

namespace {

// What a probe saw. The reason says more than the status, where there is one.
std::string answer_text(std::int32_t status, const std::string& reason) {
  return reason.empty() ? "status " + std::to_string(status) : reason;
}

// The fold, one handler per event that changes state.
struct Evolution {
  DeploymentState& state;

  [[nodiscard]] bool on_its_way_out() const { return is_on_its_way_out(state.status); }
  // Of the event that is folded, as an intent.
  [[nodiscard]] EffectId this_effect() const { return effect_id(state.id, state.version); }

  void begin(IntentKind kind, TimestampUs deadline = 0) const {
    state.intent = Intent{kind, this_effect(), deadline};
    state.retry.reset();
  }
  void end_intent() const { state.intent.reset(); }
  // The slot's, made when there is none.
  [[nodiscard]] Instance& in_slot(std::int32_t slot) const {
    auto& instance = state.instances[slot];
    instance.slot = slot;
    return instance;
  }
  [[nodiscard]] Instance* with_vm(const std::string& vm_id) const {
    const VmId wanted{vm_id};
    for (auto& [slot, instance] : state.instances) {
      if (!wanted.empty() && instance.vm_id() == wanted) return &instance;
    }
    return nullptr;
  }

  // Nothing more is waited for: neither the turn of a retry nor the answer of the edge, whose claim
  // goes with this. Outcomes of other steps are still awaited.
  void stop_waiting() const {
    if (state.awaits(IntentKind::route)) end_intent();
    state.retry.reset();
    for (auto& [slot, instance] : state.instances) instance.stop_waiting();
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
    state.image = ImageRef{built.reference()};
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
    for (auto& [slot, instance] : state.instances) instance.leave(event.drain_deadline_us());
    state.status = DeploymentStatus::retiring;
  }
  void operator()(const pb::StopRequested& event) const {
    state.stopped_by = event.by();
    for (auto& [slot, instance] : state.instances) instance.leave(event.drain_deadline_us());
  }
  void operator()(const pb::StartRequested&) const {
    ATLAS_PROBE(state.status == DeploymentStatus::crashed,
                "an app that had crashed too often was started by its owner");
    state.stopped_by.clear();
    for (auto& [slot, instance] : state.instances) instance.begin_anew();
  }
  void operator()(const pb::ScaleRequested& event) const {
    state.replicas = std::max(event.replicas(), 1);
    for (auto& [slot, instance] : state.instances) {
      if (slot < state.replicas) continue;
      ATLAS_PROBE(!instance.is_up(), "a scale down ended an instance that was not up yet");
      instance.leave(event.drain_deadline_us());
    }
  }

  // ---- source to image ----

  void operator()(const pb::CloneStarted& event) const {
    begin(IntentKind::clone, event.deadline_us());
    state.base_sha = event.base_sha();
    state.earlier.assign(event.earlier().begin(), event.earlier().end());
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
    state.build = this_effect();
  }
  void operator()(const pb::Built& event) const {
    end_intent();
    state.image_id = event.image_id();
    state.stack = event.stack();
    state.toolchain = event.toolchain();
    state.base_images.assign(event.base_images().begin(), event.base_images().end());
    ATLAS_PROBE(!event.reused_from().empty(), "a build took the image of an earlier one");
    state.reused_from = event.reused_from();
    state.earlier.clear();
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
    state.image = ImageRef{event.reference()};
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
    state.release_vm = vm_of(this_effect());
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
    in_slot(event.slot()).place(this_effect());
  }
  void operator()(const pb::VMPlaced& event) const {
    in_slot(event.slot()).placed(HostId{event.host()});
  }
  void operator()(const pb::CapacityExhausted& event) const {
    ATLAS_PROBE(!event.retryable() && !on_its_way_out(),
                "a deployment ended since no host had memory in time");
    ATLAS_PROBE(state.routed, "a live app found no memory for a VM");
    in_slot(event.slot()).refused();
    if (!event.retryable()) {
      fail_unless_routed(pb::STEP_START_VM, pb::FAULT_SYSTEM, event.reason());
    }
  }
  void operator()(const pb::VMStartRequested& event) const {
    in_slot(event.slot())
        .start(this_effect(), HostId{event.host()}, event.deadline_us(), event.attempt());
    state.newest_vm_id = vm_of(this_effect());
  }
  void operator()(const pb::VMStarted& event) const {
    auto* found = with_vm(event.vm_id());
    auto& instance = found == nullptr ? in_slot(event.slot()) : *found;
    instance.started({VmId{event.vm_id()}, HostId{event.host()}, event.address(), event.port(),
                      health::Checking{event.health_deadline_us(), ""}});
    for (const auto& notice : event.notices()) add_notice(notice);
  }
  void operator()(const pb::VMStartFailed& event) const {
    ATLAS_PROBE(state.routed, "a live app's new VM could not be started");
    ATLAS_PROBE(event.no_capacity(), "a host had no room left for a VM that was placed on it");
    in_slot(event.slot()).start_failed(event.no_capacity());
    if (!event.retryable()) fail_unless_routed(pb::STEP_START_VM, event.fault(), event.reason());
  }
  void operator()(const pb::Healthy& event) const {
    if (auto* instance = with_vm(event.vm_id())) instance->answered(event.at_us());
  }
  void operator()(const pb::HealthDeadlineExceeded& event) const {
    ATLAS_PROBE(state.routed, "a live app's new VM never became healthy");
    if (auto* instance = with_vm(event.vm_id())) instance->finish(VmEnd::never_healthy);
    fail_unless_routed(
        pb::STEP_HEALTH, pb::FAULT_USER,
        "no 2xx within " + std::to_string(event.limit_us() / 1'000'000) +
            " s; last answer: " + answer_text(event.last_status(), event.last_error()));
  }
  void operator()(const pb::HealthCheckFailed& event) const {
    if (auto* instance = with_vm(event.vm_id())) {
      instance->check_failed(answer_text(event.last_status(), event.last_error()));
    }
  }
  void operator()(const pb::BecameUnhealthy& event) const {
    ATLAS_PROBE(true, "a VM that served turned unhealthy");
    if (auto* instance = with_vm(event.vm_id())) {
      instance->became_unhealthy(answer_text(event.last_status(), event.last_error()),
                                 event.restart_due_us());
    }
  }
  void operator()(const pb::BecameHealthy& event) const {
    ATLAS_PROBE(true, "a VM that had turned unhealthy got well again");
    if (auto* instance = with_vm(event.vm_id())) instance->became_healthy();
  }
  void operator()(const pb::UnhealthyTooLong& event) const {
    ATLAS_PROBE(true, "a VM is restarted, having been unhealthy for too long");
    if (auto* instance = with_vm(event.vm_id())) instance->finish(VmEnd::unhealthy);
  }
  void operator()(const pb::VMExited& event) const {
    ATLAS_PROBE(event.soon_after_routed(), "an app crashed soon after it went live");
    ATLAS_PROBE(event.lost(), "a VM was lost without its app's doing");
    ATLAS_PROBE(!event.lost() && !state.routed, "an app exited before it was live");
    if (auto* instance = with_vm(event.vm_id())) {
      instance->finish(event.lost() ? VmEnd::lost : VmEnd::exited);
    }
    state.crashed_early = state.crashed_early || event.soon_after_routed();
    if (!event.lost()) fail_unless_routed(pb::STEP_HEALTH, pb::FAULT_USER, event.reason());
  }
  void operator()(const pb::VMHostLost& event) const {
    ATLAS_PROBE(state.routed, "a host was lost with a VM of a live app");
    ATLAS_PROBE(on_its_way_out(), "a host was lost with a VM that was to end anyway");
    ATLAS_PROBE(event.vm_id().empty(), "a host was lost before the VM placed on it was asked for");
    if (auto* instance = with_vm(event.vm_id())) instance->host_lost();
    if (!event.vm_id().empty()) return;
    for (auto& [slot, instance] : state.instances) {
      if (instance.in<phase::Placed>() && instance.host().str() == event.host()) {
        instance.host_lost();
      }
    }
  }
  void operator()(const pb::VMStopRequested& event) const {
    if (auto* instance = with_vm(event.vm_id())) instance->stop(this_effect());
  }
  void operator()(const pb::VMStopped& event) const {
    ATLAS_PROBE(!event.overdue().empty(), "a VM did not end in time, and its deployment went on");
    if (!event.overdue().empty()) add_notice(event.overdue());
    if (event.vm_id() == state.release_vm.str()) state.release_vm = VmId{};
    if (auto* instance = with_vm(event.vm_id())) instance->stopped();
  }
  void operator()(const pb::VMRestarting& event) const {
    in_slot(event.slot())
        .restart(event.attempt(), event.losses(),
                 {pb::STEP_START_VM, event.attempt(), event.due_us()});
    ++state.restarts;
  }
  void operator()(const pb::CrashLoopDetected& event) const {
    ATLAS_PROBE(true, "an app crashed too often in a row and is given up");
    in_slot(event.slot()).give_up(event.crashes());
    fail_unless_routed(pb::STEP_START_VM, pb::FAULT_SYSTEM, "its VM was lost again and again");
  }
  void operator()(const pb::DrainRequested& event) const {
    if (auto* instance = with_vm(event.vm_id())) instance->leave(event.drain_deadline_us());
  }
  void operator()(const pb::Drained& event) const {
    ATLAS_PROBE(event.requests_cut() > 0, "a drain was cut at its deadline");
    if (auto* instance = with_vm(event.vm_id())) instance->drained();
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
      in_slot(event.slot()).wait(retry);
    } else if (event.step() == pb::STEP_HEALTH) {
      in_slot(event.slot()).restart_at(event.due_us());
    } else {
      state.retry = retry;
    }
  }
  void operator()(const pb::TimerFired& event) const {
    if (event.step() == pb::STEP_START_VM) {
      in_slot(event.slot()).stop_waiting();
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
};

}  // namespace

void evolve(DeploymentState& state, const pb::Event& event) {
  state.version = state.version.next();
  const Evolution evolution{state};
  visit_deployment_event(event, evolution);
  rules::settle(state);
}

}  // namespace atlasflow
