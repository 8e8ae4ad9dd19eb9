// The server killed at every moment there is, in scenarios small enough for that.
#include "sim/run/exhaustive.hpp"

#include <gtest/gtest.h>

#include "tests/sim/small_scenarios.hpp"

namespace atlasflow::sim {
namespace {

std::string why(const ExhaustiveReport& found) {
  if (!found.report.violation) return "";
  std::string text = found.report.violation->name + ": " + found.report.violation->sentence;
  if (found.failing_at) text += "\nkilled at moment " + std::to_string(*found.failing_at);
  if (found.failing_again_at) text += " and at " + std::to_string(*found.failing_again_at);
  for (const auto& line : found.report.story) text += "\n" + line;
  for (const auto& line : found.report.events) text += "\n" + line;
  return text;
}

struct Claim {
  std::string scenario;
  std::uint64_t moments_min = 0;  // a search of nothing finds nothing
  std::size_t routed = 0;         // when nobody is killed: the scenario does what it is named for
};
void PrintTo(const Claim& claim, std::ostream* out) { *out << claim.scenario; }

std::string test_name(const testing::TestParamInfo<Claim>& info) {
  auto name = info.param.scenario;
  for (auto& letter : name) letter = letter == '-' ? '_' : letter;
  return name;
}

class KilledOnce : public testing::TestWithParam<Claim> {};
class KilledTwice : public testing::TestWithParam<Claim> {};

// In several orders of the actors.
constexpr std::uint64_t k_orders = 8;

TEST_P(KilledOnce, at_any_moment_it_breaks_nothing) {
  Fibers fibers;
  auto scenario = small_scenario(GetParam().scenario);
  for (scenario.seed = 1; scenario.seed <= k_orders; ++scenario.seed) {
    const auto found = run_exhaustively(scenario, fibers);
    ASSERT_FALSE(found.report.violation) << "seed " << scenario.seed << ": " << why(found);
    EXPECT_EQ(found.runs, found.moments + 1);
    EXPECT_GE(found.moments, GetParam().moments_min);
    EXPECT_EQ(found.report.routed, GetParam().routed);
  }
}

INSTANTIATE_TEST_SUITE_P(Small, KilledOnce,
                         testing::Values(Claim{"push", 24, 1}, Claim{"switch", 50, 2},
                                         Claim{"rollback", 75, 3}, Claim{"cancel", 14, 0},
                                         Claim{"preview", 50, 2}, Claim{"scale", 36, 1},
                                         Claim{"delete", 32, 1}, Claim{"crash", 70, 3},
                                         Claim{"stop-start", 36, 1}, Claim{"release", 26, 1},
                                         Claim{"bad-release", 20, 0}, Claim{"no-build", 15, 0},
                                         Claim{"superseded", 40, 1}),
                         test_name);

TEST_P(KilledTwice, at_any_two_moments_it_breaks_nothing) {
  Fibers fibers;
  const auto found = run_exhaustively_twice(small_scenario(GetParam().scenario), fibers);
  EXPECT_FALSE(found.report.violation) << why(found);
  EXPECT_GE(found.moments, GetParam().moments_min);
  // Pairs, and so many more than moments. Not all n²/2: what a kill lost, as a webhook that nobody
  // answered, has no moments after it.
  EXPECT_GE(found.runs, found.moments * found.moments / 3);
}

// Not the longer ones: pairs grow with the square.
INSTANTIATE_TEST_SUITE_P(Small, KilledTwice,
                         testing::Values(Claim{"push", 24}, Claim{"switch", 50},
                                         Claim{"cancel", 14}, Claim{"scale", 36},
                                         Claim{"delete", 32}, Claim{"release", 26},
                                         Claim{"bad-release", 20}, Claim{"no-build", 15}),
                         test_name);

// A kill on the production log: what it wrote is read back by RocksDB's own recovery.
TEST(KilledOnRocksdb, at_any_moment_it_breaks_nothing) {
  Fibers fibers;
  auto scenario = small_scenario("push");
  scenario.log = LogKind::rocksdb;
  const auto found = run_exhaustively(scenario, fibers);
  EXPECT_FALSE(found.report.violation) << why(found);
  EXPECT_GE(found.moments, 24U);
}

}  // namespace
}  // namespace atlasflow::sim
