// decide: which events a command leads to, and when it is refused.
#include <algorithm>
#include <utility>

#include "events/deployment.hpp"
#include "events/settings.hpp"

namespace atlasflow {
namespace {

using Events = std::vector<pb::Event>;

constexpr std::int32_t k_clone_attempts = 4;
constexpr std::int32_t k_build_attempts = 2;  // of system faults only; a user's fault is final
constexpr std::int32_t k_push_attempts = 4;
constexpr std::int32_t k_start_attempts = 3;
constexpr std::int32_t k_route_attempts = 5;

// Exponential from 1 s to 60 s, plus up to a quarter that depends on the deployment, so that many
// that failed together do not come back together. A hash stands for randomness: events/ has none.
TimestampUs backoff_us(const DeploymentId& id, std::int32_t attempt) {
  const std::int32_t doublings = std::clamp(attempt - 1, 0, 6);
  const TimestampUs base = std::min(k_second_us << doublings, 60 * k_second_us);
  std::uint64_t hash = 1469598103934665603ULL;  // FNV-1a
  for (const char c : id.str() + std::to_string(attempt)) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 1099511628211ULL;
  }
  return base + static_cast<TimestampUs>(hash % static_cast<std::uint64_t>(base / 4));
}

struct Decider {
  const DeploymentState& state;

  [[nodiscard]] tl::unexpected<Error> refuse(const std::string& what) const {
    return fail(ErrorCode::conflict, what + " deployment " + state.id.str() + ", which is " +
                                         std::string(name_of(state.status)));
  }
  [[nodiscard]] bool cancelling() const { return state.status == DeploymentStatus::cancelling; }
  [[nodiscard]] std::int32_t attempts(pb::Step step) const {
    const auto found = state.attempts.find(step);
    return found == state.attempts.end() ? 0 : found->second;
  }
  [[nodiscard]] bool has_vm() const { return state.vm && !state.vm->vm_id.empty(); }

  static pb::Event clone_started(std::int32_t attempt, TimestampUs deadline) {
    pb::Event event;
    event.mutable_clone_started()->set_attempt(attempt);
    event.mutable_clone_started()->set_deadline_us(deadline);
    return event;
  }
  static pb::Event build_started(std::int32_t attempt, TimestampUs deadline) {
    pb::Event event;
    event.mutable_build_started()->set_attempt(attempt);
    event.mutable_build_started()->set_deadline_us(deadline);
    return event;
  }
  static pb::Event image_push_started(std::int32_t attempt) {
    pb::Event event;
    event.mutable_image_push_started()->set_attempt(attempt);
    return event;
  }
  [[nodiscard]] pb::Event vm_stop_requested(const std::string& reason) const {
    pb::Event event;
    event.mutable_vm_stop_requested()->set_vm_id(state.vm ? state.vm->vm_id : "");
    event.mutable_vm_stop_requested()->set_reason(reason);
    return event;
  }
  [[nodiscard]] pb::Event cancelled() const {
    pb::Event event;
    event.mutable_deployment_cancelled()->set_by(state.cancelled_by);
    return event;
  }
  static pb::Event deployment_failed(pb::Step step, pb::Fault fault, const std::string& reason) {
    pb::Event event;
    event.mutable_deployment_failed()->set_step(step);
    event.mutable_deployment_failed()->set_fault(fault);
    event.mutable_deployment_failed()->set_reason(reason);
    return event;
  }
  [[nodiscard]] pb::Event retry_scheduled(pb::Step step, std::int32_t failed_attempt,
                                          TimestampUs now) const {
    pb::Event event;
    event.mutable_retry_scheduled()->set_step(step);
    event.mutable_retry_scheduled()->set_attempt(failed_attempt + 1);
    event.mutable_retry_scheduled()->set_due_us(now + backoff_us(state.id, failed_attempt));
    return event;
  }
  [[nodiscard]] pb::Event vm_restarting(TimestampUs now) const {
    pb::Event event;
    event.mutable_vm_restarting()->set_attempt(state.restarts + 1);
    event.mutable_vm_restarting()->set_due_us(now + backoff_us(state.id, state.restarts + 1));
    return event;
  }

