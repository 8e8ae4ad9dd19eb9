// Golden logs: what a few small scenarios record, position by position, and what the world owes
// after each. A difference is either a mistake or a change of behaviour that somebody has read.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include <gtest/gtest.h>

#include "tests/sim/golden_log.hpp"
#include "tests/sim/small_scenarios.hpp"

namespace atlasflow::sim {
namespace {

class Golden : public testing::TestWithParam<std::string> {};

std::string first_difference(const std::string& golden, const std::string& now) {
  std::istringstream left(golden);
  std::istringstream right(now);
  for (int number = 1;; ++number) {
    std::string there;
    std::string here;
    const bool more = static_cast<bool>(std::getline(left, there));
    const bool more_here = static_cast<bool>(std::getline(right, here));
    if (!more && !more_here) return "";
    if (more == more_here && there == here) continue;
    return "line " + std::to_string(number) + "\n  golden: " + (more ? there : "the end") +
           "\n  now:    " + (more_here ? here : "the end");
  }
}

TEST_P(Golden, the_log_and_what_is_owed_are_what_they_were) {
  const auto file = std::filesystem::path(GOLDEN_LOGS) / (GetParam() + ".txt");
  std::ifstream stream(file, std::ios::binary);
  ASSERT_TRUE(stream) << file << " is missing";
  const std::string golden{std::istreambuf_iterator<char>(stream), {}};
  const auto now = golden_log(small_scenario(GetParam()));
  EXPECT_TRUE(golden == now)
      << GetParam() << ".txt, " << first_difference(golden, now)
      << "\nIf that is meant: build/dev/bin/record_golden tests/sim/golden, and read the diff.";
}

INSTANTIATE_TEST_SUITE_P(Logs, Golden, testing::ValuesIn(golden_names()),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace atlasflow::sim
