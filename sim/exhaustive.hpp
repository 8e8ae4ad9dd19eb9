// Every place at which a small scenario's server could be killed, one run each: after every append,
// and before and after every effect. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sim/run.hpp"

namespace atlasflow::sim {

struct ExhaustiveReport {
  std::uint64_t runs = 0;
  std::uint64_t moments = 0;                // of the run without a kill
  std::optional<std::uint64_t> failing_at;  // the first moment whose run broke an invariant
  RunReport report;                         // of that run, or of the one without a kill
};

[[nodiscard]] ExhaustiveReport run_exhaustively(const Scenario& scenario, Fibers& fibers);

}  // namespace atlasflow::sim
