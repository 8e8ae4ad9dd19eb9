// The verb `simulate`: what it runs.
#include <cstdlib>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "cli/format.hpp"
#include "cli/server_verbs.hpp"
#include "cli/simulate_plan.hpp"
#include "cli/simulate_report.hpp"
#include "server/process_setup.hpp"
#include "sim/fleet/apart.hpp"
#include "sim/fleet/fleet.hpp"
#include "sim/fleet/fleet_worker.hpp"
#include "sim/run/exhaustive.hpp"
#include "sim/run/history.hpp"
#include "sim/run/shrink.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t k_shrink_runs_max = 3000;
// A run is taken for hanging when its virtual time goes by as slowly as this, and a minute more.
constexpr TimestampUs k_slowest = 2000;
constexpr TimestampUs k_minute = 60'000'000;

// ---- from a real log ----

fs::path log_folder(const fs::path& given) {
  std::error_code ignored;
  return fs::is_directory(given / "events", ignored) ? given / "events" : given;
}

// In a process of its own, as opening the log starts threads.
Result<Position> check_history(const SimulatePlan& plan) {
  ATLAS_TRY(const auto end, sim::apart([&]() -> Result<std::string> {
              ATLAS_TRY(auto history, sim::history_from_log(log_folder(plan.history), plan.at));
              return std::to_string(history.position.value());
            }));
  return Position{std::strtoull(end.c_str(), nullptr, 10)};
}

// Asked in the process that runs; the log is read there once.
std::function<sim::RunOptions()> options_of(const SimulatePlan& plan) {
  if (plan.history.empty()) return [] { return sim::RunOptions{}; };
  return [plan, read = std::shared_ptr<const sim::History>()]() mutable {
    if (!read) {
      auto history = sim::history_from_log(log_folder(plan.history), plan.at);
      if (!history) throw std::runtime_error(to_string(history.error()));
      read = std::make_shared<const sim::History>(*std::move(history));
    }
    sim::RunOptions options;
    options.history = read;
    return options;
  };
}

// ---- many runs ----

TimestampUs hang_limit(const SimulatePlan& plan) {
  const auto span = plan.file.empty() ? plan.duration.value_or(0) : plan.from_file.duration;
  return k_minute + span / k_slowest;
}

int run_fleet_of(const SimulatePlan& plan, const Terminal& terminal) {
  sim::FleetConfig config;
  config.first_seed = plan.first_seed;
  config.runs = plan.runs;
  config.jobs =
      static_cast<int>(std::min<std::uint64_t>(plan.runs, static_cast<unsigned>(plan.jobs)));
  config.twice = !plan.once;
  config.hang_after_real_us = hang_limit(plan);
  config.scenario = [&](std::uint64_t seed) { return scenario_of(plan, seed); };
  config.options = options_of(plan);
  const bool watched = ::isatty(STDERR_FILENO) == 1;
  if (watched) {
    config.progress = [&](std::uint64_t runs, std::size_t failures) {
      terminal.err << fmt::format("\r\033[K{} of {} runs, {} failed", runs, plan.runs, failures)
                   << std::flush;
    };
  }
  const auto report = sim::run_fleet(config);
  if (watched) terminal.err << "\r\033[K" << std::flush;
  if (!report) return cli::report(terminal, report.error());
  print_report(plan, *report, server::own_build_id(), terminal.out);
  return report->failures.empty() ? k_exit_ok : k_exit_failed;
}

// ---- one run, made smaller ----

// What comes back from the process in which it was done.
std::string packed(const sim::RunReport& report, std::uint64_t runs, const std::string& text) {
  sim::FleetFailure failure;
  failure.seed = runs;
  failure.violation = report.violation.value_or(sim::Violation{});
  failure.report = report;
  return sim::frame_of(failure) + text;
}

std::string scenario_file_name(const SimulatePlan& plan, const std::string& violation) {
  return fmt::format("{}-seed-{}.toml", violation, plan.first_seed);
}

Result<std::string> shrink_here(const SimulatePlan& plan, std::ostream& out) {
  sim::Fibers fibers;
  const auto options = options_of(plan);
  auto shrunk = sim::shrink(
      scenario_of(plan, plan.first_seed), fibers, k_shrink_runs_max,
      [&, told = std::pair<std::size_t, std::size_t>()](std::size_t steps,
                                                        std::size_t choices) mutable {
        if (std::exchange(told, {steps, choices}) == told) return;
        out << "  " << steps << " steps, " << choices << " choices that are not 0\n" << std::flush;
      },
      [&](const sim::Scenario& scenario) { return sim::run(scenario, fibers, options()); });
  const auto& violation = shrunk.report.violation;
  if (violation) {
    shrunk.scenario.name = violation->name;
    shrunk.scenario.why = violation->sentence;
  }
  return packed(shrunk.report, shrunk.runs, sim::text_of(shrunk.scenario));
}

