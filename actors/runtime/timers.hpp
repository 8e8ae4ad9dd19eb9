// Timers: turns due times that stand in the log into commands. The only actor that waits for time;
// after a restart the deployments arm their timers again, so nothing here needs to be kept.
#pragma once

#include <map>

#include "actors/runtime/outcome_sink.hpp"
#include "actors/runtime/support.hpp"

namespace atlasflow::actors {

using timers_actor = caf::typed_actor<
    // Delivers the command to the sink when the time has come; at once when it has passed.
    caf::reacts_to<WakeAt, outcome_sink>,
    // To itself.
    caf::reacts_to<WakeDue>>;

struct TimersState {
  struct Armed {
    WakeAt wake;
    outcome_sink sink;
  };
  Clock* clock = nullptr;
  std::uint64_t next_id = 1;
  std::map<std::uint64_t, Armed> armed;
  const char* name = "timers";
};

[[nodiscard]] timers_actor::behavior_type timers(timers_actor::stateful_pointer<TimersState> self,
                                                 Clock* clock);

}  // namespace atlasflow::actors
