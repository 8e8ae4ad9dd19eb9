// violation: which event may follow in a deployment's stream, told from the state alone. What
// decide and next_event never do, said a second time and in other words: by what must be true
// before an event, not by what leads to it.
#include "events/deployment_events.hpp"
#include "events/deployment_rules.hpp"
#include "events/earlier_builds.hpp"
#include "events/environment.hpp"

namespace atlasflow {
namespace {

struct Precondition {
  const DeploymentState& state;

  using Found = std::string;  // empty: it may follow

  static Found when(bool broken, const char* sentence) { return broken ? sentence : Found{}; }
  static Found first_of(std::initializer_list<Found> all) {
    for (const auto& one : all) {
      if (!one.empty()) return one;
    }
    return {};
  }

  [[nodiscard]] bool on_its_way_out() const { return is_on_its_way_out(state.status); }

  // ---- what most rules are about ----

  [[nodiscard]] Found begins() const {
    return when(state.status != DeploymentStatus::absent, "it has begun already");
  }
  // A step of the deployment as a whole.
  [[nodiscard]] Found may_begin_step(pb::Step step, std::int32_t attempt) const {
    return first_of({when(state.intent.has_value(), "another step is under way"),
                     when(state.retry.has_value(), "a retry is due first"),
                     when(on_its_way_out(), "it is on its way out"),
                     when(attempt != rules::attempts_of(state, step) + 1,
                          "it is not the next attempt of this step")});
  }
  [[nodiscard]] Found answers(IntentKind kind) const {
    return when(!state.awaits(kind), "nobody has asked for this step");
  }
  [[nodiscard]] const Instance* in_slot(std::int32_t slot) const {
    const auto found = state.instances.find(slot);
    return found == state.instances.end() ? nullptr : &found->second;
  }
  template <typename Step>
  [[nodiscard]] Found slot_answers(std::int32_t slot) const {
    const auto* instance = in_slot(slot);
    return when(instance == nullptr || !instance->in<Step>(),
                "nobody has asked for this of the slot");
  }
  [[nodiscard]] const Instance* with_vm(const std::string& vm_id) const {
    return state.instance_of(VmId{vm_id});
  }
  // The VM is there, and what it says is listened to.
  [[nodiscard]] Found of_running_vm(const std::string& vm_id) const {
    const auto* instance = with_vm(vm_id);
    return first_of({when(instance == nullptr, "the deployment has no such VM"),
                     when(instance != nullptr && !instance->is_up(), "the VM does not run")});
  }
  [[nodiscard]] bool holds_nothing() const {
    return state.instances.empty() && state.release_vm.empty() && !state.intent;
  }
  [[nodiscard]] Found ends_with_nothing_left() const {
    return when(!holds_nothing(), "it still holds a VM or a step");
  }

  // ---- how it begins ----

  // Nothing of a pull request is anywhere but in its own preview, and nothing of a fork is there
  // that nobody approved.
  static Found has_its_place(const pb::PushReceived& push) {
    const auto& of = push.pull_request();
    return first_of(
        {when(pull_request_of(push.environment()) != of.number(),
              "it is a preview of another pull request"),
         when(of.from_fork() && of.approved_by().empty(), "nobody approved the fork's commit")});
  }
  Found operator()(const pb::PushReceived& event) const {
    return first_of({begins(), when(event.project_id().empty(), "it belongs to no project"),
                     has_its_place(event)});
  }
  Found operator()(const pb::RollbackRequested& event) const {
    return first_of({begins(), when(event.built().reference().empty(), "there is no image")});
  }
  Found operator()(const pb::RedeployRequested& event) const {
    return first_of({begins(), has_its_place(event.push())});
  }

  // ---- source to image ----

  Found operator()(const pb::CloneStarted& event) const {
    return first_of({may_begin_step(pb::STEP_CLONE, event.attempt()),
                     when(state.cloned, "the source is there already"),
                     when(state.push.no_cache() && event.earlier_size() > 0,
                          "it is to be built whatever was built before")});
  }
  Found operator()(const pb::Cloned&) const { return answers(IntentKind::clone); }
  Found operator()(const pb::CloneFailed&) const { return answers(IntentKind::clone); }

