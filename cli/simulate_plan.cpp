#include "cli/simulate_plan.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/duration.hpp"
#include "base/file.hpp"

namespace atlasflow::cli {
namespace {

constexpr TimestampUs k_second = 1'000'000;
constexpr TimestampUs k_usual_duration = 60 * k_second;
constexpr std::uint64_t k_usual_runs = 100;
constexpr std::uint64_t k_runs_max = 1'000'000'000;
constexpr std::uint64_t k_jobs_limit = 256;
constexpr std::uint64_t k_scenario_bytes_max = 16U << 20U;

Result<void> refuse(std::string sentence) {
  return fail(ErrorCode::invalid_argument, std::move(sentence));
}

Result<std::uint64_t> number_from(const char* option, const std::string& text, std::uint64_t low,
                                  std::uint64_t high) {
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec == std::errc{} && parsed.ptr == end && number >= low && number <= high) {
    return number;
  }
  return fail(ErrorCode::invalid_argument,
              fmt::format("{} takes a whole number from {} to {}, not '{}'", option, low, high,
                          text.substr(0, 40)));
}

Result<TimestampUs> duration_from(const std::string& text) {
  if (const auto duration = parse_duration_us(text);
      duration && *duration > 0 && *duration <= sim::k_scenario_max) {
    return *duration;
  }
  return fail(ErrorCode::invalid_argument,
              "--time takes a duration from 1ms to 366d such as 60s, 10m, 24h or 365d, not '" +
                  text.substr(0, 40) + "'");
}

Result<sim::Scenario> scenario_in(const std::string& file) {
  const auto text = read_file(file, k_scenario_bytes_max);
  if (!text) {
    return fail(
        ErrorCode::invalid_argument, "the scenario " + file + " cannot be read",
        text.error().code == ErrorCode::too_large ? text.error().message : text.error().cause);
  }
  return sim::parsed_scenario(*text, file);
}

// Of two options that do not go together, what the second one would do for nothing.
Result<void> check_pairs(const SimulateCommand& command) {
  const bool file = !command.scenario_file.empty();
  const bool seeded = command.seed.has_value();
  if (file && command.swarm) {
    return refuse("--swarm draws its scenarios, and --scenario names one; leave out one of them");
  }
  if (file && command.time) {
    return refuse("a scenario's duration stands in its file; leave out --time");
  }
  if (command.at && command.from_log.empty()) {
    return refuse("--at is a position in the log of --from-log, which is missing");
  }
  if (command.shrink && !seeded && !file) {
    return refuse("--shrink needs the --seed or the --scenario of the run that fails");
  }
  if (command.shrink && command.exhaustive) {
    return refuse("--shrink makes one run smaller, and --exhaustive is many; leave out one");
  }
  if (command.exhaustive && !command.from_log.empty()) {
    return refuse("--exhaustive begins with an empty log; leave out --from-log");
  }
  for (const auto& [given, option] :
       {std::pair{command.shrink, "--shrink"}, std::pair{command.exhaustive, "--exhaustive"}}) {
    if (!given) continue;
    if (command.runs) return refuse(fmt::format("{} is about one seed; leave out --runs", option));
    if (command.jobs || command.once || command.probes) {
      return refuse(fmt::format(
          "{} is one process that counts no marks; leave out --jobs, --once and --probes", option));
    }
  }
  return {};
}

Result<void> take_numbers(const SimulateCommand& command, const SimulateDefaults& defaults,
                          SimulatePlan& plan) {
  plan.first_seed = defaults.seed;
  plan.jobs = std::clamp(defaults.cores, 1, static_cast<int>(k_jobs_limit));
  const bool one = command.seed || command.time || !command.scenario_file.empty() ||
                   !command.from_log.empty() || command.exhaustive;
  plan.runs = one ? 1 : k_usual_runs;
  if (command.seed) {
    ATLAS_TRY(const auto seed, number_from("--seed", *command.seed, 0, UINT64_MAX));
    plan.first_seed = seed;
  }
  if (command.runs) {
    ATLAS_TRY(const auto runs, number_from("--runs", *command.runs, 1, k_runs_max));
    plan.runs = runs;
  }
  if (command.jobs) {
    ATLAS_TRY(const auto jobs, number_from("--jobs", *command.jobs, 1, k_jobs_limit));
    plan.jobs = static_cast<int>(jobs);
  }
  if (command.at) {
    ATLAS_TRY(const auto at, number_from("--at", *command.at, 0, UINT64_MAX));
    plan.at = Position{at};
  }
  if (command.time) {
    ATLAS_TRY(const auto duration, duration_from(*command.time));
    plan.duration = duration;
  }
  return {};
}

Result<void> take_file(const SimulateCommand& command, SimulatePlan& plan) {
  if (command.scenario_file.empty()) return {};
  ATLAS_TRY(auto scenario, scenario_in(command.scenario_file));
  if (scenario.choices && (command.seed || command.runs)) {
    return refuse(command.scenario_file +
                  " holds the choices of one run, which a seed would not change; leave out --seed "
                  "and --runs");
  }
  plan.file = command.scenario_file;
  plan.from_file = std::move(scenario);
  if (!command.seed) plan.first_seed = plan.from_file.seed;
  return {};
}

std::string for_shell(const std::string& word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("/._-+=:,@").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, plain)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace

Result<SimulatePlan> simulate_plan(const SimulateCommand& command,
                                   const SimulateDefaults& defaults) {
  SimulatePlan plan;
  plan.swarm = command.swarm;
  plan.once = command.once;
  plan.shrink = command.shrink;
  plan.exhaustive = command.exhaustive;
  plan.probes = command.probes;
  plan.history = command.from_log;
  ATLAS_TRYV(check_pairs(command));
  ATLAS_TRYV(take_numbers(command, defaults, plan));
  ATLAS_TRYV(take_file(command, plan));
  if (plan.runs - 1 > UINT64_MAX - plan.first_seed) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("{} runs from seed {} on go beyond the last seed, {}", plan.runs,
                            plan.first_seed, UINT64_MAX));
  }
  return plan;
}

