// print_fingerprints SEEDS: a line for each drawn run from seed 1 on. The test of determinism
// compares them with its own: another process has other addresses and another environment.
#include <cstdlib>
#include <iostream>

#include <spdlog/spdlog.h>

#include "tests/sim/run_fingerprint.hpp"

int main(int argc, char** argv) {
  using namespace atlasflow::sim;
  const auto seeds = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  spdlog::set_level(spdlog::level::off);
  Fibers fibers;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const auto fingerprint = fingerprint_of(run(drawn_scenario(seed), fibers));
    std::cout << "seed " << seed << ' ' << fingerprint << std::endl;
  }
  return seeds == 0 ? 2 : 0;
}
