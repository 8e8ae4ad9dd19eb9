// The phases of a slot and the transitions between them.
#include "events/instance.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

namespace atlasflow {
namespace {

// A state that was never written is one with nothing in it.
static_assert(std::is_same_v<std::variant_alternative_t<0, Phase>, phase::Vacant>);
static_assert(std::is_same_v<std::variant_alternative_t<0, Health>, health::Checking>);
// Ids don't turn into each other by themselves, nor out of text.
static_assert(!std::is_convertible_v<EffectId, VmId> && !std::is_constructible_v<VmId, EffectId>);
static_assert(!std::is_constructible_v<HostId, VmId> && !std::is_convertible_v<std::string, VmId>);

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

// The health of the VM that is up, as what it is expected to be, or null.
template <typename Is>
Is* health_of(Phase& phase) {
  auto* up = std::get_if<phase::Up>(&phase);
  return up == nullptr ? nullptr : std::get_if<Is>(&up->vm.health);
}

}  // namespace

std::string_view name_of(VmEnd end) {
  switch (end) {
    case VmEnd::exited:
      return "exited";
    case VmEnd::lost:
      return "lost";
    case VmEnd::never_healthy:
      return "never_healthy";
    case VmEnd::unhealthy:
      return "unhealthy";
  }
  return "exited";
}

bool is_loss(VmEnd end) { return end == VmEnd::lost || end == VmEnd::unhealthy; }

bool is_over(VmEnd end) { return end == VmEnd::exited || end == VmEnd::lost; }

std::string_view name_of(const Health& health) {
  return std::visit(
      Overloaded{[](const health::Checking&) -> std::string_view { return "checking"; },
                 [](const health::Healthy&) -> std::string_view { return "healthy"; },
                 [](const health::Unhealthy&) -> std::string_view { return "unhealthy"; }},
      health);
}

std::string_view name_of(const Phase& phase) {
  return std::visit(
      Overloaded{[](const phase::Vacant&) -> std::string_view { return "vacant"; },
                 [](const phase::Waiting&) -> std::string_view { return "waiting"; },
                 [](const phase::Placing&) -> std::string_view { return "placing"; },
                 [](const phase::Placed&) -> std::string_view { return "placed"; },
                 [](const phase::Starting&) -> std::string_view { return "starting"; },
                 [](const phase::Up&) -> std::string_view { return "up"; },
                 [](const phase::Finished&) -> std::string_view { return "finished"; },
                 [](const phase::Stopping&) -> std::string_view { return "stopping"; },
                 [](const phase::Ended&) -> std::string_view { return "ended"; },
                 [](const phase::GivenUp&) -> std::string_view { return "given_up"; }},
      phase);
}

// ---- what follows from the phase ----

TimestampUs Vm::healthy_since() const {
  return std::visit(Overloaded{[](const health::Checking&) { return TimestampUs{0}; },
                               [](const auto& answered) { return answered.since; }},
                    health);
}

std::string Vm::problem() const {
  return std::visit(Overloaded{[](const health::Healthy&) { return std::string{}; },
                               [](const auto& unhealthy) { return unhealthy.problem; }},
                    health);
}

const Vm* Instance::vm() const {
  return std::visit(Overloaded{[](const phase::Up& up) { return &up.vm; },
                               [](const phase::Finished& finished) { return &finished.vm; },
                               [](const phase::Stopping& stopping) { return &stopping.vm; },
                               [](const auto&) -> const Vm* { return nullptr; }},
                    phase);
}

bool Instance::is_healthy() const {
  return is_up() && std::holds_alternative<health::Healthy>(vm()->health);
}

const Retry* Instance::retry() const {
  const auto* waiting = std::get_if<phase::Waiting>(&phase);
  return waiting == nullptr ? nullptr : &waiting->retry;
}

VmId Instance::vm_id() const {
  if (const auto* starting = std::get_if<phase::Starting>(&phase)) return vm_of(starting->effect);
  return vm() == nullptr ? VmId{} : vm()->id;
}

HostId Instance::host() const {
  if (const auto* placed = std::get_if<phase::Placed>(&phase)) return placed->host;
  if (const auto* starting = std::get_if<phase::Starting>(&phase)) return starting->host;
  return vm() == nullptr ? HostId{} : vm()->host;
}

EffectId Instance::effect() const {
  return std::visit(Overloaded{[](const phase::Placing& placing) { return placing.effect; },
                               [](const phase::Starting& starting) { return starting.effect; },
                               [](const phase::Stopping& stopping) { return stopping.effect; },
                               [](const auto&) { return EffectId{}; }},
                    phase);
}

// ---- transitions ----

// Also of an ended one: logs of before VMHostLost led to VMRestarting place at once.
void Instance::place(EffectId effect) {
  if (vm_id().empty()) phase = phase::Placing{std::move(effect)};
}

void Instance::placed(HostId host) {
  if (vm_id().empty()) phase = phase::Placed{std::move(host)};
}

void Instance::refused() {
  ++refusals;
  if (in<phase::Placing>()) phase = phase::Vacant{};
}

void Instance::start(EffectId effect, HostId host, TimestampUs deadline, std::int32_t attempt) {
  if (vm() != nullptr) return;
  phase = phase::Starting{std::move(effect), std::move(host), deadline};
  attempts = attempt;
}

void Instance::started(Vm vm) {
  phase = phase::Up{std::move(vm)};
  refusals = 0;
}

// Only a host that takes it ends a row of refusals: being placed on one that then has no room is
// one more, and no attempt.
void Instance::start_failed(bool no_capacity) {
  if (vm() == nullptr) phase = phase::Vacant{};
  refusals = no_capacity ? refusals + 1 : 0;
  if (no_capacity) attempts = std::max(attempts - 1, 0);
}

void Instance::answered(TimestampUs at) {
  if (health_of<health::Checking>(phase) == nullptr) return;
  std::get<phase::Up>(phase).vm.health = health::Healthy{at};
  attempts = 0;
}

void Instance::check_failed(std::string problem) {
  if (auto* checking = health_of<health::Checking>(phase)) checking->problem = std::move(problem);
}

void Instance::became_unhealthy(std::string problem, TimestampUs restart_due) {
  const auto* healthy = health_of<health::Healthy>(phase);
  if (healthy == nullptr) return;
  std::get<phase::Up>(phase).vm.health =
      health::Unhealthy{healthy->since, std::move(problem), restart_due};
}

void Instance::became_healthy() {
  const auto* unhealthy = health_of<health::Unhealthy>(phase);
  if (unhealthy == nullptr) return;
  std::get<phase::Up>(phase).vm.health = health::Healthy{unhealthy->since};
}

void Instance::restart_at(TimestampUs due) {
  if (auto* unhealthy = health_of<health::Unhealthy>(phase)) unhealthy->restart_due = due;
}

void Instance::finish(VmEnd end) {
  if (auto* up = std::get_if<phase::Up>(&phase)) phase = phase::Finished{std::move(up->vm), end};
}

void Instance::stop(EffectId effect) {
  if (auto* up = std::get_if<phase::Up>(&phase)) {
    phase = phase::Stopping{std::move(up->vm), std::move(effect), std::nullopt};
  } else if (auto* finished = std::get_if<phase::Finished>(&phase)) {
    phase = phase::Stopping{std::move(finished->vm), std::move(effect), finished->end};
  }
}

// What comes after a VM that was not asked to go depends on how long it had been well.
void Instance::stopped() {
  if (const auto* stopping = std::get_if<phase::Stopping>(&phase); stopping && stopping->end) {
    phase = phase::Ended{*stopping->end, stopping->vm.healthy_since()};
  } else if (!vm_id().empty()) {
    phase = phase::Vacant{};
  }
}

void Instance::host_lost() {
  if (!vm_id().empty()) {
    phase = phase::Ended{VmEnd::lost, vm() == nullptr ? 0 : vm()->healthy_since()};
  } else if (in<phase::Placed>()) {
    phase = phase::Vacant{};
  }
}

void Instance::wait(const Retry& retry) {
  if (holds_nothing()) phase = phase::Waiting{retry};
}

void Instance::restart(std::int32_t crashes_now, std::int32_t losses_now, const Retry& retry) {
  phase = phase::Waiting{retry};
  crashes = crashes_now;
  losses = losses_now;
}

void Instance::give_up(std::int32_t crashes_now) {
  phase = phase::GivenUp{};
  crashes = crashes_now;
}

void Instance::stop_waiting() {
  if (in<phase::Waiting>()) phase = phase::Vacant{};
}

void Instance::leave(TimestampUs drain_deadline) {
  if (!leaving) leaving.emplace();
  leaving->drain_deadline = drain_deadline;
  stop_waiting();
}

void Instance::drained() {
  if (leaving) leaving->drained = true;
}

void Instance::begin_anew() {
  if (in<phase::GivenUp>()) phase = phase::Vacant{};
  crashes = 0;
  attempts = 0;
  refusals = 0;
}

}  // namespace atlasflow
