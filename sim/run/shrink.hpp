// Makes a run that breaks an invariant smaller while it breaks the same one: first fewer steps and
// faults, then calmer choices (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
// Input", 2002). One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sim/run/run.hpp"

namespace atlasflow::sim {

struct Shrunk {
  Scenario scenario;  // with the choices that are left
  RunReport report;   // of it
  std::uint64_t runs = 0;
};

// Told after each success how many steps and choices that are not 0 are left.
using ShrinkProgress = std::function<void(std::size_t steps, std::size_t choices)>;
// How a candidate is run: run(), with whatever options the failure needs.
using RunScenario = std::function<RunReport(const Scenario&)>;

// Ends after so many runs at the latest, of which there are at least two. A scenario that breaks no
// invariant comes back as it is. What makes the process end, an assertion that fails, ends the
// process here as well. Without run_one: run() without options.
[[nodiscard]] Shrunk shrink(const Scenario& scenario, Fibers& fibers, std::uint64_t runs_max,
                            const ShrinkProgress& progress = {}, const RunScenario& run_one = {});

}  // namespace atlasflow::sim
