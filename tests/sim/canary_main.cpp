// canary_*: runs drawn scenarios, each twice, until one breaks an invariant; built with
// cmake/Canary.cmake, once for each known bug and once without any. Argument: how many seeds, from
// 1 on. Its last line is "caught by INVARIANT at seed SEED", or "not caught by N seeds" and it
// exits with 1.
#include <charconv>
#include <cstring>
#include <iostream>
#include <optional>

#include <spdlog/spdlog.h>

#include "sim/run/run.hpp"

namespace {

using namespace atlasflow::sim;

// Everything that a run is compared by, with another heap the second time.
std::optional<Violation> violation_of(const Scenario& scenario, Fibers& fibers) {
  const auto once = run(scenario, fibers);
  if (once.violation) return once.violation;
  RunOptions again;
  again.noise = true;
  const auto twice = run(scenario, fibers, again);
  if (twice.trace == once.trace && twice.chain == once.chain) return std::nullopt;
  return Violation{"deterministic", "the same seed twice is not the same run"};
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t budget = 0;
  if (argc == 2) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), budget);
  if (budget == 0) {
    std::cerr << "usage: " << argv[0] << " SEEDS" << std::endl;
    return 2;
  }
  spdlog::set_level(spdlog::level::off);
  Fibers fibers;
  for (std::uint64_t seed = 1; seed <= budget; ++seed) {
    const auto violation = violation_of(drawn_scenario(seed), fibers);
    if (!violation) continue;
    std::cerr << violation->sentence << std::endl;
    std::cout << "caught by " << violation->name << " at seed " << seed << std::endl;
    return 0;
  }
  std::cout << "not caught by " << budget << " seeds" << std::endl;
  return 1;
}
