// decide: which events a command leads to, and when it is refused.
// Long because: one handler per command, and what they share is a line or two each.
#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "events/deployment_rules.hpp"

namespace atlasflow {
namespace {

using Events = std::vector<pb::Event>;
using rules::attempts_of;

struct Decider {
  const DeploymentState& state;
  const Moment& moment;

  [[nodiscard]] tl::unexpected<Error> refuse(const std::string& what,
                                             const std::string& advice = {}) const {
    return fail(ErrorCode::conflict, what + " deployment " + state.id.str() + ", which is " +
                                         std::string(name_of(state.status)) + advice);
  }
  [[nodiscard]] bool ending() const {
    return state.status == DeploymentStatus::cancelling ||
           state.status == DeploymentStatus::failing;
  }
  [[nodiscard]] TimestampUs drain_deadline() const {
    return moment.now + state.push.settings().drain_deadline_us();
  }

  // ---- how it begins ----

  [[nodiscard]] Result<void> can_begin(const pb::PushReceived& push) const {
    if (state.status != DeploymentStatus::absent) return refuse("a push has already made");
    if (is_commit_sha(push.after())) return {};
    return fail(ErrorCode::invalid_argument,
                "'" + push.after().substr(0, 80) + "' is no commit: give all 40 hex digits");
  }

  Result<Events> operator()(const ReceivePush& command) const {
    if (auto ok = can_begin(command.push); !ok) return tl::unexpected(ok.error());
    Events events(1);
    *events[0].mutable_push_received() = command.push;
    return events;
  }
  Result<Events> operator()(const RequestRollback& command) const {
    if (auto ok = can_begin(command.request.push()); !ok) return tl::unexpected(ok.error());
    if (command.request.built().reference().empty()) {
      return fail(ErrorCode::conflict, "deployment " + command.request.to() +
                                           " never had an image; roll back to another one");
    }
    Events events(1);
    *events[0].mutable_rollback_requested() = command.request;
    return events;
  }
  Result<Events> operator()(const RequestRedeploy& command) const {
    if (auto ok = can_begin(command.request.push()); !ok) return tl::unexpected(ok.error());
    Events events(1);
    *events[0].mutable_redeploy_requested() = command.request;
    return events;
  }

  Result<Events> operator()(const Start& command) const {
    if (state.status != DeploymentStatus::queued) return refuse("can't start");
    Events events{rules::pipeline_step(state, moment)};
    if (events[0].has_clone_started()) {
      events[0].mutable_clone_started()->set_base_sha(command.base_sha);
    }
    return events;
  }

  // ---- ends ----

  Result<Events> operator()(const Supersede& command) const {
    if (state.status != DeploymentStatus::queued) return refuse("can't supersede");
    Events events(1);
    events[0].mutable_deployment_superseded()->set_by(command.by.str());
    return events;
  }
  Result<Events> operator()(const Override& command) const {
    if (!is_under_way(state.status) || ending()) return refuse("can't override");
    Events events(1);
    events[0].mutable_cancel_requested()->set_by("a newer deployment");
    events[0].mutable_cancel_requested()->set_superseded_by(command.by.str());
    return events;
  }

  Result<Events> operator()(const Cancel& command) const {
    if (is_serving(state.status)) {
      return refuse("can't cancel", "; atlasflow stop or rollback ends what serves");
    }
    if (state.status != DeploymentStatus::queued && (!is_under_way(state.status) || ending())) {
      return refuse("can't cancel");
    }
    Events events(1);
    events[0].mutable_cancel_requested()->set_by(command.by.str());
    events[0].mutable_cancel_requested()->set_reason(command.reason);
    return events;
  }

  Result<Events> operator()(const Retire& command) const {
    if (!is_serving(state.status)) return refuse("can't retire");
    Events events(1);
    auto* request = events[0].mutable_retirement_requested();
    request->set_by(command.successor.empty() ? command.by.str() : command.successor.str());
    request->set_reason(command.reason);
    request->set_drain_deadline_us(drain_deadline());
    return events;
  }

  // ---- what the owner wants of what serves ----

