// Many runs over processes: the same answers however they are spread, and a run that takes its
// process along takes nothing else.
#include "sim/fleet/fleet.hpp"

#include <chrono>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/assert.hpp"
#include "base/probe.hpp"
#include "sim/fleet/fleet_worker.hpp"

namespace atlasflow::sim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// Two pushes and a kill in between.
Scenario small_scenario(std::uint64_t seed) {
  constexpr TimestampUs k_s = 1'000'000;
  Scenario scenario;
  scenario.seed = seed;
  scenario.duration = 20 * k_s;
  Step push{2 * k_s, StepKind::push, 0, 0, 0, AppKind::good};
  const Step kill{3 * k_s, StepKind::kill_server, 0, 0, k_s, AppKind::good};
  scenario.steps = {push, kill};
  push.at = 9 * k_s;
  scenario.steps.push_back(push);
  return scenario;
}

FleetConfig fleet_of(std::uint64_t runs, int jobs) {
  FleetConfig config;
  config.runs = runs;
  config.jobs = jobs;
  config.twice = false;
  config.scenario = small_scenario;
  return config;
}

FleetReport report_of(const FleetConfig& config) {
  auto report = run_fleet(config);
  EXPECT_TRUE(report) << to_string(report.error());
  return report ? *std::move(report) : FleetReport{};
}

std::vector<std::uint64_t> counts(const std::vector<Reached>& marks) {
  std::vector<std::uint64_t> all;
  for (const auto& mark : marks) all.push_back(mark.count);
  return all;
}

TEST(Fleet, what_comes_out_does_not_depend_on_the_number_of_processes) {
  const auto one = report_of(fleet_of(12, 1));
  const auto three = report_of(fleet_of(12, 3));
  EXPECT_THAT(one.failures, IsEmpty());
  EXPECT_EQ(one.runs, 12U);
  EXPECT_EQ(one.deployments, 24U);
  EXPECT_EQ(one.lives, 24U);
  EXPECT_GT(one.virtual_time, 12 * 20'000'000);
  EXPECT_EQ(three.runs, one.runs);
  EXPECT_EQ(three.steps, one.steps);
  EXPECT_EQ(three.lives, one.lives);
  EXPECT_EQ(three.deployments, one.deployments);
  EXPECT_EQ(three.routed, one.routed);
  EXPECT_EQ(three.virtual_time, one.virtual_time);
  EXPECT_EQ(counts(three.probes), counts(one.probes));
  EXPECT_GT(three.memory_max_kib, 0U);
}

TEST(Fleet, marks_that_no_run_reached_are_told_as_well) {
  reset_probes();  // of the tests before, when one process runs several
  const auto report = report_of(fleet_of(2, 1));
  EXPECT_EQ(report.probes.size(), probes().size());
  EXPECT_THAT(counts(report.probes), testing::Contains(0U));
  // The workers' counts are not this process's.
  for (const auto& probe : probes()) EXPECT_EQ(probe.count, 0U) << probe.text;
}

TEST(Fleet, a_run_that_aborts_is_told_with_its_seed_and_the_others_go_on) {
  auto config = fleet_of(9, 2);
  config.first_seed = 100;
  config.scenario = [](std::uint64_t seed) {
    ATLAS_ASSERT(seed != 104, "the seed of the test");
    return small_scenario(seed);
  };
  const auto report = report_of(config);
  EXPECT_EQ(report.runs, 9U);
  EXPECT_EQ(report.deployments, 16U);
  ASSERT_EQ(report.failures.size(), 1U);
  const auto& failure = report.failures.front();
  EXPECT_EQ(failure.seed, 104U);
  EXPECT_EQ(failure.violation.name, "aborts");
  EXPECT_THAT(failure.violation.sentence, HasSubstr("signal 6"));
  EXPECT_THAT(failure.output, HasSubstr("the seed of the test"));
}

TEST(Fleet, an_exception_that_nobody_catches_is_an_abort_that_says_what_it_said) {
  auto config = fleet_of(1, 1);
  config.scenario = [](std::uint64_t) -> Scenario {
    std::fputs("*** unhandled exception: injected: the builder dies\n", stderr);
    throw std::runtime_error("a book without pages");
  };
  const auto report = report_of(config);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].violation.name, "aborts");
  EXPECT_THAT(report.failures[0].violation.sentence, HasSubstr("a book without pages"));
  EXPECT_THAT(report.failures[0].output, Not(HasSubstr("injected")));
}

