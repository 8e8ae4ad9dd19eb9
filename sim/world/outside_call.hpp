// There and back: the one way by which the control plane's calls reach the simulated world.
#pragma once

#include "sim/world/outside.hpp"

namespace atlasflow::sim {

template <typename Act>
auto Outside::call(const Way& way, const std::stop_token& stop, Act act) -> decltype(act()) {
  auto& choices = parts_.choices;
  const auto& rates = parts_.weather.rates;
  if (dead_) return fail(ErrorCode::cancelled, "the control plane was killed");
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, "stopped");
  ATLAS_TRYV(reach(way, stop));
  if (choices.chance(static_cast<std::uint64_t>(rates.call_lost), 1000)) {
    return fail(ErrorCode::unavailable, "injected: the call to " + way.where + " was lost");
  }
  if (choices.chance(static_cast<std::uint64_t>(rates.call_hangs), 1000)) {
    // An image push has no limit of its own: its builder's lease ends it.
    const auto limit = way.limit == 0 ? TimestampUs{3600} * 1'000'000 : way.limit;
    ATLAS_TRYV(sleep(limit, stop));
    return fail(ErrorCode::timed_out, "injected: " + way.where + " did not answer");
  }
  auto takes = way.quickly;
  if (choices.chance(static_cast<std::uint64_t>(rates.call_late), 1000)) takes += lateness();
  if (way.limit != 0 && takes >= way.limit) {
    ATLAS_TRYV(sleep(way.limit, stop));
    return fail(ErrorCode::timed_out, "injected: " + way.where + " took too long");
  }
  ATLAS_TRYV(sleep(takes / 2, stop));
  if (parts_.before_effect) parts_.before_effect();
  if (dead_) return fail(ErrorCode::cancelled, "the control plane was killed");
  auto result = act();
  if (choices.chance(static_cast<std::uint64_t>(rates.call_twice), 1000)) {
    static_cast<void>(act());
  }
  if (parts_.after_effect) parts_.after_effect();
  ATLAS_TRYV(sleep(takes - takes / 2, stop));
  if (choices.chance(static_cast<std::uint64_t>(rates.answer_lost), 1000)) {
    return fail(ErrorCode::unavailable, "injected: the answer of " + way.where + " was lost");
  }
  return result;
}

}  // namespace atlasflow::sim
