#include "actors/vm_actor.hpp"

#include <spdlog/spdlog.h>

namespace atlasflow::actors {
namespace {

constexpr auto k_probe_period = std::chrono::milliseconds(50);
constexpr auto k_watch_period = std::chrono::milliseconds(250);
constexpr auto k_stop_retry = std::chrono::seconds(5);

}  // namespace

void VmActorState::start(vm_actor::pointer self, const StartVm& message, const outcome_sink& sink) {
  auto location = engine->start(message.job, message.stop);
  const auto now = clock->now();
  if (!location) {
    self->send(sink,
               Deliver{failure_of(EffectId{vm_id}, pb::STEP_START_VM, location.error(), now)});
    return;
  }
  Succeeded succeeded;
  succeeded.effect = EffectId{vm_id};
  succeeded.now = now;
  auto* started = succeeded.outcome.mutable_vm_started();
  started->set_vm_id(vm_id);
  started->set_host(message.host);
  started->set_address(location->address);
  started->set_port(location->port);
  started->set_health_deadline_us(now + message.health_limit_us);
  self->send(sink, Deliver{std::move(succeeded)});
}

void VmActorState::stop(vm_actor::pointer self, const StopVm& message, const outcome_sink& sink) {
  keeper.reset();
  probing.reset();
  auto exit_code = engine->stop(vm_id);
  if (!exit_code) {
    // A VM that can't be stopped keeps its memory and its port: the only way out is to try on.
    spdlog::error("part=vm event=stop_failed vm={} error=\"{}\"", vm_id,
                  to_string(exit_code.error()));
    self->delayed_send(self, k_stop_retry, message, sink);
    return;
  }
  Succeeded succeeded;
  succeeded.effect = message.effect;
  succeeded.now = clock->now();
  succeeded.outcome.mutable_vm_stopped()->set_vm_id(vm_id);
  succeeded.outcome.mutable_vm_stopped()->set_exit_code(*exit_code);
  self->send(sink, Deliver{std::move(succeeded)});
  self->quit();
}

void VmActorState::schedule_tick(vm_actor::pointer self) {
  if (ticking || (!keeper && !probing)) return;
  ticking = true;
  self->delayed_send(self, probing ? k_probe_period : k_watch_period, Tick{});
}

void VmActorState::tick(vm_actor::pointer self) {
  ticking = false;
  auto observation = engine->observe(vm_id);
  if (!observation.running) {
    probing.reset();
    if (keeper) {
      observation.exit.set_vm_id(vm_id);
      self->send(*keeper, Deliver{VmEnded{observation.exit, clock->now()}});
      keeper.reset();
    }
    return;
  }
  if (probing) probe_once(self);
  schedule_tick(self);
}

void VmActorState::probe_once(vm_actor::pointer self) {
  probing->last = engine->probe(vm_id, probing->request.path, probing->request.host_header);
  ++probing->probes;
  const auto now = clock->now();
  const auto status = probing->last.status;
  if (status >= 200 && status <= 299) {
    Succeeded succeeded;
    succeeded.effect = EffectId{vm_id};
    succeeded.now = now;
    auto* healthy = succeeded.outcome.mutable_healthy();
    healthy->set_status(status);
    healthy->set_probes(probing->probes);
    healthy->set_after_us(now - probing->began);
    self->send(probing->sink, Deliver{std::move(succeeded)});
    probing.reset();
  } else if (now >= probing->request.deadline) {
    self->send(probing->sink,
               Deliver{HealthTimedOut{vm_id, status, probing->last.error, probing->probes}});
    probing.reset();
  }
}

vm_actor::behavior_type vm(vm_actor::stateful_pointer<VmActorState> self, VmEngine* engine,
                           Clock* clock, std::string vm_id) {
  self->state.engine = engine;
  self->state.clock = clock;
  self->state.vm_id = std::move(vm_id);
  return {
      [self](const StartVm& message, const outcome_sink& sink) {
        self->state.start(self, message, sink);
      },
      [self](const KeepVm&, const outcome_sink& sink) {
        self->state.keeper = sink;
        self->state.schedule_tick(self);
      },
      [self](const ProbeVm& message, const outcome_sink& sink) {
        self->state.probing = VmActorState::Probing{message, sink, self->state.clock->now(), 0, {}};
        self->state.tick(self);
      },
      [self](const StopVm& message, const outcome_sink& sink) {
        self->state.stop(self, message, sink);
      },
      [self](const Tick&) { self->state.tick(self); }};
}

}  // namespace atlasflow::actors