  Result<Events> operator()(const Scale& command) const {
    if (command.replicas < 1 || command.replicas > k_replicas_max) {
      return fail(ErrorCode::invalid_argument, "a deployment has 1 to " +
                                                   std::to_string(k_replicas_max) +
                                                   " instances; atlasflow stop stops it");
    }
    if (!is_serving(state.status)) return refuse("can't scale");
    if (command.replicas == state.replicas) return Events{};
    Events events(1);
    auto* request = events[0].mutable_scale_requested();
    request->set_replicas(command.replicas);
    request->set_by(command.by.str());
    request->set_drain_deadline_us(drain_deadline());
    return events;
  }
  Result<Events> operator()(const StopApp& command) const {
    if (!is_serving(state.status)) return refuse("can't stop", "; atlasflow cancel ends it");
    if (!state.stopped_by.empty()) return Events{};
    Events events(1);
    events[0].mutable_stop_requested()->set_by(command.by.str());
    events[0].mutable_stop_requested()->set_drain_deadline_us(drain_deadline());
    return events;
  }
  Result<Events> operator()(const StartApp& command) const {
    if (!is_serving(state.status)) return refuse("can't start");
    const bool crashed = state.status == DeploymentStatus::crashed;
    if (state.stopped_by.empty() && !crashed) return Events{};
    Events events(1);
    events[0].mutable_start_requested()->set_by(command.by.str());
    return events;
  }

  // ---- a new control plane ----

  // Clone, push, release, VM start, route, drain and stop are idempotent by name and are simply
  // done again under the same intent. A build is not: it gets a new name.
  Result<Events> operator()(const Recover&) const {
    Events events;
    if (state.intent_kind == IntentKind::build) {
      events.emplace_back().mutable_build_abandoned()->set_reason(
          "the control plane was started anew while it ran");
    }
    return events;
  }

  // ---- outcomes ----

  Result<Events> operator()(const Succeeded& command) const {
    const auto& outcome = command.outcome;
    Events events{outcome};
    switch (outcome.kind_case()) {
      case pb::Event::kHealthy:
        return healthy(command);
      case pb::Event::kDrained: {
        const auto* instance = state.instance_of(command.effect.str());
        const bool awaited = instance != nullptr && instance->leaving && !instance->drained &&
                             instance->intent != InstanceIntent::stop;
        ATLAS_PROBE(!awaited, "a drain ended that nobody waits for");
        if (!awaited) return stale(command.effect);
        events[0].mutable_drained()->set_vm_id(instance->vm_id);
        return events;
      }
      case pb::Event::kVmStopped:
        if (!state.release_vm.empty() && command.effect.str() == state.release_vm &&
            state.intent_kind != IntentKind::release) {
          return events;
        }
        break;
      default:
        break;
    }
    if (command.effect.empty()) return stale(command.effect);
    if (command.effect == state.intent) {
      if (!answers(state.intent_kind, outcome)) return refuse("an outcome of another step for");
      if (outcome.has_routed()) events[0].mutable_routed()->set_at_us(moment.now);
      return events;
    }
    for (const auto& [slot, instance] : state.instances) {
      if (command.effect != instance.effect) continue;
      if (!answers(instance.intent, outcome)) return refuse("an outcome of another step for");
      if (outcome.has_vm_placed()) events[0].mutable_vm_placed()->set_slot(slot);
      if (outcome.has_vm_started()) events[0].mutable_vm_started()->set_slot(slot);
      return events;
    }
    return stale(command.effect);
  }

  [[nodiscard]] tl::unexpected<Error> stale(const EffectId& effect) const {
    ATLAS_PROBE(is_terminal(state.status), "an outcome came after its deployment had ended");
    ATLAS_PROBE(ending(), "an outcome that nobody awaits came while its deployment ended");
    return refuse("a stale outcome of " + effect.str() + " for");
  }

  static bool answers(IntentKind intent, const pb::Event& outcome) {
    switch (intent) {
      case IntentKind::clone:
        return outcome.has_cloned();
      case IntentKind::build:
        return outcome.has_built();
      case IntentKind::push_image:
        return outcome.has_image_pushed();
      case IntentKind::release:
        return outcome.has_release_succeeded();
      case IntentKind::route:
        return outcome.has_routed();
      case IntentKind::none:
        break;
    }
    return false;
  }
  static bool answers(InstanceIntent intent, const pb::Event& outcome) {
    switch (intent) {
      case InstanceIntent::place:
        return outcome.has_vm_placed();
      case InstanceIntent::start:
        return outcome.has_vm_started();
      case InstanceIntent::stop:
        return outcome.has_vm_stopped();
      case InstanceIntent::none:
        break;
    }
    return false;
  }

