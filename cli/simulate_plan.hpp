// What `atlasflow simulate` was asked to do, checked and completed: which scenario with which
// seeds, and the command that repeats one of its runs. Values; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "cli/command_line.hpp"
#include "events/ids.hpp"
#include "sim/run/scenario.hpp"

namespace atlasflow::cli {

struct SimulatePlan {
  std::uint64_t first_seed = 0;
  std::uint64_t runs = 1;
  int jobs = 1;
  bool swarm = false;
  bool once = false;
  bool shrink = false;
  bool exhaustive = false;
  bool probes = false;
  std::optional<TimestampUs> duration;  // of each run; unset: the scenario's own
  std::string file;                     // empty: the scenario is drawn or the standard one
  sim::Scenario from_file;
  std::filesystem::path history;  // the folder of an event log; empty: from nothing
  Position at;                    // of the history; 0: its end
};

// What the machine has to say.
struct SimulateDefaults {
  std::uint64_t seed = 1;  // one that was not used before
  int cores = 1;
};

// Reads the scenario's file. invalid_argument says which option is wrong and what it takes.
[[nodiscard]] Result<SimulatePlan> simulate_plan(const SimulateCommand& command,
                                                 const SimulateDefaults& defaults);

[[nodiscard]] sim::Scenario scenario_of(const SimulatePlan& plan, std::uint64_t seed);

// "the standard scenario of 60s".
[[nodiscard]] std::string name_of_scenario(const SimulatePlan& plan);

// "atlasflow simulate --swarm --seed 7", for a shell.
[[nodiscard]] std::string command_that_repeats(const SimulatePlan& plan, std::uint64_t seed);

}  // namespace atlasflow::cli