  Result<Events> operator()(const ReceivePush& command) const {
    if (state.status != DeploymentStatus::absent) return refuse("a push has already made");
    if (!is_commit_sha(command.push.after())) {
      return fail(ErrorCode::invalid_argument, "'" + command.push.after().substr(0, 80) +
                                                   "' is no commit: give all 40 hex digits");
    }
    Events events(1);
    *events[0].mutable_push_received() = command.push;
    return events;
  }

  Result<Events> operator()(const Start& command) const {
    if (state.status != DeploymentStatus::queued) return refuse("can't start");
    return Events{clone_started(1, command.now + state.push.settings().clone_deadline_us())};
  }

  Result<Events> operator()(const Supersede& command) const {
    if (state.status != DeploymentStatus::queued) return refuse("can't supersede");
    Events events(1);
    events[0].mutable_deployment_superseded()->set_by(command.by.str());
    return events;
  }

  // Clone, push, VM start, route, drain and stop are idempotent by name and are simply done again
  // under the same intent. A build is not: it gets a new name.
  Result<Events> operator()(const Recover& command) const {
    Events events;
    if (cancelling() && state.intent_kind != IntentKind::stop_vm) {
      events.push_back(has_vm() ? vm_stop_requested("cancelled") : cancelled());
    } else if (state.intent_kind == IntentKind::build) {
      events.emplace_back().mutable_build_abandoned()->set_reason(
          "the control plane was started anew while it ran");
      events.push_back(build_started(attempts(pb::STEP_BUILD) + 1,
                                     command.now + state.push.settings().build_deadline_us()));
    }
    return events;
  }

  Result<Events> operator()(const Succeeded& command) const {
    if (state.intent_kind == IntentKind::none && command.outcome.has_healthy()) {
      return on_healthy(command);
    }
    if (command.effect != state.intent || state.intent.empty()) {
      return refuse("a stale outcome of " + command.effect.str() + " for");
    }
    Events events{command.outcome};
    const auto kind = command.outcome.kind_case();
    const auto now = command.now;
    switch (state.intent_kind) {
      case IntentKind::clone:
        if (kind != pb::Event::kCloned) break;
        events.push_back(cancelling()
                             ? cancelled()
                             : build_started(1, now + state.push.settings().build_deadline_us()));
        return events;
      case IntentKind::build:
        if (kind != pb::Event::kBuilt) break;
        events.push_back(cancelling() ? cancelled() : image_push_started(1));
        return events;
      case IntentKind::push_image:
        if (kind != pb::Event::kImagePushed) break;
        if (cancelling()) events.push_back(cancelled());
        return events;
      case IntentKind::place_vm:
        if (kind != pb::Event::kVmPlaced) break;
        if (cancelling()) {
          events.push_back(cancelled());
        } else {
          auto* request = events.emplace_back().mutable_vm_start_requested();
          request->set_attempt(attempts(pb::STEP_START_VM) + 1);
          request->set_host(command.outcome.vm_placed().host());
        }
        return events;
      case IntentKind::start_vm:
        if (kind != pb::Event::kVmStarted) break;
        if (cancelling()) events.push_back(vm_stop_requested("cancelled"));
        return events;
      case IntentKind::route:
        if (kind != pb::Event::kRouted) break;
        if (cancelling()) events.push_back(vm_stop_requested("cancelled"));
        return events;
      case IntentKind::drain:
        if (kind != pb::Event::kDrained) break;
        events.push_back(vm_stop_requested("retired by " + state.retired_by));
        return events;
      case IntentKind::stop_vm:
        if (kind != pb::Event::kVmStopped) break;
        return after_stop(std::move(events), now);
      case IntentKind::none:
        break;
    }
    return refuse("an outcome of another step for");
  }

  [[nodiscard]] Result<Events> on_healthy(const Succeeded& command) const {
    const bool awaited = state.vm && state.vm->started && !state.vm->healthy && !state.vm->exited &&
                         !state.vm->stop_requested && !cancelling();
    if (!awaited || command.effect.str() != state.vm->vm_id) {
      return refuse("a stale probe of " + command.effect.str() + " for");
    }
    Events events{command.outcome};
    auto* request = events.emplace_back().mutable_route_change_requested();
    // A restarted VM keeps the claim that it had: a newer deployment's stays above it.
    request->set_generation(state.generation != 0 ? state.generation : command.log_position);
    for (const auto& host : command.hostnames) request->add_hostnames(host);
    return events;
  }