  // The instance whose first 2xx is awaited.
  [[nodiscard]] const Instance* checked(const std::string& vm_id) const {
    const auto* instance = state.instance_of(vm_id);
    if (instance == nullptr || !instance->is_up() || instance->was_healthy || ending()) {
      return nullptr;
    }
    return instance;
  }

  [[nodiscard]] Result<Events> healthy(const Succeeded& command) const {
    const auto* instance = checked(command.effect.str());
    if (instance == nullptr) return stale(command.effect);
    Events events{command.outcome};
    events[0].mutable_healthy()->set_vm_id(instance->vm_id);
    events[0].mutable_healthy()->set_at_us(moment.now);
    return events;
  }

  // ---- failures of steps ----

  Result<Events> operator()(const Failed& command) const {
    if (command.effect.empty()) return stale(command.effect);
    if (command.effect == state.intent) return failed_step(command);
    for (const auto& [slot, instance] : state.instances) {
      if (command.effect == instance.effect) return failed_instance(command, instance);
    }
    return stale(command.effect);
  }

  template <typename Message>
  static void fill(Message& event, const Failed& command, bool again) {
    event.set_fault(command.fault);
    event.set_retryable(again);
    event.set_reason(command.reason);
  }

  [[nodiscard]] Result<Events> failed_step(const Failed& command) const {
    pb::Step step = pb::STEP_UNSPECIFIED;
    std::int32_t limit = 0;
    switch (state.intent_kind) {
      case IntentKind::clone:
        step = pb::STEP_CLONE;
        limit = rules::k_clone_attempts;
        break;
      case IntentKind::build:
        step = pb::STEP_BUILD;
        limit = rules::k_build_attempts;
        break;
      case IntentKind::push_image:
        step = pb::STEP_PUSH_IMAGE;
        limit = rules::k_push_attempts;
        break;
      case IntentKind::release:
        step = pb::STEP_RELEASE;
        limit = command.no_capacity ? rules::k_place_attempts : rules::k_release_attempts;
        break;
      case IntentKind::route:
        step = pb::STEP_ROUTE;
        limit = rules::k_route_attempts;
        break;
      case IntentKind::none:
        return stale(command.effect);
    }
    const auto attempt = attempts_of(state, step);
    const bool again = command.retryable && attempt < limit && !ending();
    Events events{failure_event(step, command, again)};
    if (again) events.push_back(retry_scheduled(step, attempt, 0));
    return events;
  }

  [[nodiscard]] pb::Event failure_event(pb::Step step, const Failed& command, bool again) const {
    pb::Event event;
    if (!command.lost_builder.empty() && again) {
      event.mutable_builder_lost()->set_builder(command.lost_builder);
      event.mutable_builder_lost()->set_reason(command.reason);
      return event;
    }
    switch (step) {
      case pb::STEP_CLONE:
        fill(*event.mutable_clone_failed(), command, again);
        break;
      case pb::STEP_BUILD:
        if (command.timed_out) {
          event.mutable_build_timed_out()->set_limit_us(state.push.settings().build_deadline_us());
        } else {
          fill(*event.mutable_build_failed(), command, again);
          event.mutable_build_failed()->set_exit_code(command.exit_code);
        }
        break;
      case pb::STEP_PUSH_IMAGE:
        fill(*event.mutable_image_push_failed(), command, again);
        break;
      case pb::STEP_RELEASE:
        fill(*event.mutable_release_failed(), command, again);
        event.mutable_release_failed()->set_exit_code(command.exit_code);
        break;
      default:
        event.mutable_route_failed()->set_retryable(again);
        event.mutable_route_failed()->set_reason(command.reason);
        break;
    }
    return event;
  }

  [[nodiscard]] pb::Event retry_scheduled(pb::Step step, std::int32_t failed_attempt,
                                          std::int32_t slot) const {
    pb::Event event;
    auto* retry = event.mutable_retry_scheduled();
    retry->set_step(step);
    retry->set_attempt(failed_attempt + 1);
    retry->set_slot(slot);
    retry->set_due_us(moment.now + rules::backoff_us(state.id, failed_attempt));
    return event;
  }

