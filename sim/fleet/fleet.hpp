// Many runs over several processes: one process per job, so that a run that aborts takes only its
// own process along, and is reported like one that broke an invariant. Single-threaded before the
// call, since it forks. Runs of one seed are the same in whichever process they happen.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/run/run.hpp"

namespace atlasflow::sim {

struct FleetConfig {
  std::uint64_t first_seed = 1;
  std::uint64_t runs = 1;
  int jobs = 1;
  bool twice = true;  // each seed once more with another heap; a difference is a failure
  std::optional<TimestampUs> stop_after_real_us;  // then no further seed is begun
  std::size_t failures_max = 10;                  // the same
  TimestampUs hang_after_real_us = 60'000'000;    // of one seed
  std::function<Scenario(std::uint64_t seed)> scenario;
  // Asked before every run, in the process of the run; noise is the fleet's to set.
  std::function<RunOptions()> options;
  // Told about once a second how many runs are done and how many of them failed.
  std::function<void(std::uint64_t runs, std::size_t failures)> progress;
};

struct FleetFailure {
  std::uint64_t seed = 0;
  Violation violation;  // "aborts", "hangs" and "deterministic" besides those of Invariants
  RunReport report;     // empty when it aborted or hung
  std::string output;   // what it said last then, without the deaths that were injected
};

struct Reached {
  std::string file;
  int line = 0;
  std::string text;
  std::uint64_t count = 0;
};

struct FleetReport {
  std::uint64_t runs = 0;
  std::uint64_t steps = 0;
  std::uint64_t lives = 0;
  std::uint64_t deployments = 0;
  std::uint64_t routed = 0;
  TimestampUs virtual_time = 0;
  TimestampUs real_time = 0;
  std::uint64_t memory_max_kib = 0;    // the most that one process has used
  std::vector<FleetFailure> failures;  // in the order of their seeds
  std::vector<Reached> probes;         // all of the binary, also those that were never reached
  std::vector<Reached> sites;          // of buggify
};

// invalid_argument: no jobs, or too many.
[[nodiscard]] Result<FleetReport> run_fleet(const FleetConfig& config);

}  // namespace atlasflow::sim
