// Makes a run that breaks an invariant smaller while it breaks the same one: first fewer steps and
// faults, then calmer choices (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
// Input", 2002). One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sim/run.hpp"

namespace atlasflow::sim {

struct Shrunk {
  Scenario scenario;  // with the choices that are left
  RunReport report;   // of it
  std::uint64_t runs = 0;
};

// The scenario must break an invariant. Ends after so many runs at the latest. progress is told
// after each success how many steps and choices that are not 0 are left.
[[nodiscard]] Shrunk shrink(
    const Scenario& scenario, Fibers& fibers, std::uint64_t runs_max,
    const std::function<void(std::size_t steps, std::size_t choices)>& progress = {});

}  // namespace atlasflow::sim
