// Limits and waits that deciding and what follows by itself share, and the pieces that they and
// evolve() are made of; nobody else's.
#pragma once

#include <algorithm>

#include "events/deployment.hpp"
#include "events/settings.hpp"

namespace atlasflow::rules {

inline constexpr std::int32_t k_clone_attempts = 4;
inline constexpr std::int32_t k_build_attempts = 2;  // of system faults; a user's fault is final
inline constexpr std::int32_t k_push_attempts = 4;
inline constexpr std::int32_t k_release_attempts = 2;  // the same
inline constexpr std::int32_t k_place_attempts = 8;    // about 2 min until another VM has gone
inline constexpr std::int32_t k_start_attempts = 3;
inline constexpr std::int32_t k_route_attempts = 5;
inline constexpr std::int32_t k_crashes_max = 10;  // in a row
inline constexpr TimestampUs k_crashes_forgotten_us = 600 * k_second_us;
inline constexpr TimestampUs k_served_well_us = 10 * k_second_us;
// What waits for another VM's restart looks again after it.
inline constexpr TimestampUs k_restart_turn_us = 60 * k_second_us;
inline constexpr TimestampUs k_push_deadline_us = 900 * k_second_us;
inline constexpr TimestampUs k_start_deadline_us = 600 * k_second_us;
inline constexpr TimestampUs k_route_deadline_us = 60 * k_second_us;

// Exponential from 1 s to 60 s, plus up to a quarter that depends on the deployment, so that many
// that failed together do not come back together. A hash stands for randomness: events/ has none.
[[nodiscard]] inline TimestampUs backoff_us(const DeploymentId& id, std::int32_t attempt) {
  const std::int32_t doublings = std::clamp(attempt - 1, 0, 6);
  const TimestampUs base = std::min(k_second_us << doublings, 60 * k_second_us);
  std::uint64_t hash = 1469598103934665603ULL;  // FNV-1a
  for (const char c : id.str() + std::to_string(attempt)) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 1099511628211ULL;
  }
  return base + static_cast<TimestampUs>(hash % static_cast<std::uint64_t>(base / 4));
}

[[nodiscard]] inline std::int32_t attempts_of(const DeploymentState& state, pb::Step step) {
  const auto found = state.attempts.find(step);
  return found == state.attempts.end() ? 0 : found->second;
}

// The next step of a deployment that has no VM yet and waits for nothing: clone, build, push,
// release, or its first placement.
[[nodiscard]] pb::Event pipeline_step(const DeploymentState& state, const Moment& moment);

// The last part of evolve(): lets go of slots that are to be empty and are, and sets the status
// that follows from the parts.
void settle(DeploymentState& state);

}  // namespace atlasflow::rules