int shrink_one(const SimulatePlan& plan, const Terminal& terminal) {
  terminal.out << "Making seed " << plan.first_seed << " smaller (" << name_of_scenario(plan)
               << "):\n"
               << std::flush;
  auto answer = sim::apart([&] { return shrink_here(plan, terminal.out); });
  if (!answer) {
    terminal.err << "atlasflow: a run aborts and cannot be made smaller: "
                 << printable(to_string(answer.error())) << "\n";
    return k_exit_failed;
  }
  const auto shrunk = sim::take_frame(*answer);
  if (!shrunk || shrunk->violation.name.empty()) {
    terminal.err << "atlasflow: seed " << plan.first_seed
                 << " breaks nothing, so there is nothing to make smaller\n";
    return k_exit_usage;
  }
  auto small = plan;
  small.swarm = false;
  small.duration.reset();
  small.file = scenario_file_name(plan, shrunk->violation.name);
  small.from_file.seed = plan.first_seed;
  std::ofstream file(small.file);
  file << *answer << std::flush;
  if (!file) {
    terminal.err << "atlasflow: " << small.file << " cannot be written here\n";
    return k_exit_failed;
  }
  auto& out = terminal.out;
  out << "\nThe smallest found in " << grouped(shrunk->seed) << " runs still breaks \""
      << shrunk->violation.name << "\": " << printable(shrunk->violation.sentence) << "\n(build "
      << server::own_build_id() << ")\n\n";
  print_story(shrunk->report, out);
  out << "\nIt is written to:  " << small.file << "\n"
      << "Repeat it:         " << command_that_repeats(small, plan.first_seed) << "\n";
  return k_exit_failed;
}

// ---- a kill at every moment ----

Result<std::string> run_exhaustively_here(const SimulatePlan& plan) {
  sim::Fibers fibers;
  const auto all = sim::run_exhaustively(scenario_of(plan, plan.first_seed), fibers);
  json told = {{"moments", all.moments}};
  if (all.failing_at) told["failing_at"] = *all.failing_at;
  return packed(all.report, all.runs, told.dump());
}

int run_every_moment(const SimulatePlan& plan, const Terminal& terminal) {
  auto answer = sim::apart([&] { return run_exhaustively_here(plan); });
  if (!answer) {
    terminal.out << "Seed " << plan.first_seed
                 << " broke \"aborts\" in one of its runs: " << printable(to_string(answer.error()))
                 << "\n(build " << server::own_build_id() << ")\n"
                 << "\nRepeat it:         " << command_that_repeats(plan, plan.first_seed) << "\n";
    return k_exit_failed;
  }
  auto all = sim::take_frame(*answer);
  if (!all) {
    return report(terminal, {ErrorCode::internal, "the runs' answer cannot be read", {}});
  }
  const auto told = json::parse(*answer);
  const auto moments = told.at("moments").get<std::uint64_t>();
  const auto runs = std::exchange(all->seed, plan.first_seed);
  if (all->violation.name.empty()) {
    terminal.out << grouped(runs) << " runs held: the server was killed at each of its "
                 << grouped(moments) << " moments (" << name_of_scenario(plan) << ", seed "
                 << plan.first_seed << ").\n";
    return k_exit_ok;
  }
  if (told.contains("failing_at")) {
    terminal.out << "Killed at moment " << told["failing_at"] << " of " << moments << ":\n";
  }
  all->report.violation.reset();  // it cannot be made smaller: the kill is not one of its choices
  print_failure(plan, *all, server::own_build_id(), terminal.out);
  return k_exit_failed;
}

}  // namespace

int run(const SimulateCommand& command, const Connection& /*connection*/,
        const Terminal& terminal) {
  constexpr TimestampUs k_seeds = 1'000'000'000;
  SimulateDefaults defaults;
  defaults.seed = static_cast<std::uint64_t>(wall_clock() % k_seeds);
  defaults.cores = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  auto plan = simulate_plan(command, defaults);
  if (!plan) return report(terminal, plan.error());
  if (!plan->history.empty()) {
    const auto at = check_history(*plan);
    if (!at) {
      static_cast<void>(report(terminal, at.error()));
      return k_exit_usage;
    }
    plan->at = *at;
  }
  if (plan->shrink) return shrink_one(*plan, terminal);
  if (plan->exhaustive) return run_every_moment(*plan, terminal);
  const auto last = plan->first_seed + plan->runs - 1;
  terminal.out << (plan->runs == 1 ? "Seed " : fmt::format("Seeds {} to ", plan->first_seed))
               << last << ", " << name_of_scenario(*plan) << (plan->once ? "" : ", each twice")
               << "\n"
               << std::flush;
  return run_fleet_of(*plan, terminal);
}

}  // namespace atlasflow::cli
