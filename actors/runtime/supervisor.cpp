#include "actors/runtime/supervisor.hpp"

#include <algorithm>

namespace atlasflow::actors {

bool is_orderly(const caf::error& reason) {
  return !reason || reason == caf::exit_reason::user_shutdown || reason == caf::exit_reason::kill ||
         reason == caf::exit_reason::normal;
}

std::optional<std::chrono::seconds> RestartIntensity::died(const RestartPolicy& policy,
                                                           TimestampUs now) {
  const TimestampUs window_us = std::chrono::microseconds(policy.window).count();
  deaths_.push_back(now);
  // The clock may have been set back: what is of the future is not counted for ever.
  std::erase_if(deaths_, [&](TimestampUs at) { return at <= now - window_us || at > now; });
  if (deaths_.size() <= policy.restarts_max) return std::chrono::seconds(0);
  if (policy.beyond != RestartPolicy::Beyond::pause) return std::nullopt;
  auto pause = policy.pause;
  for (auto n = policy.restarts_max + 1; n < deaths_.size() && pause < policy.pause_max; ++n) {
    pause *= 2;
  }
  return std::min(pause, policy.pause_max);
}

}  // namespace atlasflow::actors
