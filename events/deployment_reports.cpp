// decide, of what the world reports: outcomes of effects, news of VMs and hosts, times that have
// come.
#include <algorithm>
#include <utility>

#include "base/probe.hpp"
#include "events/deployment_decider.hpp"
#include "events/deployment_rules.hpp"

namespace atlasflow::rules {
namespace {

bool answers(IntentKind intent, const pb::Event& outcome) {
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

bool answers(const Instance& instance, const pb::Event& outcome) {
  return (instance.in<phase::Placing>() && outcome.has_vm_placed()) ||
         (instance.in<phase::Starting>() && outcome.has_vm_started()) ||
         (instance.in<phase::Stopping>() && outcome.has_vm_stopped());
}

template <typename Message>
void fill(Message& event, const Failed& command, bool again) {
  event.set_fault(command.fault);
  event.set_retryable(again);
  event.set_reason(command.reason);
}

}  // namespace

// ---- outcomes ----

Result<Events> Reports::operator()(const Succeeded& command) const {
  const auto& outcome = command.outcome;
  if (outcome.has_healthy()) return healthy(command);
  if (outcome.has_drained()) return drained(command);
  Events events{outcome};
  const bool of_release_vm = !state.release_vm.empty() && vm_of(command.effect) == state.release_vm;
  if (outcome.has_vm_stopped() && of_release_vm && state.intent_kind != IntentKind::release) {
    return events;
  }
  if (command.effect.empty()) return stale(command.effect);
  if (command.effect == state.intent) {
    if (!answers(state.intent_kind, outcome)) return refuse("an outcome of another step for");
    if (outcome.has_routed()) events[0].mutable_routed()->set_at_us(moment.now);
    return events;
  }
  for (const auto& [slot, instance] : state.instances) {
    if (command.effect != instance.effect()) continue;
    if (!answers(instance, outcome)) return refuse("an outcome of another step for");
    if (outcome.has_vm_placed()) events[0].mutable_vm_placed()->set_slot(slot);
    if (outcome.has_vm_started()) events[0].mutable_vm_started()->set_slot(slot);
    return events;
  }
  return stale(command.effect);
}

tl::unexpected<Error> Reports::stale(const EffectId& effect) const {
  ATLAS_PROBE(is_terminal(state.status), "an outcome came after its deployment had ended");
  ATLAS_PROBE(ending(), "an outcome that nobody awaits came while its deployment ended");
  return refuse("a stale outcome of " + effect.str() + " for");
}

// The instance whose first 2xx is awaited.
const Instance* Reports::checked(const VmId& vm_id) const {
  const auto* instance = state.instance_of(vm_id);
  if (instance == nullptr || !instance->is_up() || instance->has_served() || ending()) {
    return nullptr;
  }
  return instance;
}

Result<Events> Reports::healthy(const Succeeded& command) const {
  const auto* instance = checked(vm_of(command.effect));
  if (instance == nullptr) return stale(command.effect);
  Events events{command.outcome};
  events[0].mutable_healthy()->set_vm_id(instance->vm_id().str());
  events[0].mutable_healthy()->set_at_us(moment.now);
  return events;
}

Result<Events> Reports::drained(const Succeeded& command) const {
  const auto* instance = state.instance_of(vm_of(command.effect));
  const bool awaited = instance != nullptr && instance->leaving && !instance->has_drained() &&
                       !instance->in<phase::Stopping>();
  ATLAS_PROBE(!awaited, "a drain ended that nobody waits for");
  if (!awaited) return stale(command.effect);
  Events events{command.outcome};
  events[0].mutable_drained()->set_vm_id(instance->vm_id().str());
  return events;
}

// ---- failures of steps ----

Result<Events> Reports::operator()(const Failed& command) const {
  if (command.effect.empty()) return stale(command.effect);
  if (command.effect == state.intent) return failed_step(command);
  for (const auto& [slot, instance] : state.instances) {
    if (command.effect == instance.effect()) return failed_instance(command, instance);
  }
  return stale(command.effect);
}

Result<Events> Reports::failed_step(const Failed& command) const {
  pb::Step step = pb::STEP_UNSPECIFIED;
  std::int32_t limit = 0;
  switch (state.intent_kind) {
    case IntentKind::clone:
      step = pb::STEP_CLONE;
      limit = k_clone_attempts;
      break;
    case IntentKind::build:
      step = pb::STEP_BUILD;
      limit = k_build_attempts;
      break;
    case IntentKind::push_image:
      step = pb::STEP_PUSH_IMAGE;
      limit = k_push_attempts;
      break;
    case IntentKind::release:
      step = pb::STEP_RELEASE;
      limit = command.no_capacity ? k_place_attempts : k_release_attempts;
      break;
    case IntentKind::route:
      step = pb::STEP_ROUTE;
      limit = k_route_attempts;
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

pb::Event Reports::failure_event(pb::Step step, const Failed& command, bool again) const {
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

pb::Event Reports::retry_scheduled(pb::Step step, std::int32_t failed_attempt,
                                   std::int32_t slot) const {
  pb::Event event;
  auto* retry = event.mutable_retry_scheduled();
  retry->set_step(step);
  retry->set_attempt(failed_attempt + 1);
  retry->set_slot(slot);
  retry->set_due_us(moment.now + backoff_us(state.id, failed_attempt));
  return event;
}

// What has been live never gives up for want of a VM.
Result<Events> Reports::failed_instance(const Failed& command, const Instance& instance) const {
  const bool wanted = !ending() && !instance.leaving;
  Events events(1);
  std::int32_t attempt = 0;
  bool again = false;
  if (instance.in<phase::Placing>()) {
    attempt = instance.refusals + 1;
    again = wanted && (state.routed || (command.retryable && attempt < k_place_attempts));
    auto* exhausted = events[0].mutable_capacity_exhausted();
    exhausted->set_reason(command.reason);
    exhausted->set_slot(instance.slot);
    exhausted->set_retryable(again);
  } else if (instance.in<phase::Starting>()) {
    // Room comes back when another VM has gone, so a host that has none is asked for longer.
    attempt = command.no_capacity ? instance.refusals + 1 : instance.attempts;
    const auto limit = command.no_capacity ? k_place_attempts : k_start_attempts;
    again = wanted && (state.routed || (command.retryable && attempt < limit));
    auto* failed = events[0].mutable_vm_start_failed();
    fill(*failed, command, again);
    failed->set_slot(instance.slot);
    failed->set_no_capacity(command.no_capacity);
  } else {
    return refuse("a failure of a step that can't fail for");
  }
  if (again) events.push_back(retry_scheduled(pb::STEP_START_VM, attempt, instance.slot));
  return events;
}

// ---- news of VMs ----

Result<Events> Reports::operator()(const HealthTimedOut& command) const {
  const auto* instance = checked(command.vm_id);
  if (instance == nullptr || instance->leaving) {
    ATLAS_PROBE(true, "a health deadline passed for a VM that nobody waits for");
    return refuse("a stale probe of " + command.vm_id.str() + " for");
  }
  Events events(1);
  auto* exceeded = events[0].mutable_health_deadline_exceeded();
  exceeded->set_limit_us(state.push.settings().health_deadline_us());
  exceeded->set_last_status(command.last_status);
  exceeded->set_last_error(command.last_error);
  exceeded->set_probes(command.probes);
  exceeded->set_vm_id(command.vm_id.str());
  return events;
}

Result<Events> Reports::operator()(const HealthChanged& command) const {
  const auto* instance = state.instance_of(command.vm_id);
  if (instance == nullptr || !instance->is_up()) return Events{};
  Events events(1);
  if (!instance->has_served()) {
    if (command.healthy) return Events{};  // Healthy comes as an outcome.
    auto* failed = events[0].mutable_health_check_failed();
    failed->set_vm_id(command.vm_id.str());
    failed->set_last_status(command.status);
    failed->set_last_error(command.error);
  } else if (command.healthy == instance->is_healthy()) {
    return Events{};
  } else if (command.healthy) {
    events[0].mutable_became_healthy()->set_vm_id(command.vm_id.str());
    events[0].mutable_became_healthy()->set_status(command.status);
  } else {
    auto* unhealthy = events[0].mutable_became_unhealthy();
    unhealthy->set_vm_id(command.vm_id.str());
    unhealthy->set_last_status(command.status);
    unhealthy->set_last_error(command.error);
    const auto limit = state.push.settings().restart_unhealthy_after_us();
    if (limit > 0) unhealthy->set_restart_due_us(moment.now + limit);
  }
  return events;
}

Result<Events> Reports::operator()(const VmEnded& command) const {
  const auto* instance = state.instance_of(VmId{command.exit.vm_id()});
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

Result<Events> Reports::operator()(const VmHostGone& command) const {
  Events events;
  for (const auto& [slot, instance] : state.instances) {
    if (instance.host() != command.host) continue;
    auto* lost = events.emplace_back().mutable_vm_host_lost();
    lost->set_host(command.host.str());
    lost->set_vm_id(instance.vm_id().str());
  }
  return events;
}

// One at a time: while another of the app's VMs is on its way, this one waits, so that an app
// never restarts itself away.
Events Reports::restart_unhealthy(std::int32_t slot) const {
  const auto found = state.instances.find(slot);
  if (found == state.instances.end() || ending()) return {};
  const auto& instance = found->second;
  const auto* unhealthy =
      instance.is_up() ? std::get_if<health::Unhealthy>(&instance.vm()->health) : nullptr;
  if (unhealthy == nullptr || instance.leaving || unhealthy->restart_due == 0 ||
      moment.now < unhealthy->restart_due) {
    return {};
  }
  const bool wait = std::ranges::any_of(state.instances, [&](const auto& item) {
    const Instance& other = item.second;
    const bool settled = other.has_served() || other.in<phase::GivenUp>();
    return item.first != slot && !other.leaving && !settled;
  });
  Events events(1);
  if (wait) {
    ATLAS_PROBE(true, "an unhealthy VM waits for the restart of another of its app");
    auto* retry = events[0].mutable_retry_scheduled();
    retry->set_step(pb::STEP_HEALTH);
    retry->set_slot(slot);
    retry->set_due_us(moment.now + k_restart_turn_us);
  } else {
    events[0].mutable_unhealthy_too_long()->set_vm_id(instance.vm_id().str());
    events[0].mutable_unhealthy_too_long()->set_limit_us(
        state.push.settings().restart_unhealthy_after_us());
  }
  return events;
}

Result<Events> Reports::operator()(const TimerDue& command) const {
  if (command.step == pb::STEP_HEALTH) return restart_unhealthy(command.slot);
  const auto matches = [&](const Retry* retry) {
    return retry != nullptr && retry->step == command.step && retry->attempt == command.attempt &&
           moment.now >= retry->due;
  };
  bool awaited = matches(state.retry ? &*state.retry : nullptr);
  if (command.step == pb::STEP_START_VM) {
    const auto found = state.instances.find(command.slot);
    awaited = found != state.instances.end() && matches(found->second.retry());
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
Result<Events> Reports::operator()(const DeadlinePassed& command) const {
  const bool awaited = state.intent_kind == IntentKind::route && command.effect == state.intent;
  if (!awaited || moment.now < state.intent_deadline) return Events{};
  Failed failed;
  failed.effect = command.effect;
  failed.retryable = true;
  failed.reason = "the edge did not take the route in time";
  return failed_step(failed);
}

}  // namespace atlasflow::rules
