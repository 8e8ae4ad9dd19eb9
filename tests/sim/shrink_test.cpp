// Shrinking, on failures that are planted: a rule over the scenario and what its run came to stands
// in for a broken invariant.
#include "sim/run/shrink.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/world/fibers.hpp"

namespace atlasflow::sim {
namespace {

bool has(const Scenario& scenario, StepKind kind, int project) {
  return std::any_of(scenario.steps.begin(), scenario.steps.end(), [&](const Step& step) {
    return step.kind == kind && step.project == project;
  });
}

Step step_of(StepKind kind, TimestampUs at, int project = 0) {
  Step step;
  step.kind = kind;
  step.at = at;
  step.project = project;
  return step;
}

// A hundred choices, of which the 17th and the 60th matter; each that is not given is drawn, not 0.
RunReport run_on_paper(const Scenario& scenario) {
  RunReport report;
  for (std::size_t i = 0; i < 100; ++i) {
    const auto drawn = static_cast<std::uint32_t>(1 + i % 7);
    const bool given = scenario.choices && i < scenario.choices->size();
    report.choices.push_back(given ? scenario.choices->at(i) : scenario.choices ? 0 : drawn);
  }
  const bool cut = has(scenario, StepKind::power_cut, 0);
  const bool ends = has(scenario, StepKind::vm_dies, 2) || has(scenario, StepKind::vm_dies, 0);
  if (cut && ends && report.choices[17] == 4 && report.choices[60] != 0) {
    report.violation = Violation{"planted", ""};
  } else if (ends) {
    report.violation = Violation{"another", ""};
  }
  return report;
}

Scenario large_scenario() {
  Scenario scenario = drawn_scenario(5);
  scenario.projects = 3;
  scenario.hosts = 3;
  scenario.builders = 2;
  scenario.log = LogKind::rocksdb;
  scenario.rates = {1, 2, 3, 4, 5, 6, 7, 8, 9, true};
  for (int i = 0; i < 30; ++i) {
    scenario.steps.push_back(step_of(StepKind::push, 20'000'000 + i, i % 3));
  }
  scenario.steps.push_back(step_of(StepKind::power_cut, 31'234'567));
  scenario.steps.push_back(step_of(StepKind::collect, 31'234'568));
  scenario.steps.push_back(step_of(StepKind::vm_dies, 32'000'001, 2));
  scenario.steps.push_back(step_of(StepKind::push, 50'000'000));
  std::erase_if(scenario.steps, [](const Step& step) {
    return step.kind == StepKind::vm_dies && step.project != 2;
  });
  return scenario;
}

TEST(Shrink, leaves_what_the_failure_needs_and_nothing_else) {
  Fibers fibers;
  const auto shrunk = shrink(large_scenario(), fibers, 5000, {}, run_on_paper);
  ASSERT_TRUE(shrunk.report.violation.has_value());
  EXPECT_EQ(shrunk.report.violation->name, "planted");
  ASSERT_EQ(shrunk.scenario.steps.size(), 2U) << text_of(shrunk.scenario);
  EXPECT_EQ(shrunk.scenario.steps[0].kind, StepKind::power_cut);
  EXPECT_EQ(shrunk.scenario.steps[1].kind, StepKind::vm_dies);
  EXPECT_EQ(shrunk.scenario.projects, 1);
  EXPECT_EQ(shrunk.scenario.hosts, 1);
  EXPECT_EQ(shrunk.scenario.builders, 1);
  EXPECT_EQ(shrunk.scenario.log, LogKind::memory);
  EXPECT_EQ(shrunk.scenario.rates, Rates{});
  EXPECT_LE(shrunk.scenario.duration, 5'000'000);
  ASSERT_TRUE(shrunk.scenario.choices.has_value());
  std::vector<std::uint32_t> needed(61, 0);
  needed[17] = 4;
  needed[60] = 5;
  EXPECT_EQ(*shrunk.scenario.choices, needed);
}

TEST(Shrink, ends_after_as_many_runs_as_it_may_take) {
  for (const std::uint64_t runs_max : {2U, 3U, 10U, 25U}) {
    Fibers fibers;
    std::uint64_t runs = 0;
    const auto shrunk = shrink(large_scenario(), fibers, runs_max, {}, [&](const Scenario& each) {
      ++runs;
      return run_on_paper(each);
    });
    EXPECT_LE(runs, runs_max);
    EXPECT_EQ(shrunk.runs, runs);
    EXPECT_EQ(shrunk.report.violation->name, "planted");
  }
}

TEST(Shrink, tells_of_each_success_and_never_of_more_steps) {
  Fibers fibers;
  std::vector<std::size_t> told;
  static_cast<void>(shrink(
      large_scenario(), fibers, 5000,
      [&](std::size_t steps, std::size_t) { told.push_back(steps); }, run_on_paper));
  ASSERT_FALSE(told.empty());
  EXPECT_TRUE(std::is_sorted(told.rbegin(), told.rend()));
  EXPECT_EQ(told.back(), 2U);
}

TEST(Shrink, gives_back_what_breaks_nothing) {
  Fibers fibers;
  const auto whole = large_scenario();
  const auto shrunk = shrink(whole, fibers, 100, {}, [](const Scenario&) { return RunReport{}; });
  EXPECT_EQ(shrunk.scenario, whole);
  EXPECT_EQ(shrunk.runs, 1U);
  EXPECT_FALSE(shrunk.report.violation.has_value());
}

// On the real thing: "the server lived three lives and something was routed".
TEST(Shrink, a_real_run_becomes_a_story_of_a_few_steps_that_its_file_repeats) {
  Fibers fibers;
  const auto judged = [&](const Scenario& scenario) {
    auto report = run(scenario, fibers);
    report.violation.reset();
    if (report.lives >= 3 && report.routed > 0) report.violation = Violation{"planted", ""};
    return report;
  };
  std::uint64_t seed = 1;
  while (drawn_scenario(seed).steps.size() < 15 || !judged(drawn_scenario(seed)).violation) ++seed;
  const auto shrunk = shrink(drawn_scenario(seed), fibers, 400, {}, judged);
  ASSERT_TRUE(shrunk.report.violation.has_value());
  EXPECT_LE(shrunk.scenario.steps.size(), 3U) << text_of(shrunk.scenario);
  const auto from_file = parsed_scenario(text_of(shrunk.scenario), "shrunk.toml");
  ASSERT_TRUE(from_file.has_value()) << to_string(from_file.error());
  EXPECT_EQ(*from_file, shrunk.scenario);
  const auto again = judged(*from_file);
  EXPECT_EQ(again.trace, shrunk.report.trace);
  EXPECT_EQ(again.chain, shrunk.report.chain);
  EXPECT_EQ(again.story, shrunk.report.story);
  std::string story;
  for (const auto& line : shrunk.report.story) story += line + "\n";
  RecordProperty("story", story);
  EXPECT_LE(shrunk.report.story.size(), 12U) << story;
}

}  // namespace
}  // namespace atlasflow::sim