  // What has been live never gives up for want of a VM.
  [[nodiscard]] Result<Events> failed_instance(const Failed& command,
                                               const Instance& instance) const {
    const bool wanted = !ending() && !instance.leaving;
    Events events(1);
    std::int32_t attempt = 0;
    bool again = false;
    switch (instance.intent) {
      case InstanceIntent::place: {
        attempt = instance.refusals + 1;
        again =
            wanted && (state.routed || (command.retryable && attempt < rules::k_place_attempts));
        auto* exhausted = events[0].mutable_capacity_exhausted();
        exhausted->set_reason(command.reason);
        exhausted->set_slot(instance.slot);
        exhausted->set_retryable(again);
        break;
      }
      case InstanceIntent::start: {
        // Room comes back when another VM has gone, so a host that has none is asked for longer.
        attempt = command.no_capacity ? instance.refusals + 1 : instance.attempts;
        const auto limit = command.no_capacity ? rules::k_place_attempts : rules::k_start_attempts;
        again = wanted && (state.routed || (command.retryable && attempt < limit));
        auto* failed = events[0].mutable_vm_start_failed();
        fill(*failed, command, again);
        failed->set_slot(instance.slot);
        failed->set_no_capacity(command.no_capacity);
        break;
      }
      case InstanceIntent::stop:
      case InstanceIntent::none:
        return refuse("a failure of a step that can't fail for");
    }
    if (again) events.push_back(retry_scheduled(pb::STEP_START_VM, attempt, instance.slot));
    return events;
  }

  // ---- news of VMs ----

  Result<Events> operator()(const HealthTimedOut& command) const {
    const auto* instance = checked(command.vm_id);
    if (instance == nullptr || instance->leaving) {
      ATLAS_PROBE(true, "a health deadline passed for a VM that nobody waits for");
      return refuse("a stale probe of " + command.vm_id + " for");
    }
    Events events(1);
    auto* exceeded = events[0].mutable_health_deadline_exceeded();
    exceeded->set_limit_us(state.push.settings().health_deadline_us());
    exceeded->set_last_status(command.last_status);
    exceeded->set_last_error(command.last_error);
    exceeded->set_probes(command.probes);
    exceeded->set_vm_id(command.vm_id);
    return events;
  }

  Result<Events> operator()(const HealthChanged& command) const {
    const auto* instance = state.instance_of(command.vm_id);
    if (instance == nullptr || !instance->is_up()) return Events{};
    Events events(1);
    if (!instance->was_healthy) {
      if (command.healthy) return Events{};  // Healthy comes as an outcome.
      auto* failed = events[0].mutable_health_check_failed();
      failed->set_vm_id(command.vm_id);
      failed->set_last_status(command.status);
      failed->set_last_error(command.error);
    } else if (command.healthy == instance->healthy) {
      return Events{};
    } else if (command.healthy) {
      events[0].mutable_became_healthy()->set_vm_id(command.vm_id);
      events[0].mutable_became_healthy()->set_status(command.status);
    } else {
      auto* unhealthy = events[0].mutable_became_unhealthy();
      unhealthy->set_vm_id(command.vm_id);
      unhealthy->set_last_status(command.status);
      unhealthy->set_last_error(command.error);
      const auto limit = state.push.settings().restart_unhealthy_after_us();
      if (limit > 0) unhealthy->set_restart_due_us(moment.now + limit);
    }
    return events;
  }

  Result<Events> operator()(const VmEnded& command) const {
    const auto* instance = state.instance_of(command.exit.vm_id());
    ATLAS_PROBE(instance == nullptr, "a VM ended that its deployment had let go");
    ATLAS_PROBE(instance != nullptr && instance->leaving,
                "a VM ended by itself while it was to leave");
    // An end that was asked for, or of a VM that is not this deployment's any more, is no news.
    if (instance == nullptr || !instance->is_up() || instance->leaving || ending()) {
      return Events{};
    }
    Events events(1);
    auto* exited = events[0].mutable_vm_exited();
    *exited = command.exit;
    const auto window = state.push.settings().auto_rollback_us();
    exited->set_soon_after_routed(state.routed && !command.exit.lost() && window > 0 &&
                                  moment.now - state.routed_at <= window);
    return events;
  }

