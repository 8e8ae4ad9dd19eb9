// What `atlasflow simulate` understands, and how it tells what came of the runs.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "cli/simulate_plan.hpp"
#include "cli/simulate_report.hpp"

namespace atlasflow::cli {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

constexpr SimulateDefaults k_defaults{42, 3};
constexpr TimestampUs k_s = 1'000'000;

Result<SimulatePlan> plan_of(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), {"atlasflow", "simulate"});
  const auto line = parse_command_line(static_cast<int>(arguments.size()), arguments.data());
  if (!line) return fail(ErrorCode::invalid_argument, line.error().err);
  return simulate_plan(std::get<SimulateCommand>(line->command), k_defaults);
}

SimulatePlan good_plan_of(const std::vector<const char*>& arguments) {
  auto plan = plan_of(arguments);
  EXPECT_TRUE(plan) << to_string(plan.error());
  return plan.value_or(SimulatePlan{});
}

// A scenario's file, gone at the end.
class ScenarioFile {
 public:
  explicit ScenarioFile(const std::string& text) {
    auto name = (std::filesystem::temp_directory_path() / "atlasflow-plan-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    path_ = (folder_ / "it's.toml").string();
    std::ofstream(path_) << text;
  }
  ~ScenarioFile() { std::filesystem::remove_all(folder_); }
  ScenarioFile(const ScenarioFile&) = delete;
  ScenarioFile& operator=(const ScenarioFile&) = delete;
  [[nodiscard]] const char* path() const { return path_.c_str(); }

 private:
  std::filesystem::path folder_;
  std::string path_;
};

TEST(SimulatePlan, without_options_a_hundred_new_seeds_run_the_standard_scenario) {
  const auto plan = good_plan_of({});
  EXPECT_EQ(plan.first_seed, 42U);
  EXPECT_EQ(plan.runs, 100U);
  EXPECT_EQ(plan.jobs, 3);
  EXPECT_EQ(scenario_of(plan, 7), sim::standard_scenario(7, 60 * k_s));
}

TEST(SimulatePlan, a_seed_or_a_time_is_one_run_unless_their_number_is_given) {
  EXPECT_EQ(good_plan_of({"--seed", "5"}).runs, 1U);
  EXPECT_EQ(good_plan_of({"--time", "24h"}).runs, 1U);
  EXPECT_EQ(good_plan_of({"--time", "24h"}).first_seed, 42U);
  EXPECT_EQ(good_plan_of({"--seed", "5", "--runs", "9"}).runs, 9U);
  EXPECT_EQ(good_plan_of({"--swarm"}).runs, 100U);
}

TEST(SimulatePlan, durations_reach_from_a_millisecond_to_a_year) {
  for (const auto& [text, duration] :
       {std::pair{"1ms", k_s / 1000}, std::pair{"60s", 60 * k_s}, std::pair{"10m", 600 * k_s},
        std::pair{"24h", 86'400 * k_s}, std::pair{"365d", 365 * 86'400 * k_s}}) {
    EXPECT_EQ(good_plan_of({"--time", text}).duration, duration) << text;
  }
  for (const auto* text : {"", "s", "60", "0s", "-5s", "1.5s", "60 s", "5w", "367d",
                           "99999999999999999999s", "1e3s"}) {
    const auto plan = plan_of({"--time", text});
    ASSERT_FALSE(plan) << text;
    EXPECT_THAT(plan.error().message, HasSubstr("--time takes a duration")) << text;
  }
}

TEST(SimulatePlan, a_swarm_draws_its_durations_unless_one_is_given) {
  EXPECT_EQ(scenario_of(good_plan_of({"--swarm"}), 7), sim::drawn_scenario(7));
  EXPECT_EQ(scenario_of(good_plan_of({"--swarm", "--time", "5m"}), 7),
            sim::drawn_scenario(7, 300 * k_s));
}

TEST(SimulatePlan, numbers_that_are_none_or_too_large_are_refused_with_what_is_possible) {
  for (const auto& arguments :
       std::vector<std::vector<const char*>>{{"--seed", "x"},
                                             {"--seed", ""},
                                             {"--seed", "-1"},
                                             {"--seed", "1.5"},
                                             {"--seed", "0x10"},
                                             {"--seed", "18446744073709551616"},
                                             {"--runs", "0"},
                                             {"--runs", "many"},
                                             {"--jobs", "0"},
                                             {"--jobs", "1000"},
                                             {"--from-log", "/srv", "--at", "end"},
                                             {"--seed", "18446744073709551615", "--runs", "2"}}) {
    const auto plan = plan_of(arguments);
    ASSERT_FALSE(plan) << arguments[0] << " " << arguments[1];
    EXPECT_EQ(plan.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(plan.error().message,
                AnyOf(HasSubstr(arguments[0]), HasSubstr("--at"), HasSubstr("last seed")));
  }
  EXPECT_EQ(good_plan_of({"--seed", "18446744073709551615"}).first_seed, UINT64_MAX);
}

TEST(SimulatePlan, options_that_do_not_go_together_are_refused) {
  const ScenarioFile file("name = 'a'\n");
  for (const auto& arguments :
       std::vector<std::vector<const char*>>{{"--swarm", "--scenario", file.path()},
                                             {"--scenario", file.path(), "--time", "5s"},
                                             {"--at", "5"},
                                             {"--shrink"},
                                             {"--shrink", "--seed", "1", "--runs", "2"},
                                             {"--shrink", "--seed", "1", "--exhaustive"},
                                             {"--shrink", "--seed", "1", "--jobs", "2"},
                                             {"--exhaustive", "--runs", "2"},
                                             {"--exhaustive", "--probes"},
                                             {"--exhaustive", "--from-log", "/srv"}}) {
    const auto plan = plan_of(arguments);
    ASSERT_FALSE(plan) << arguments[0];
    EXPECT_EQ(plan.error().code, ErrorCode::invalid_argument);
  }
}

TEST(SimulatePlan, a_scenarios_file_brings_its_seed_which_an_option_may_change) {
  const ScenarioFile file("seed = 9\nduration_us = 5_000_000\n");
  const auto plan = good_plan_of({"--scenario", file.path()});
  EXPECT_EQ(plan.first_seed, 9U);
  EXPECT_EQ(plan.runs, 1U);
  EXPECT_EQ(scenario_of(plan, plan.first_seed).duration, 5 * k_s);
  const auto other = good_plan_of({"--scenario", file.path(), "--seed", "3", "--runs", "2"});
  EXPECT_EQ(scenario_of(other, 4).seed, 4U);
}

TEST(SimulatePlan, choices_in_a_file_are_one_run_that_no_seed_changes) {
  const ScenarioFile file("seed = 9\nchoices = [[3, 1]]\n");
  good_plan_of({"--scenario", file.path()});
  const auto plan = plan_of({"--scenario", file.path(), "--seed", "3"});
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("leave out --seed"));
}

TEST(SimulatePlan, a_key_that_is_not_known_is_refused_by_its_line) {
  const ScenarioFile file("seed = 9\ncolour = 'red'\n");
  const auto plan = plan_of({"--scenario", file.path()});
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(plan.error().message, HasSubstr("line 2: colour"));
}

TEST(SimulatePlan, the_command_that_repeats_a_run_means_the_same_run) {
  EXPECT_EQ(command_that_repeats(good_plan_of({}), 7), "atlasflow simulate --seed 7");
  EXPECT_EQ(command_that_repeats(good_plan_of({"--swarm", "--runs", "9", "--once"}), 7),
            "atlasflow simulate --swarm --seed 7");
  EXPECT_EQ(command_that_repeats(good_plan_of({"--swarm", "--time", "3600s"}), 7),
            "atlasflow simulate --swarm --time 1h --seed 7");
  EXPECT_EQ(command_that_repeats(good_plan_of({"--exhaustive", "--time", "90s"}), 7),
            "atlasflow simulate --time 90s --exhaustive --seed 7");
  EXPECT_EQ(command_that_repeats(good_plan_of({"--from-log", "/var/lib/a b", "--at", "5"}), 7),
            "atlasflow simulate --from-log '/var/lib/a b' --at 5 --seed 7");
}

TEST(SimulatePlan, a_files_own_seed_is_not_repeated_and_its_name_is_quoted) {
  const ScenarioFile file("seed = 9\n");
  const auto plan = good_plan_of({"--scenario", file.path()});
  auto quoted = std::string(file.path());
  quoted.replace(quoted.find('\''), 1, "'\\''");
  EXPECT_EQ(command_that_repeats(plan, 9), "atlasflow simulate --scenario '" + quoted + "'");
  EXPECT_THAT(command_that_repeats(plan, 10), HasSubstr(" --seed 10"));
}

// ---- what it prints ----

sim::FleetFailure failure_of(std::uint64_t seed) {
  sim::FleetFailure failure;
  failure.seed = seed;
  failure.violation = {"never-an-older-commit", "push 3 was routed after push 4"};
  failure.report.violation = failure.violation;
  for (int i = 1; i <= 40; ++i) failure.report.story.push_back("step " + std::to_string(i) + ".");
  failure.report.events = {"17 Routed \x1b[2J"};
  return failure;
}

std::string printed(const SimulatePlan& plan, const sim::FleetReport& report) {
  std::ostringstream out;
  print_report(plan, report, "0123456789ab", out);
  return out.str();
}

sim::FleetReport report_of_runs(std::uint64_t runs) {
  sim::FleetReport report;
  report.runs = runs;
  report.deployments = 24'130;
  report.routed = 19'020;
  report.lives = 312;
  report.virtual_time = 6000 * k_s;
  report.real_time = 4 * k_s;
  report.memory_max_kib = 41 * 1024;
  report.probes = {{"actors/a.cpp", 12, "the builders' queue was full", 0},
                   {"actors/b.cpp", 7, "a push came twice", 3}};
  report.sites = {{"storage/c.cpp", 9, "the log waits", 0}};
  return report;
}

TEST(SimulateReport, runs_that_held_are_one_line_and_the_marks_another) {
  const auto text = printed(good_plan_of({}), report_of_runs(1000));
  EXPECT_EQ(text,
            "1,000 runs held: 24,130 deployments (19,020 routed) over 312 lives of the server, "
            "1 h 40 min of virtual time in 4.0 s: 6,032 deployments/s, 1,500 × real time; at most "
            "41.0 MiB per process\n"
            "1 of 2 probes and 0 of 1 buggify sites were reached; --probes lists the others.\n");
}

TEST(SimulateReport, probes_are_listed_when_no_run_reached_them) {
  const auto text = printed(good_plan_of({"--probes"}), report_of_runs(10));
  EXPECT_THAT(text, HasSubstr("actors/a.cpp:12  the builders' queue was full\n"));
  EXPECT_THAT(text, HasSubstr("storage/c.cpp:9  the log waits\n"));
  EXPECT_THAT(text, Not(HasSubstr("actors/b.cpp")));
}

TEST(SimulateReport, a_failure_has_its_seed_build_sentence_end_and_what_repeats_it) {
  auto report = report_of_runs(50);
  report.failures = {failure_of(7), failure_of(9)};
  const auto text = printed(good_plan_of({"--swarm"}), report);
  EXPECT_THAT(text, HasSubstr("Seed 7 broke \"never-an-older-commit\": push 3 was routed"));
  EXPECT_THAT(text, HasSubstr("build 0123456789ab"));
  EXPECT_THAT(text, HasSubstr("without the first 15:\n  step 16.\n"));
  EXPECT_THAT(text, HasSubstr("step 40."));
  EXPECT_THAT(text, HasSubstr("17 Routed"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, HasSubstr(" atlasflow simulate --swarm --seed 7\n"));
  EXPECT_THAT(text, HasSubstr(" atlasflow simulate --swarm --seed 7 --shrink\n"));
  EXPECT_THAT(text, HasSubstr("\nSeed 9 broke"));
  EXPECT_THAT(text, HasSubstr("2 of 50 runs failed: "));
}

TEST(SimulateReport, a_run_that_aborted_has_no_smaller_one_and_says_its_last_words) {
  sim::FleetReport report;
  report.runs = 1;
  report.real_time = k_s;
  sim::FleetFailure failure;
  failure.seed = 7;
  failure.violation = {"aborts", "signal 6"};
  failure.output = "fold.cpp:7: broken invariant\n";
  report.failures = {failure};
  const auto text = printed(good_plan_of({"--seed", "7"}), report);
  EXPECT_THAT(text, HasSubstr("fold.cpp:7: broken invariant"));
  EXPECT_THAT(text, HasSubstr("atlasflow simulate --seed 7\n"));
  EXPECT_THAT(text, Not(HasSubstr("--shrink")));
}

}  // namespace
}  // namespace atlasflow::cli