  [[nodiscard]] Result<Events> after_stop(Events events, TimestampUs now) const {
    if (cancelling()) {
      events.push_back(cancelled());
    } else if (state.status == DeploymentStatus::retiring) {
      events.emplace_back().mutable_deployment_retired()->set_reason(state.retire_reason);
    } else if (state.failure) {
      events.push_back(
          deployment_failed(state.failure->step, state.failure->fault, state.failure->reason));
    } else {
      events.push_back(vm_restarting(now));
    }
    return events;
  }

  Result<Events> operator()(const Failed& command) const {
    if (command.effect != state.intent || state.intent.empty()) {
      return refuse("a stale failure of " + command.effect.str() + " for");
    }
    switch (state.intent_kind) {
      case IntentKind::clone: {
        pb::Event event;
        fill(*event.mutable_clone_failed(), command);
        return failed_step(std::move(event), pb::STEP_CLONE, k_clone_attempts, command);
      }
      case IntentKind::build: {
        pb::Event event;
        if (command.timed_out) {
          event.mutable_build_timed_out()->set_limit_us(state.push.settings().build_deadline_us());
        } else {
          fill(*event.mutable_build_failed(), command);
          event.mutable_build_failed()->set_exit_code(command.exit_code);
        }
        return failed_step(std::move(event), pb::STEP_BUILD, k_build_attempts, command);
      }
      case IntentKind::push_image: {
        pb::Event event;
        fill(*event.mutable_image_push_failed(), command);
        return failed_step(std::move(event), pb::STEP_PUSH_IMAGE, k_push_attempts, command);
      }
      case IntentKind::place_vm: {
        pb::Event event;
        event.mutable_capacity_exhausted()->set_reason(command.reason);
        return failed_step(std::move(event), pb::STEP_START_VM, k_start_attempts, command);
      }
      case IntentKind::start_vm: {
        pb::Event event;
        fill(*event.mutable_vm_start_failed(), command);
        return failed_step(std::move(event), pb::STEP_START_VM, k_start_attempts, command);
      }
      case IntentKind::route:
        return failed_route(command);
      case IntentKind::drain:
      case IntentKind::stop_vm:
      case IntentKind::none:
        break;
    }
    return refuse("a failure of a step that can't fail for");
  }

  template <typename Message>
  static void fill(Message& event, const Failed& command) {
    event.set_fault(command.fault);
    event.set_retryable(command.retryable);
    event.set_reason(command.reason);
  }

  [[nodiscard]] Result<Events> failed_step(pb::Event event, pb::Step step, std::int32_t limit,
                                           const Failed& command) const {
    Events events{std::move(event)};
    // A VM that failed to start may still have left something; placing it has not.
    const std::int32_t failed_attempt =
        state.intent_kind == IntentKind::place_vm ? attempts(step) + 1 : attempts(step);
    if (cancelling()) {
      events.push_back(cancelled());
    } else if (state.routed && step == pb::STEP_START_VM) {
      events.push_back(vm_restarting(command.now));
    } else if (command.retryable && failed_attempt < limit) {
      events.push_back(retry_scheduled(step, failed_attempt, command.now));
    } else {
      events.push_back(deployment_failed(step, command.fault, command.reason));
    }
    return events;
  }

  [[nodiscard]] Result<Events> failed_route(const Failed& command) const {
    const bool again = command.retryable && attempts(pb::STEP_ROUTE) < k_route_attempts;
    Events events(1);
    events[0].mutable_route_failed()->set_retryable(again);
    events[0].mutable_route_failed()->set_reason(command.reason);
    if (cancelling()) {
      events.push_back(vm_stop_requested("cancelled"));
    } else if (again) {
      events.push_back(retry_scheduled(pb::STEP_ROUTE, attempts(pb::STEP_ROUTE), command.now));
    } else {
      events.push_back(vm_stop_requested("its route could not be set"));
    }
    return events;
  }

