// A deployment under test: commands are applied as the shell would, and the world answers what the
// deployment waits for.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "events/deployment.hpp"
#include "events/settings.hpp"

namespace atlasflow {

constexpr TimestampUs k_now = 1'700'000'000'000'000;

inline std::string kind_of(const pb::Event& event) {
  return pb::Event::descriptor()
      ->FindFieldByNumber(static_cast<int>(event.kind_case()))
      ->message_type()
      ->name();
}

class Subject {
 public:
  explicit Subject(const std::function<void(pb::Settings&)>& change = {}) {
    state.id = DeploymentId{"dabc2345"};
    ReceivePush receive;
    receive.push.set_project_id("pabc2345");
    receive.push.set_project_name("web");
    receive.push.set_environment("production");
    receive.push.set_after(std::string(40, 'a'));
    *receive.push.mutable_settings() = default_settings();
    receive.push.mutable_settings()->set_auto_rollback_us(60 * k_second_us);
    if (change) change(*receive.push.mutable_settings());
    push_received = receive.push;
    EXPECT_TRUE(apply(receive));
  }
  // One that starts with the command instead of a push.
  explicit Subject(const DeploymentCommand& command) {
    state.id = DeploymentId{"dabc2345"};
    EXPECT_TRUE(apply(command)) << refusal.message;
  }

  // False when the command was refused, which leaves the state as it was. The names of the events
  // that it led to are in `last`.
  bool apply(const DeploymentCommand& command) {
    auto events = decide(state, command, Moment{now, 77, "example.test"});
    last.clear();
    if (!events) {
      refusal = events.error();
      return false;
    }
    for (const auto& event : *events) {
      EXPECT_FALSE(is_terminal(state.status)) << "an event after the end: " << kind_of(event);
      evolve(state, event);
      last.push_back(kind_of(event));
      history.push_back(event);
    }
    EXPECT_FALSE(next_event(state, Moment{now, 77, "example.test"})) << "the rules come to rest";
    return true;
  }

  Instance* slot(std::int32_t number) {
    const auto found = state.instances.find(number);
    return found == state.instances.end() ? nullptr : &found->second;
  }

  // When the slot's VM is restarted for being unhealthy; 0: never.
  TimestampUs unhealthy_due(std::int32_t number) {
    const auto* vm = slot(number) == nullptr ? nullptr : slot(number)->vm();
    const auto* unhealthy = vm == nullptr ? nullptr : std::get_if<health::Unhealthy>(&vm->health);
    return unhealthy == nullptr ? 0 : unhealthy->restart_due;
  }

  bool succeed(const EffectId& effect, const std::function<void(pb::Event&)>& fill) {
    Succeeded command;
    command.effect = effect;
    fill(command.outcome);
    return apply(command);
  }
  static Failed failure(const EffectId& effect, bool retryable) {
    Failed command;
    command.effect = effect;
    command.fault = retryable ? pb::FAULT_SYSTEM : pb::FAULT_USER;
    command.retryable = retryable;
    command.reason = "because";
    return command;
  }
  // Of the step in progress; empty between steps.
  [[nodiscard]] EffectId intent() const { return state.intent ? state.intent->effect : EffectId{}; }
  bool fail_step(bool retryable) { return apply(failure(intent(), retryable)); }

