// The same seed is the same run: with another heap, with other actor ids, in another process, and
// from the list of its choices alone.
#include <gtest/gtest.h>

#include "tests/sim/run_fingerprint.hpp"
#include "tests/storage/child_process.hpp"

namespace atlasflow::sim {
namespace {

constexpr std::uint64_t k_seeds = 100;

TEST(Determinism, a_seed_is_the_same_run_whatever_the_heap_and_the_ids_of_actors) {
  Fibers fibers;
  for (std::uint64_t seed = 1; seed <= k_seeds; ++seed) {
    const auto scenario = drawn_scenario(seed);
    const auto once = run(scenario, fibers);
    RunOptions noisy;
    noisy.noise = true;
    const auto again = run(scenario, fibers, noisy);
    EXPECT_EQ(fingerprint_of(once), fingerprint_of(again)) << "seed " << seed;
    EXPECT_EQ(once.story, again.story) << "seed " << seed;
  }
}

TEST(Determinism, a_seed_is_the_same_run_in_another_process) {
  Fibers fibers;
  storage::ChildProcess child({PRINT_FINGERPRINTS, std::to_string(k_seeds)});
  for (std::uint64_t seed = 1; seed <= k_seeds; ++seed) {
    const auto begin = "seed " + std::to_string(seed) + ' ';
    auto line = child.read_line();
    while (line && !line->starts_with(begin)) line = child.read_line();  // CAF tells of dead actors
    ASSERT_TRUE(line) << "the other process ended before seed " << seed;
    EXPECT_EQ(*line, begin + fingerprint_of(run(drawn_scenario(seed), fibers)));
  }
}

TEST(Determinism, the_choices_of_a_run_are_the_run) {
  Fibers fibers;
  for (std::uint64_t seed = 1; seed <= k_seeds; ++seed) {
    auto scenario = drawn_scenario(seed);
    const auto drawn = run(scenario, fibers);
    scenario.choices = drawn.choices;
    scenario.seed = 0;
    EXPECT_EQ(fingerprint_of(drawn), fingerprint_of(run(scenario, fibers))) << "seed " << seed;
  }
}

TEST(Determinism, another_seed_is_another_run) {
  Fibers fibers;
  auto scenario = drawn_scenario(1);
  const auto one = run(scenario, fibers);
  ++scenario.seed;
  EXPECT_NE(fingerprint_of(one), fingerprint_of(run(scenario, fibers)));
}

}  // namespace
}  // namespace atlasflow::sim