  Found operator()(const pb::BuildStarted& event) const {
    return first_of({may_begin_step(pb::STEP_BUILD, event.attempt()),
                     when(!state.cloned, "there is no source"),
                     when(!state.image_id.empty(), "the image is there already")});
  }
  Found operator()(const pb::Built& event) const {
    const auto* offered = same_build(state.earlier, event.inputs());
    const bool is_offered = offered != nullptr && offered->deployment() == event.reused_from() &&
                            offered->image_id() == event.image_id();
    return first_of({answers(IntentKind::build), when(event.image_id().empty(), "no image"),
                     when(!event.reused_from().empty() && !is_offered,
                          "it took an image that it was not offered")});
  }
  Found operator()(const pb::BuildFailed&) const { return answers(IntentKind::build); }
  Found operator()(const pb::BuildTimedOut&) const { return answers(IntentKind::build); }
  Found operator()(const pb::BuildAbandoned&) const { return answers(IntentKind::build); }
  Found operator()(const pb::BuilderLost&) const {
    return when(!state.intent, "no step is under way");
  }

  Found operator()(const pb::ImagePushStarted& event) const {
    return first_of({may_begin_step(pb::STEP_PUSH_IMAGE, event.attempt()),
                     when(state.image_id.empty(), "there is no image"),
                     when(!state.image.empty(), "the image is in the registry already")});
  }
  Found operator()(const pb::ImagePushed& event) const {
    return first_of({answers(IntentKind::push_image),
                     when(event.reference().empty(), "the image has no reference")});
  }
  Found operator()(const pb::ImagePushFailed&) const { return answers(IntentKind::push_image); }

  Found operator()(const pb::ReleaseStarted& event) const {
    return first_of({may_begin_step(pb::STEP_RELEASE, event.attempt()),
                     when(state.image.empty(), "there is no image in the registry"),
                     when(!state.release_owed, "there is no release command to run"),
                     when(!state.release_vm.empty(), "the release VM before is still there")});
  }
  Found operator()(const pb::ReleaseSucceeded&) const { return answers(IntentKind::release); }
  Found operator()(const pb::ReleaseFailed&) const { return answers(IntentKind::release); }

  // ---- instances ----

