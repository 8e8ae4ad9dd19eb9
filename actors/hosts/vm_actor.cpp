#include "actors/hosts/vm_actor.hpp"

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/settings.hpp"

namespace atlasflow::actors {
namespace {

constexpr auto k_probe_period = std::chrono::milliseconds(50);
constexpr auto k_watch_period = std::chrono::milliseconds(250);
constexpr TimestampUs k_health_period_us = 5'000'000;  // of an app that has been healthy
constexpr std::int32_t k_failures_until_unhealthy = 3;
constexpr std::int32_t k_problems_told_max = 8;  // of one start: a record, not a stream
constexpr TimestampUs k_reason_stays_us = 3'000'000;
constexpr TimestampUs k_run_until_healthy_us = 10'000'000;  // of an app that listens nowhere
constexpr auto k_stop_retry = std::chrono::seconds(5);

bool is_good(std::int32_t status) { return status >= 200 && status <= 299; }

}  // namespace

void VmActorState::start(vm_actor::pointer self, const StartVm& message, const outcome_sink& sink) {
  auto vm = engine->start(message.job, message.stop);
  if (!vm) {
    self->send(sink, Deliver{failure_of(effect_of(vm_id), pb::STEP_START_VM, vm.error())});
    return;
  }
  Succeeded succeeded;
  succeeded.effect = effect_of(vm_id);
  auto* started = succeeded.outcome.mutable_vm_started();
  started->set_vm_id(vm_id.str());
  started->set_host(message.host.str());
  started->set_address(vm->location.address);
  started->set_port(vm->location.port);
  for (auto& notice : vm->notices) started->add_notices(std::move(notice));
  started->set_health_deadline_us(clock->now() + message.health_limit_us);
  self->send(sink, Deliver{std::move(succeeded)});
}

// Idempotent by name: a command that runs, or has ended, is found so and not run again.
void VmActorState::run_release(vm_actor::pointer self, const RunRelease& message,
                               const outcome_sink& sink) {
  const auto begun = engine->observe(vm_id);
  ATLAS_PROBE(begun.running, "a release command was found running");
  ATLAS_PROBE(!begun.running && !begun.exit.lost(),
              "a release command had ended before its outcome was recorded");
  if (!begun.running && begun.exit.lost()) {
    if (auto started = engine->start(message.job, message.stop); !started) {
      self->send(sink, Deliver{failure_of(effect_of(vm_id), pb::STEP_RELEASE, started.error())});
      return;
    }
  }
  release = Release{message, sink, clock->now()};
  schedule_tick(self);
}

void VmActorState::look_at_release(vm_actor::pointer self, const VmObservation& observation) {
  const auto answer = [&](DeploymentCommand outcome) {
    self->send(release->sink, Deliver{std::move(outcome)});
    release.reset();
  };
  const auto failed = [&](ErrorCode code, const std::string& why) {
    Error error{code, why, ""};
    error.exit_code = observation.exit.exit_code();
    answer(failure_of(effect_of(vm_id), pb::STEP_RELEASE, error));
  };
  if (observation.running) {
    const bool cancelled = release->request.stop.stop_requested();
    ATLAS_PROBE(cancelled, "a release command was cancelled while it ran");
    if (cancelled) return failed(ErrorCode::cancelled, "cancelled");
    if (clock->now() >= release->request.deadline) {
      ATLAS_PROBE(true, "a release command did not end in time");
      failed(ErrorCode::user_error,
             "the release command did not end in time; raise release_deadline or make it faster");
    }
    return;
  }
  if (observation.exit.lost()) {
    ATLAS_PROBE(true, "the VM of a release command was lost");
    return failed(ErrorCode::unavailable, "the VM of the release command was lost");
  }
  if (observation.exit.exit_code() != 0) {
    return failed(ErrorCode::user_error,
                  "the release command failed: " + observation.exit.reason());
  }
  Succeeded succeeded;
  succeeded.effect = effect_of(vm_id);
  succeeded.outcome.mutable_release_succeeded()->set_duration_us(clock->now() - release->began);
  answer(std::move(succeeded));
}

void VmActorState::stop(vm_actor::pointer self, const StopVm& message, const outcome_sink& sink) {
  ATLAS_PROBE(probing.has_value(), "a VM was stopped while its health was awaited");
  ATLAS_PROBE(release.has_value(), "a VM was stopped while its release command ran");
  keeping.reset();
  probing.reset();
  release.reset();
  auto exit_code = engine->stop(vm_id);
  if (!exit_code) {
    ATLAS_PROBE(true, "a VM could not be stopped, and is stopped again");
    // A VM that can't be stopped keeps its memory and its port: the only way out is to try on.
    const bool leaving = exit_code.error().code == ErrorCode::cancelled;  // the server ends
    log_event(leaving ? LogLevel::info : LogLevel::error, "vm", "stop_failed",
              {{"vm", vm_id}, {"error", to_string(exit_code.error())}});
    self->delayed_send(self, k_stop_retry, message, sink);
    return;
  }
  Succeeded succeeded;
  succeeded.effect = message.effect;
  succeeded.outcome.mutable_vm_stopped()->set_vm_id(vm_id.str());
  succeeded.outcome.mutable_vm_stopped()->set_exit_code(*exit_code);
  self->send(sink, Deliver{std::move(succeeded)});
  self->quit();
}

void VmActorState::schedule_tick(vm_actor::pointer self) {
  if (ticking || (!keeping && !probing && !release)) return;
  ticking = true;
  const auto period = probing ? k_probe_period : k_watch_period;
  const bool late = ATLAS_BUGGIFY("a VM's actor waits four times as long before it looks again");
  self->delayed_send(self, late ? 4 * period : period, Tick{});
}

void VmActorState::tick(vm_actor::pointer self) {
  ticking = false;
  auto observation = engine->observe(vm_id);
  if (release) look_at_release(self, observation);
  if (!observation.running) {
    ATLAS_PROBE(probing.has_value(), "a VM ended before it was healthy");
    probing.reset();
    if (keeping) {
      observation.exit.set_vm_id(vm_id.str());
      self->send(keeping->sink, Deliver{VmEnded{observation.exit}});
      keeping.reset();
    }
    return schedule_tick(self);
  }
  if (probing) {
    probe_once(self);
  } else if (keeping && keeping->request.was_healthy) {
    watch_health(self);
  }
  schedule_tick(self);
}

void VmActorState::became_healthy(vm_actor::pointer self, std::int32_t status) {
  const auto now = clock->now();
  Succeeded succeeded;
  succeeded.effect = effect_of(vm_id);
  auto* healthy = succeeded.outcome.mutable_healthy();
  healthy->set_status(status);
  healthy->set_probes(probing->probes);
  healthy->set_after_us(now - probing->began);
  self->send(probing->sink, Deliver{std::move(succeeded)});
  probing.reset();
  if (keeping) {
    keeping->request.was_healthy = true;
    keeping->request.healthy = true;
    keeping->next_probe = now + k_health_period_us;
  }
}

void VmActorState::probe_once(vm_actor::pointer self) {
  if (probing->request.path == k_no_health_path) {
    // That it runs was seen just now.
    const auto now = clock->now();
    const bool long_enough = now - probing->began >= k_run_until_healthy_us;
    if (long_enough || now >= probing->request.deadline) became_healthy(self, 0);
    return;
  }
  probing->last = engine->probe(vm_id, probing->request.path, probing->request.host_header);
  ++probing->probes;
  const auto status = probing->last.status;
  if (is_good(status)) return became_healthy(self, status);
  tell_problem(self);
  if (clock->now() >= probing->request.deadline) {
    ATLAS_PROBE(true, "a VM was not healthy by its deadline");
    self->send(probing->sink,
               Deliver{HealthTimedOut{vm_id, status, probing->last.error, probing->probes}});
    probing.reset();
  }
}

// No answer is what a boot looks like. A bad answer is news, each kind once, and so is the reason
// of no answer when one is known and stays: an app may open another port before its own.
void VmActorState::tell_problem(vm_actor::pointer self) {
  const auto& last = probing->last;
  if (last.status != 0) {
    if (last.status == probing->told_status || probing->told >= k_problems_told_max) return;
    probing->told_status = last.status;
    ATLAS_PROBE(true, "an app answered its first probes badly");
  } else {
    const auto reason = last.is_known ? last.error : "";
    if (reason != probing->reason) probing->reason_since = clock->now();
    probing->reason = reason;
    const bool stays = clock->now() - probing->reason_since >= k_reason_stays_us;
    if (reason.empty() || reason == probing->told_reason || !stays ||
        probing->told >= k_problems_told_max) {
      return;
    }
    probing->told_reason = reason;
  }
  ++probing->told;
  self->send(probing->sink, Deliver{HealthChanged{vm_id, false, last.status, last.error}});
}

void VmActorState::watch_health(vm_actor::pointer self) {
  auto& request = keeping->request;
  if (request.path == k_no_health_path || clock->now() < keeping->next_probe) return;
  const auto seen = engine->probe(vm_id, request.path, request.host_header);
  keeping->next_probe = clock->now() + k_health_period_us;
  const bool good = is_good(seen.status);
  keeping->failures = good ? 0 : keeping->failures + 1;
  const bool turned =
      good ? !request.healthy : request.healthy && keeping->failures >= k_failures_until_unhealthy;
  if (!turned) return;
  request.healthy = good;
  self->send(keeping->sink, Deliver{HealthChanged{vm_id, good, seen.status, seen.error}});
}

vm_actor::behavior_type vm(vm_actor::stateful_pointer<VmActorState> self, VmEngine* engine,
                           Clock* clock, VmId vm_id) {
  end_of_exceptions(self);
  self->state.engine = engine;
  self->state.clock = clock;
  self->state.vm_id = std::move(vm_id);
  return {[self](const StartVm& message, const outcome_sink& sink) {
            self->state.start(self, message, sink);
          },
          [self](const RunRelease& message, const outcome_sink& sink) {
            self->state.run_release(self, message, sink);
          },
          [self](const KeepVm& message, const outcome_sink& sink) {
            self->state.keeping = VmActorState::Keeping{message, sink, 0, 0};
            self->state.schedule_tick(self);
          },
          [self](const ProbeVm& message, const outcome_sink& sink) {
            VmActorState::Probing probing;
            probing.request = message;
            probing.sink = sink;
            probing.began = self->state.clock->now();
            self->state.probing = std::move(probing);
            self->state.tick(self);
          },
          [self](const StopVm& message, const outcome_sink& sink) {
            self->state.stop(self, message, sink);
          },
          [self](const Tick&) { self->state.tick(self); }};
}

}  // namespace atlasflow::actors