  bool clone(const std::function<void(pb::Cloned&)>& change = {}) {
    return succeed(intent(), [&](auto& e) {
      e.mutable_cloned()->set_subject("change");
      if (change) change(*e.mutable_cloned());
    });
  }
  bool build() {
    return succeed(intent(), [](auto& e) { e.mutable_built()->set_image_id("sha256:1"); });
  }
  bool push() {
    return succeed(intent(),
                   [](auto& e) { e.mutable_image_pushed()->set_reference("r/web@sha256:2"); });
  }
  bool released() {
    return succeed(intent(), [](auto& e) { e.mutable_release_succeeded(); });
  }
  bool release_vm_stopped() {
    return succeed(effect_of(state.release_vm),
                   [this](auto& e) { e.mutable_vm_stopped()->set_vm_id(state.release_vm.str()); });
  }
  bool place(std::int32_t number = 0) {
    return slot(number) != nullptr && succeed(slot(number)->effect(), [](auto& e) {
             e.mutable_vm_placed()->set_host("local");
           });
  }
  bool start_vm(std::int32_t number = 0) {
    auto* instance = slot(number);
    return instance != nullptr && succeed(instance->effect(), [&](auto& e) {
             e.mutable_vm_started()->set_vm_id(instance->vm_id().str());
             e.mutable_vm_started()->set_host("local");
             e.mutable_vm_started()->set_address("127.0.0.1");
             e.mutable_vm_started()->set_port(20000 + number);
           });
  }
  bool healthy(std::int32_t number = 0) {
    return slot(number) != nullptr && succeed(effect_of(slot(number)->vm_id()), [](auto& e) {
             e.mutable_healthy()->set_status(200);
           });
  }
  bool routed() {
    return succeed(intent(), [](auto& e) { e.mutable_routed()->set_generation(77); });
  }
  bool drained(std::int32_t number = 0) {
    return slot(number) != nullptr &&
           succeed(effect_of(slot(number)->vm_id()), [](auto& e) { e.mutable_drained(); });
  }
  bool stopped(std::int32_t number = 0) {
    auto* instance = slot(number);
    return instance != nullptr && succeed(instance->effect(), [&](auto& e) {
             e.mutable_vm_stopped()->set_vm_id(instance->vm_id().str());
           });
  }
  bool vm_ends(std::int32_t number = 0, bool lost = false) {
    VmEnded ended;
    ended.exit.set_vm_id(slot(number) == nullptr ? "" : slot(number)->vm_id().str());
    ended.exit.set_reason("the app exited with code 1");
    ended.exit.set_lost(lost);
    return apply(ended);
  }
  // The step's, or the slot's.
  bool timer() {
    if (!state.retry) return false;
    now = std::max(now, state.retry->due);
    return apply(TimerDue{state.retry->step, state.retry->attempt, 0});
  }
  bool slot_timer(std::int32_t number = 0) {
    auto* instance = slot(number);
    if (instance == nullptr || instance->retry() == nullptr) return false;
    const auto retry = *instance->retry();
    now = std::max(now, retry.due);
    return apply(TimerDue{retry.step, retry.attempt, number});
  }
  // When the step's time is over by what is outstanding; 0: nothing says so.
  TimestampUs deadline_owed() const {
    for (const auto& effect : outstanding(state)) {
      if (const auto* found = std::get_if<DeadlineEffect>(&effect)) return found->due;
    }
    return 0;
  }
  // That time comes.
  bool deadline() {
    if (deadline_owed() == 0) return false;
    now = std::max(now, deadline_owed());
    return apply(DeadlinePassed{intent()});
  }

  void run_until_image() {
    apply(Start{});
    clone();
    build();
    push();
  }
  void run_vm(std::int32_t number = 0) {
    place(number);
    start_vm(number);
    healthy(number);
  }
  void run_until_live() {
    run_until_image();
    for (std::int32_t number = 0; number < state.replicas; ++number) run_vm(number);
    routed();
    ASSERT_EQ(state.status, DeploymentStatus::live);
  }
  // The VM exits, and what it left is cleared.
  void crash(std::int32_t number = 0) {
    vm_ends(number);
    stopped(number);
  }

  template <typename T>
  bool owes() const {
    for (const auto& effect : outstanding(state)) {
      if (std::holds_alternative<T>(effect)) return true;
    }
    return false;
  }
  ClaimRouteEffect claim() const {
    for (const auto& effect : outstanding(state)) {
      if (const auto* found = std::get_if<ClaimRouteEffect>(&effect)) return *found;
    }
    return {};
  }

  DeploymentState state;
  pb::PushReceived push_received;
  TimestampUs now = k_now;
  std::vector<std::string> last;
  std::vector<pb::Event> history;
  Error refusal;
};

}  // namespace atlasflow