  Found operator()(const pb::VMPlacementRequested& event) const {
    const auto* instance = in_slot(event.slot());
    const bool held = instance != nullptr && !instance->holds_nothing();
    return first_of(
        {when(state.image.empty(), "there is no image in the registry"),
         when(state.release_owed, "the release command has not run"),
         when(on_its_way_out(), "it is on its way out"),
         when(event.slot() < 0 || event.slot() >= state.replicas, "there is no such slot"),
         when(held, "the slot holds a VM or a step")});
  }
  Found operator()(const pb::VMPlaced& event) const {
    return first_of({slot_answers<phase::Placing>(event.slot()),
                     when(event.host().empty(), "it names no host")});
  }
  Found operator()(const pb::CapacityExhausted& event) const {
    return slot_answers<phase::Placing>(event.slot());
  }
  Found operator()(const pb::VMStartRequested& event) const {
    const auto* instance = in_slot(event.slot());
    if (instance != nullptr && !instance->vm_id().empty()) return "the slot has a VM";
    if (instance == nullptr || !instance->in<phase::Placed>()) return "the slot was never placed";
    return first_of(
        {when(instance->leaving || on_its_way_out(), "the slot is on its way out"),
         when(HostId{event.host()} != instance->host(), "it was placed on another host")});
  }
  Found operator()(const pb::VMStarted& event) const {
    const auto* instance = in_slot(event.slot());
    return first_of({slot_answers<phase::Starting>(event.slot()),
                     when(instance != nullptr && instance->vm_id() != VmId{event.vm_id()},
                          "another VM was asked for")});
  }
  Found operator()(const pb::VMStartFailed& event) const {
    return slot_answers<phase::Starting>(event.slot());
  }
  Found operator()(const pb::Healthy& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of(
        {of_running_vm(event.vm_id()),
         when(instance != nullptr && instance->has_served(), "the VM has been healthy before")});
  }
  // Of the time before the first 2xx.
  Found operator()(const pb::HealthCheckFailed& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of(
        {of_running_vm(event.vm_id()),
         when(instance != nullptr && instance->has_served(), "the VM has been healthy before")});
  }
  Found operator()(const pb::HealthDeadlineExceeded& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of(
        {of_running_vm(event.vm_id()),
         when(instance != nullptr && instance->has_served(), "the VM became healthy in time")});
  }
  Found operator()(const pb::BecameUnhealthy& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of(
        {of_running_vm(event.vm_id()),
         when(instance != nullptr && !instance->is_healthy(), "the VM was not healthy")});
  }
  Found operator()(const pb::BecameHealthy& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of(
        {of_running_vm(event.vm_id()),
         when(instance != nullptr && !instance->has_served(), "its first 2xx is Healthy"),
         when(instance != nullptr && instance->is_healthy(), "the VM was healthy already")});
  }
  Found operator()(const pb::UnhealthyTooLong& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of({of_running_vm(event.vm_id()),
                     when(instance != nullptr && instance->is_healthy(), "the VM is healthy")});
  }
  Found operator()(const pb::VMExited& event) const { return of_running_vm(event.vm_id()); }
  // Of the VM, or of the slot that was placed there and has none yet.
  Found operator()(const pb::VMHostLost& event) const {
    for (const auto& [slot, instance] : state.instances) {
      if (instance.host() == HostId{event.host()} && instance.vm_id() == VmId{event.vm_id()})
        return {};
    }
    return "the deployment has nothing on that host";
  }
  Found operator()(const pb::VMStopRequested& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of(
        {when(instance == nullptr, "the deployment has no such VM"),
         when(instance != nullptr && !instance->effect().empty(), "the slot has a step")});
  }
  Found operator()(const pb::VMStopped& event) const {
    if (!event.vm_id().empty() && VmId{event.vm_id()} == state.release_vm) {
      return when(state.awaits(IntentKind::release), "the release command still runs");
    }
    const auto* instance = with_vm(event.vm_id());
    return first_of({when(instance == nullptr, "the deployment has no such VM"),
                     when(instance != nullptr && !instance->in<phase::Stopping>(),
                          "nobody has asked for its stop")});
  }
  // ---- a slot whose VM has ended ----

  [[nodiscard]] Found of_ended_slot(std::int32_t slot) const {
    const auto* instance = in_slot(slot);
    return when(instance == nullptr || !instance->in<phase::Ended>(),
                "no VM has ended in the slot");
  }
  Found operator()(const pb::VMRestarting& event) const {
    return first_of({of_ended_slot(event.slot()), when(on_its_way_out(), "it is on its way out")});
  }
  Found operator()(const pb::CrashLoopDetected& event) const { return of_ended_slot(event.slot()); }
  Found operator()(const pb::DrainRequested& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of({of_running_vm(event.vm_id()),
                     when(instance != nullptr && instance->leaving, "the VM drains already")});
  }
  Found operator()(const pb::Drained& event) const {
    const auto* instance = with_vm(event.vm_id());
    return first_of({when(instance == nullptr, "the deployment has no such VM"),
                     when(instance != nullptr && (!instance->leaving || instance->has_drained()),
                          "the VM was not draining")});
  }

  // ---- the route ----

  Found operator()(const pb::RouteChangeRequested& event) const {
    bool all_healthy = !state.instances.empty();
    for (const auto& [slot, instance] : state.instances) {
      all_healthy = all_healthy && instance.has_served();
    }
    return first_of(
        {when(state.intent.has_value(), "another step is under way"),
         when(on_its_way_out(), "it is on its way out"), when(state.routed, "it has its route"),
         when(!all_healthy, "not every VM has answered 2xx"),
         when(event.generation() == 0 || event.hostnames().empty(), "it claims nothing"),
         when(state.generation != 0 && event.generation() != state.generation,
              "its claim has another generation")});
  }
  Found operator()(const pb::Routed&) const { return answers(IntentKind::route); }
  Found operator()(const pb::RouteFailed&) const { return answers(IntentKind::route); }

