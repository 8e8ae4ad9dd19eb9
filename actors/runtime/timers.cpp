#include "actors/runtime/timers.hpp"

#include <algorithm>

#include "base/buggify.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

// A wait is cut into pieces so that a clock that was set back or forward is noticed within one.
constexpr TimestampUs k_longest_wait_us = 60'000'000;

void wait(timers_actor::stateful_pointer<TimersState> self, std::uint64_t id, TimestampUs due) {
  const TimestampUs left =
      std::clamp<TimestampUs>(due - self->state.clock->now(), 0, k_longest_wait_us);
  const TimestampUs late = ATLAS_BUGGIFY("a timer fires three seconds late") ? 3'000'000 : 0;
  self->delayed_send(self, std::chrono::microseconds(left + late), WakeDue{id});
}

}  // namespace

timers_actor::behavior_type timers(timers_actor::stateful_pointer<TimersState> self, Clock* clock) {
  end_of_exceptions(self);
  self->state.clock = clock;
  return {[self](WakeAt& wake, const outcome_sink& sink) {
            const auto id = self->state.next_id++;
            ATLAS_PROBE(wake.due <= self->state.clock->now(),
                        "a timer was armed whose time had passed");
            const auto due = wake.due;
            self->state.armed.emplace(id, TimersState::Armed{std::move(wake), sink});
            wait(self, id, due);
          },
          [self](const WakeDue& message) {
            const auto found = self->state.armed.find(message.id);
            if (found == self->state.armed.end()) return;
            const auto now = self->state.clock->now();
            ATLAS_PROBE(now < found->second.wake.due, "a timer woke before its time");
            if (now < found->second.wake.due) return wait(self, message.id, found->second.wake.due);
            auto armed = std::move(found->second);
            self->state.armed.erase(found);
            self->send(armed.sink, Deliver{std::move(armed.wake.command)});
          }};
}

}  // namespace atlasflow::actors