sim::Scenario scenario_of(const SimulatePlan& plan, std::uint64_t seed) {
  if (!plan.file.empty()) {
    auto scenario = plan.from_file;
    scenario.seed = seed;
    return scenario;
  }
  if (plan.swarm) return sim::drawn_scenario(seed, plan.duration.value_or(0));
  return sim::standard_scenario(seed, plan.duration.value_or(k_usual_duration));
}

std::string name_of_scenario(const SimulatePlan& plan) {
  std::string name;
  if (!plan.file.empty()) {
    name = "the scenario " + plan.file;
  } else if (plan.swarm) {
    name = "a scenario drawn for each seed";
    if (plan.duration) name += ", of " + duration_text(*plan.duration);
  } else {
    name = "the standard scenario of " + duration_text(plan.duration.value_or(k_usual_duration));
  }
  if (plan.history.empty()) return name;
  return fmt::format("{}, from position {} of {}", name, plan.at.value(), plan.history.string());
}

std::string command_that_repeats(const SimulatePlan& plan, std::uint64_t seed) {
  std::string command = "atlasflow simulate";
  if (plan.swarm) command += " --swarm";
  if (plan.duration) command += " --time " + duration_text(*plan.duration);
  if (!plan.file.empty()) command += " --scenario " + for_shell(plan.file);
  if (!plan.history.empty()) {
    command += " --from-log " + for_shell(plan.history.string()) + " --at " +
               std::to_string(plan.at.value());
  }
  if (plan.exhaustive) command += " --exhaustive";
  if (plan.file.empty() || seed != plan.from_file.seed) {
    command += " --seed " + std::to_string(seed);
  }
  return command;
}

}  // namespace atlasflow::cli