  // ---- time ----

  Found operator()(const pb::RetryScheduled& event) const {
    if (event.step() == pb::STEP_START_VM || event.step() == pb::STEP_HEALTH) {
      return when(in_slot(event.slot()) == nullptr, "there is no such slot");
    }
    return first_of({when(state.intent.has_value(), "the step is under way"),
                     when(state.retry.has_value(), "a retry is due already"),
                     when(on_its_way_out(), "it is on its way out")});
  }
  Found operator()(const pb::TimerFired& event) const {
    const auto* instance = in_slot(event.slot());
    const bool of_slot = event.step() == pb::STEP_START_VM;
    const bool awaited =
        of_slot ? instance != nullptr && instance->retry() != nullptr : state.retry.has_value();
    return when(!awaited, "no retry is due");
  }

  // ---- what somebody wants ----

  [[nodiscard]] Found of_what_serves() const {
    return when(!is_serving(state.status), "it does not serve");
  }
  Found operator()(const pb::ScaleRequested& event) const {
    return first_of(
        {of_what_serves(), when(event.replicas() < 1 || event.replicas() > k_replicas_max,
                                "that many replicas cannot be")});
  }
  Found operator()(const pb::StopRequested&) const {
    return first_of({of_what_serves(), when(!state.stopped_by.empty(), "it is stopped already")});
  }
  Found operator()(const pb::StartRequested&) const { return of_what_serves(); }
  Found operator()(const pb::CancelRequested&) const {
    return when(is_serving(state.status) || on_its_way_out(), "there is nothing to cancel");
  }
  Found operator()(const pb::RetirementRequested&) const { return of_what_serves(); }

  // ---- ends ----

  Found operator()(const pb::DeploymentSuperseded&) const {
    return first_of({when(state.status != DeploymentStatus::queued &&
                              state.status != DeploymentStatus::cancelling,
                          "it was not to make room"),
                     ends_with_nothing_left()});
  }
  Found operator()(const pb::DeploymentCancelled&) const {
    return first_of({when(state.status != DeploymentStatus::cancelling, "nobody has cancelled it"),
                     ends_with_nothing_left()});
  }
  Found operator()(const pb::DeploymentSkipped&) const {
    return first_of({when(state.skip_reason.empty(), "there is no reason to skip it"),
                     ends_with_nothing_left()});
  }
  Found operator()(const pb::DeploymentFailed&) const {
    return first_of({when(state.status != DeploymentStatus::failing, "it has not failed"),
                     ends_with_nothing_left()});
  }
  Found operator()(const pb::DeploymentRetired&) const {
    return first_of({when(state.status != DeploymentStatus::retiring, "it is not retiring"),
                     ends_with_nothing_left()});
  }

  Found operator()(const pb::Event&) const { return "it is no event of a deployment"; }
};

}  // namespace

bool ends_deployment(const pb::Event& event) { return ends_deployment(event.kind_case()); }

bool ends_deployment(pb::Event::KindCase kind) {
  switch (kind) {
    case pb::Event::kDeploymentFailed:
    case pb::Event::kDeploymentSuperseded:
    case pb::Event::kDeploymentCancelled:
    case pb::Event::kDeploymentRetired:
    case pb::Event::kDeploymentSkipped:
      return true;
    default:
      return false;
  }
}

std::string violation(const DeploymentState& state, const pb::Event& event) {
  if (is_terminal(state.status)) return "it has ended";
  const bool begins =
      event.has_push_received() || event.has_rollback_requested() || event.has_redeploy_requested();
  if (state.status == DeploymentStatus::absent && !begins) return "it has not begun";
  return visit_deployment_event(event, Precondition{state});
}

}  // namespace atlasflow