  Result<Events> operator()(const VmHostGone& command) const {
    Events events;
    for (const auto& [slot, instance] : state.instances) {
      if (instance.host != command.host) continue;
      auto* lost = events.emplace_back().mutable_vm_host_lost();
      lost->set_host(command.host);
      lost->set_vm_id(instance.vm_id);
    }
    return events;
  }

  // One at a time: while another of the app's VMs is on its way, this one waits, so that an app
  // never restarts itself away.
  [[nodiscard]] Events restart_unhealthy(std::int32_t slot) const {
    const auto found = state.instances.find(slot);
    if (found == state.instances.end() || ending()) return {};
    const auto& instance = found->second;
    if (!instance.is_up() || instance.leaving || instance.unhealthy_due == 0 ||
        moment.now < instance.unhealthy_due) {
      return {};
    }
    const bool wait = std::ranges::any_of(state.instances, [&](const auto& item) {
      const Instance& other = item.second;
      const bool settled = (other.is_up() && other.was_healthy) || other.given_up;
      return item.first != slot && !other.leaving && !settled;
    });
    Events events(1);
    if (wait) {
      ATLAS_PROBE(true, "an unhealthy VM waits for the restart of another of its app");
      auto* retry = events[0].mutable_retry_scheduled();
      retry->set_step(pb::STEP_HEALTH);
      retry->set_slot(slot);
      retry->set_due_us(moment.now + rules::k_restart_turn_us);
    } else {
      events[0].mutable_unhealthy_too_long()->set_vm_id(instance.vm_id);
      events[0].mutable_unhealthy_too_long()->set_limit_us(
          state.push.settings().restart_unhealthy_after_us());
    }
    return events;
  }

  Result<Events> operator()(const TimerDue& command) const {
    if (command.step == pb::STEP_HEALTH) return restart_unhealthy(command.slot);
    const auto matches = [&](const std::optional<Retry>& retry) {
      return retry && retry->step == command.step && retry->attempt == command.attempt &&
             moment.now >= retry->due;
    };
    bool awaited = matches(state.retry);
    if (command.step == pb::STEP_START_VM) {
      const auto found = state.instances.find(command.slot);
      awaited = found != state.instances.end() && matches(found->second.retry);
    }
    ATLAS_PROBE(!awaited, "a timer fired for a wait that is over");
    if (!awaited) return Events{};  // The timer of a wait that is over.
    Events events(1);
    auto* fired = events[0].mutable_timer_fired();
    fired->set_step(command.step);
    fired->set_attempt(command.attempt);
    fired->set_slot(command.slot);
    return events;
  }

  // The edge may still take the route: its answer is stale then, and the claim that is repeated
  // with the next attempt has the same generation.
  Result<Events> operator()(const DeadlinePassed& command) const {
    const bool awaited = state.intent_kind == IntentKind::route && command.effect == state.intent;
    if (!awaited || moment.now < state.intent_deadline) return Events{};
    Failed failed;
    failed.effect = command.effect;
    failed.retryable = true;
    failed.reason = "the edge did not take the route in time";
    return failed_step(failed);
  }
};

// One command leads to a bounded number of events; more would be rules that feed each other.
constexpr std::size_t k_events_max = 1000;

}  // namespace

Result<Events> decide(const DeploymentState& state, const DeploymentCommand& command,
                      const Moment& moment) {
  auto events = std::visit(Decider{state, moment}, command);
  if (!events) return events;
  DeploymentState after = state;
  const auto follow = [&](const pb::Event& event) {
    const auto broken = violation(after, event);
    ATLAS_ASSERT(broken.empty(), "event " + std::to_string(event.kind_case()) + " for deployment " +
                                     state.id.str() + ": " + broken);
    evolve(after, event);
  };
  for (const auto& event : *events) follow(event);
  while (auto next = next_event(after, moment)) {
    ATLAS_ASSERT(events->size() < k_events_max, "a deployment's rules don't come to rest");
    follow(*next);
    events->push_back(*std::move(next));
  }
  return events;
}

}  // namespace atlasflow