TEST(Fleet, a_run_that_hangs_is_ended_and_the_others_go_on) {
  auto config = fleet_of(4, 1);
  config.hang_after_real_us = 2'000'000;
  config.scenario = [](std::uint64_t seed) {
    while (seed == 2) std::this_thread::sleep_for(std::chrono::seconds(1));
    return small_scenario(seed);
  };
  const auto report = report_of(config);
  EXPECT_EQ(report.runs, 4U);
  EXPECT_EQ(report.deployments, 6U);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_EQ(report.failures[0].seed, 2U);
  EXPECT_EQ(report.failures[0].violation.name, "hangs");
}

TEST(Fleet, each_seed_runs_once_more_and_must_do_the_same) {
  auto config = fleet_of(5, 2);
  config.twice = true;
  EXPECT_THAT(report_of(config).failures, IsEmpty());
}

TEST(Fleet, a_second_run_that_differs_is_a_failure) {
  auto config = fleet_of(2, 1);
  config.twice = true;
  // Every other run is killed once more than the one before.
  config.options = [calls = 0]() mutable {
    RunOptions options;
    if (calls++ % 2 == 1) options.crash_at = 3;
    return options;
  };
  const auto report = report_of(config);
  ASSERT_EQ(report.failures.size(), 2U);
  EXPECT_EQ(report.failures[0].seed, 1U);
  EXPECT_EQ(report.failures[1].seed, 2U);
  EXPECT_EQ(report.failures[0].violation.name, "deterministic");
  EXPECT_THAT(report.failures[0].violation.sentence, HasSubstr("choice"));
  EXPECT_THAT(report.failures[0].report.story, Not(IsEmpty()));
}

TEST(Fleet, no_seed_is_begun_after_as_many_failures_as_were_asked_for) {
  auto config = fleet_of(1000, 1);
  config.failures_max = 3;
  config.scenario = [](std::uint64_t) -> Scenario { std::abort(); };
  const auto report = report_of(config);
  EXPECT_EQ(report.runs, 3U);
  EXPECT_EQ(report.failures.size(), 3U);
}

TEST(Fleet, no_seed_is_begun_after_its_time) {
  auto config = fleet_of(1'000'000'000, 2);
  config.stop_after_real_us = 300'000;
  const auto report = report_of(config);
  EXPECT_THAT(report.failures, IsEmpty());
  EXPECT_GT(report.runs, 0U);
  EXPECT_LT(report.real_time, 20'000'000);
}

TEST(Fleet, jobs_are_at_least_one_and_not_too_many) {
  for (const int jobs : {0, -1, 100'000}) {
    const auto report = run_fleet(fleet_of(1, jobs));
    ASSERT_FALSE(report) << jobs;
    EXPECT_EQ(report.error().code, ErrorCode::invalid_argument);
  }
}

TEST(FleetFrame, a_failure_survives_its_way_through_the_pipe_in_pieces) {
  FleetFailure failure;
  failure.seed = 0xFFFF'FFFF'FFFF'FFFFU;
  failure.violation = {"one-route-per-host", "a host twice"};
  failure.report.violation = failure.violation;
  failure.report.trace = 0x8000'0000'0000'0001U;
  failure.report.chain[31] = 7;
  failure.report.virtual_time = 77;
  failure.report.choices = {0, 4'294'967'295U, 3};
  failure.report.story = {"a push", "cut off in a character: \xE2\x80"};
  failure.report.events = {"1 PushReceived"};
  const auto frame = frame_of(failure);
  std::string bytes;
  for (const char byte : frame.substr(0, frame.size() - 1)) {
    bytes += byte;
    ASSERT_FALSE(take_frame(bytes));
  }
  bytes += frame.back();
  bytes += "rest";
  const auto taken = take_frame(bytes);
  ASSERT_TRUE(taken);
  EXPECT_EQ(bytes, "rest");
  EXPECT_EQ(taken->seed, failure.seed);
  EXPECT_EQ(taken->violation.name, "one-route-per-host");
  ASSERT_TRUE(taken->report.violation);
  EXPECT_EQ(taken->report.trace, failure.report.trace);
  EXPECT_EQ(taken->report.chain, failure.report.chain);
  EXPECT_EQ(taken->report.virtual_time, 77);
  EXPECT_EQ(taken->report.choices, failure.report.choices);
  EXPECT_EQ(taken->report.story, failure.report.story);
  EXPECT_THAT(taken->report.events, ElementsAre("1 PushReceived"));
}

}  // namespace
}  // namespace atlasflow::sim
