// Every place at which a small scenario's server could be killed, one run each: after every append,
// and before and after every effect. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sim/run/run.hpp"

namespace atlasflow::sim {

struct ExhaustiveReport {
  std::uint64_t runs = 0;
  std::uint64_t moments = 0;                      // of the run without a kill
  std::optional<std::uint64_t> failing_at;        // the first moment whose run broke an invariant
  std::optional<std::uint64_t> failing_again_at;  // its second kill, when there was one
  RunReport report;                               // of that run, or of the one without a kill
};

// Stops at the first run that breaks an invariant.
[[nodiscard]] ExhaustiveReport run_exhaustively(const Scenario& scenario, Fibers& fibers);
// Besides, kills the server that was killed once more: at every moment after the first one, what
// it does to recover included. So many runs as there are pairs.
[[nodiscard]] ExhaustiveReport run_exhaustively_twice(const Scenario& scenario, Fibers& fibers);

}  // namespace atlasflow::sim