  Result<Events> operator()(const HealthTimedOut& command) const {
    const bool awaited = state.vm && state.vm->vm_id == command.vm_id && state.vm->started &&
                         !state.vm->healthy && !state.vm->exited && !state.vm->stop_requested;
    if (!awaited || cancelling()) return refuse("a stale probe of " + command.vm_id + " for");
    Events events(1);
    auto* exceeded = events[0].mutable_health_deadline_exceeded();
    exceeded->set_limit_us(state.push.settings().health_deadline_us());
    exceeded->set_last_status(command.last_status);
    exceeded->set_last_error(command.last_error);
    exceeded->set_probes(command.probes);
    events.push_back(vm_stop_requested("never healthy"));
    return events;
  }

  Result<Events> operator()(const VmEnded& command) const {
    const bool expected = !state.vm || state.vm->vm_id != command.exit.vm_id() ||
                          !state.vm->started || state.vm->exited || state.vm->stop_requested;
    // An end that was asked for, or of a VM that is not this deployment's any more, is no news.
    if (expected || state.status == DeploymentStatus::retiring) return Events{};
    Events events(1);
    *events[0].mutable_vm_exited() = command.exit;
    events.push_back(vm_stop_requested("clear what it left"));
    return events;
  }

  Result<Events> operator()(const TimerDue& command) const {
    if (!state.retry || state.retry->step != command.step ||
        state.retry->attempt != command.attempt) {
      return Events{};  // The timer of a wait that is over.
    }
    Events events(1);
    events[0].mutable_timer_fired()->set_step(command.step);
    events[0].mutable_timer_fired()->set_attempt(command.attempt);
    const auto& settings = state.push.settings();
    switch (command.step) {
      case pb::STEP_CLONE:
        events.push_back(
            clone_started(command.attempt, command.now + settings.clone_deadline_us()));
        break;
      case pb::STEP_BUILD:
        events.push_back(
            build_started(command.attempt, command.now + settings.build_deadline_us()));
        break;
      case pb::STEP_PUSH_IMAGE:
        events.push_back(image_push_started(command.attempt));
        break;
      case pb::STEP_ROUTE: {
        auto* request = events.emplace_back().mutable_route_change_requested();
        request->set_generation(state.generation);
        for (const auto& host : state.hostnames) request->add_hostnames(host);
        break;
      }
      default:
        break;  // STEP_START_VM: the timer itself is the intent to place.
    }
    return events;
  }

  Result<Events> operator()(const Retire& command) const {
    const bool idle = state.status == DeploymentStatus::restarting && !state.vm &&
                      state.intent_kind == IntentKind::none;
    if (state.status != DeploymentStatus::live && !idle) return refuse("can't retire");
    Events events(1);
    auto* request = events[0].mutable_retirement_requested();
    request->set_by(command.by);
    request->set_reason(command.reason);
    request->set_drain_deadline_us(command.now + state.push.settings().drain_deadline_us());
    if (idle) events.emplace_back().mutable_deployment_retired()->set_reason(command.reason);
    return events;
  }

  Result<Events> operator()(const Cancel& command) const {
    switch (state.status) {
      case DeploymentStatus::absent:
      case DeploymentStatus::live:
      case DeploymentStatus::retiring:
      case DeploymentStatus::failing:
      case DeploymentStatus::cancelling:
      case DeploymentStatus::failed:
      case DeploymentStatus::superseded:
      case DeploymentStatus::cancelled:
      case DeploymentStatus::retired:
        return refuse("can't cancel");
      default:
        break;
    }
    Events events(1);
    events[0].mutable_cancel_requested()->set_by(command.by);
    const bool running = state.vm && state.vm->started;
    if (state.intent_kind == IntentKind::stop_vm) return events;
    if (running) {
      events.push_back(vm_stop_requested("cancelled"));
    } else if (state.intent_kind == IntentKind::none) {
      events.emplace_back().mutable_deployment_cancelled()->set_by(command.by);
    }
    return events;
  }
};

}  // namespace

Result<Events> decide(const DeploymentState& state, const DeploymentCommand& command) {
  return std::visit(Decider{state}, command);
}

}  // namespace atlasflow
