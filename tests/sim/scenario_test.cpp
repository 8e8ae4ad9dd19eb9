// The scenarios that are kept: each file in scenarios/ is run, and once more with another heap and
// other actor ids, of which nothing may be seen.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/run/run.hpp"
#include "sim/world/fibers.hpp"

namespace atlasflow::sim {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> kept_scenarios() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(KEPT_SCENARIOS)) {
    if (entry.path().extension() == ".toml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

Result<Scenario> kept(const std::string& name) {
  const auto file = fs::path(KEPT_SCENARIOS) / (name + ".toml");
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return parsed_scenario(text.str(), file.filename().string());
}

class KeptScenario : public testing::TestWithParam<std::string> {};

TEST_P(KeptScenario, breaks_nothing_and_runs_twice_the_same) {
  const auto scenario = kept(GetParam());
  ASSERT_TRUE(scenario.has_value()) << to_string(scenario.error());
  EXPECT_EQ(scenario->name, GetParam()) << "the file's name is another";
  EXPECT_FALSE(scenario->why.empty()) << "what is it kept for?";
  Fibers fibers;
  const auto first = run(*scenario, fibers);
  ASSERT_FALSE(first.violation.has_value())
      << first.violation->name << ": " << first.violation->sentence << "\n"
      << testing::PrintToString(first.story);
  EXPECT_GT(first.routed, 0U) << "nothing was ever routed";
  RunOptions noise;
  noise.noise = true;
  const auto second = run(*scenario, fibers, noise);
  EXPECT_FALSE(second.violation.has_value());
  EXPECT_EQ(first.trace, second.trace);
  EXPECT_EQ(first.chain, second.chain);
  EXPECT_EQ(first.story, second.story);
}

TEST_P(KeptScenario, comes_back_from_its_own_text) {
  const auto scenario = kept(GetParam());
  ASSERT_TRUE(scenario.has_value()) << to_string(scenario.error());
  const auto again = parsed_scenario(text_of(*scenario), "again.toml");
  ASSERT_TRUE(again.has_value()) << to_string(again.error());
  EXPECT_EQ(*again, *scenario);
}

INSTANTIATE_TEST_SUITE_P(Scenarios, KeptScenario, testing::ValuesIn(kept_scenarios()),
                         [](const auto& param) { return param.param; });

}  // namespace
}  // namespace atlasflow::sim
