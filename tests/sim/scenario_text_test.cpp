// Scenarios as files: what is written comes back, and what is wrong is told with its line.
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/run/scenario.hpp"

namespace atlasflow::sim {
namespace {

TEST(ScenarioText, what_a_thousand_seeds_draw_comes_back_from_its_file) {
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const auto scenario = drawn_scenario(seed);
    const auto again = parsed_scenario(text_of(scenario), "drawn.toml");
    ASSERT_TRUE(again.has_value()) << to_string(again.error());
    ASSERT_EQ(*again, scenario) << text_of(scenario);
  }
}

TEST(ScenarioText, every_field_comes_back_from_its_file) {
  Scenario scenario;
  scenario.name = "a \"name\" with \\ and\nlines";
  scenario.why = "größer → later";
  scenario.seed = UINT64_MAX;
  scenario.projects = 3;
  scenario.builders = 4;
  scenario.hosts = 5;
  scenario.host_memory_mib = 777;
  scenario.rollbacks = 0;
  scenario.senders = 2;
  scenario.authorities = 2;
  scenario.log = LogKind::rocksdb;
  scenario.duration = 12'345'678;
  scenario.rates = {1, 2, 3, 4, 5, 6, 7, 8, 9, true};
  Step skew;
  skew.at = 1;
  skew.kind = StepKind::clock_step;
  skew.span = -2'000'001;
  Step push;
  push.at = 2;
  push.project = 2;
  push.value = 3;
  push.kind = StepKind::preview_push;
  push.app = AppKind::crashing;
  scenario.steps = {skew, push};
  scenario.choices = std::vector<std::uint32_t>{0, 0, 7, 0, UINT32_MAX};
  const auto again = parsed_scenario(text_of(scenario), "all.toml");
  ASSERT_TRUE(again.has_value()) << to_string(again.error());
  EXPECT_EQ(*again, scenario) << text_of(scenario);
}

TEST(ScenarioText, choices_that_are_all_quiet_are_not_the_same_as_none) {
  Scenario scenario;
  scenario.choices.emplace();
  const auto again = parsed_scenario(text_of(scenario), "quiet.toml");
  ASSERT_TRUE(again.has_value()) << to_string(again.error());
  EXPECT_TRUE(again->choices.has_value());
}

TEST(ScenarioText, steps_are_put_in_the_order_of_their_time) {
  const auto scenario = parsed_scenario(
      "[[step]]\nat_us = 9\ndo = \"collect\"\n[[step]]\nat_us = 3\ndo = \"take_over\"\n", "f.toml");
  ASSERT_TRUE(scenario.has_value()) << to_string(scenario.error());
  ASSERT_EQ(scenario->steps.size(), 2U);
  EXPECT_EQ(scenario->steps[0].kind, StepKind::take_over);
  EXPECT_EQ(scenario->steps[1].kind, StepKind::collect);
}

// Every name that stands between commas in the list.
std::vector<std::string> names_in(const std::string& list) {
  std::vector<std::string> names;
  std::istringstream words(list);
  for (std::string word; words >> word;) {
    names.push_back(word.substr(0, word.find(',')));
  }
  return names;
}

TEST(ScenarioText, the_page_about_the_simulator_names_every_step_and_every_app) {
  std::ostringstream page;
  page << std::ifstream(SIMULATION_PAGE).rdbuf();
  for (const auto& list : {step_kind_names(), app_kind_names()}) {
    for (const auto& name : names_in(list)) {
      EXPECT_THAT(page.str(), testing::HasSubstr("`" + name + "`"));
    }
  }
}

struct Wrong {
  const char* name;
  const char* text;
  const char* told;  // how the error begins
};

class WrongScenario : public testing::TestWithParam<Wrong> {};

TEST_P(WrongScenario, is_refused_with_its_line_and_what_may_stand_there) {
  const auto scenario = parsed_scenario(GetParam().text, "f.toml");
  ASSERT_FALSE(scenario.has_value());
  EXPECT_EQ(scenario.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(scenario.error().message, testing::StartsWith(GetParam().told));
}

INSTANTIATE_TEST_SUITE_P(
    ScenarioText, WrongScenario,
    testing::Values(
        Wrong{"not_toml", "projects = 1\nhosts = = 2", "f.toml, line 2 is not TOML: "},
        Wrong{"twice", "hosts = 1\nhosts = 2", "f.toml, line 2 is not TOML: "},
        Wrong{"unknown_key", "\n\nproject = 2",
              "f.toml, line 3: project is not known; what may stand here is format, name, why, "
              "seed, projects, builders, hosts, host_memory_mib, rollbacks, senders, "
              "authorities, log, duration_us, rates, step, choices"},
        Wrong{"other_format", "format = \"atlasflow-scenario-9\"",
              "f.toml, line 1: format must be \"atlasflow-scenario-1\""},
        Wrong{"type", "name = 5", "f.toml, line 1: name must be text in quotes"},
        Wrong{"number_in_quotes", "hosts = \"2\"",
              "f.toml, line 1: hosts must be a whole number from 1 to 20"},
        Wrong{"no_host", "hosts = 0", "f.toml, line 1: hosts must be a whole number from 1 to 20"},
        Wrong{"projects", "projects = 51",
              "f.toml, line 1: projects must be a whole number from 1 to 50"},
        Wrong{"fraction", "builders = 1.5",
              "f.toml, line 1: builders must be a whole number from 1 to 20"},
        Wrong{"seed_below_zero", "seed = -1", "f.toml, line 1: seed must be a whole number from 0"},
        Wrong{"seed_in_words", "seed = \"12x\"", "f.toml, line 1: seed must be a whole number"},
        Wrong{"seed_too_large", "seed = \"18446744073709551616\"",
              "f.toml, line 1: seed must be a whole number"},
        Wrong{"log", "log = \"disk\"", "f.toml, line 1: log must be \"memory\" or \"rocksdb\""},
        Wrong{"too_long", "duration_us = 99999999999999",
              "f.toml, line 1: duration_us must be a whole number from 1 to 31622400000000"},
        Wrong{"rates_value", "rates = 3", "f.toml, line 1: rates must be a table: write [rates]"},
        Wrong{"rate", "[rates]\ncall_lost = 1001",
              "f.toml, line 2: rates.call_lost must be a whole number from 0 to 1000"},
        Wrong{"unknown_rate", "[rates]\ncall_lots = 1",
              "f.toml, line 2: rates.call_lots is not known; what may stand here is call_late, "},
        Wrong{"buggify", "[rates]\nbuggify = 1",
              "f.toml, line 2: rates.buggify must be true or false"},
        Wrong{"step_table", "[step]\ndo = \"push\"",
              "f.toml, line 1: step must be tables: write [[step]] for each"},
        Wrong{"step_value", "step = [3]",
              "f.toml, line 1: step must be tables: write [[step]] for each"},
        Wrong{"no_do", "\n[[step]]\nat_us = 1", "f.toml, line 2: step.do is missing"},
        Wrong{"no_time", "\n[[step]]\ndo = \"push\"", "f.toml, line 2: step.at_us is missing"},
        Wrong{"unknown_do", "[[step]]\nat_us = 1\ndo = \"explode\"",
              "f.toml, line 3: step.do must be one of push, force_push, "},
        Wrong{"unknown_app", "[[step]]\nat_us = 1\ndo = \"push\"\napp = \"odd\"",
              "f.toml, line 4: step.app must be one of good, no_clone, "},
        Wrong{"beyond_the_projects",
              "projects = 2\n[[step]]\nat_us = 1\ndo = \"push\"\nproject = 2",
              "f.toml, line 5: step.project must be a whole number from 0 to 1"},
        Wrong{"negative_span", "[[step]]\nat_us = 1\ndo = \"power_cut\"\nspan_us = -1",
              "f.toml, line 4: step.span_us must be a whole number from 0 to "},
        Wrong{"of_no_use", "[[step]]\nat_us = 1\ndo = \"power_cut\"\napp = \"sick\"",
              "f.toml, line 4: step.app means nothing to \"power_cut\"; leave it out"},
        Wrong{"unknown_in_step", "[[step]]\nat_us = 1\ndo = \"push\"\nat_ms = 3",
              "f.toml, line 4: step.at_ms is not known; what may stand here is at_us, do, "
              "project, value, span_us, app"},
        Wrong{"choices_text", "choices = \"none\"", "f.toml, line 1: choices must be a list of "},
        Wrong{"choice_alone", "choices = [[1, 1],\n3]",
              "f.toml, line 2: choices must be a list of pairs [number, choice]"},
        Wrong{"choice_again", "choices = [[1, 1],\n[1, 2]]",
              "f.toml, line 2: choices must be a list of pairs [number, choice]"},
        Wrong{"choice_far", "choices = [[67108864, 1]]",
              "f.toml, line 1: choices must be a list of pairs [number, choice]"}),
    [](const auto& param) { return std::string(param.param.name); });

}  // namespace
}  // namespace atlasflow::sim
