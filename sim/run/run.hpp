// One simulated run, from an empty log to rest: a scenario carried out on the production actors,
// with every invariant watched. One thread; runs on different threads share nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "sim/checkers/invariants.hpp"
#include "sim/run/history.hpp"
#include "sim/run/scenario.hpp"
#include "sim/world/fibers.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::sim {

struct RunOptions {
  // Kills the server at its n-th moment: after every append, and before and after every effect.
  std::optional<std::uint64_t> crash_at;
  std::optional<std::uint64_t> crash_again_at;  // and once more, at a later one
  // Another heap, other actor ids: nothing of the run may differ.
  bool noise = false;
  // Lives begin from snapshots, where this kind of run has them; they change nothing of it.
  bool snapshots = true;
  // What the run goes on from, in place of an empty log; its projects and hosts are the run's, and
  // the log lies in memory whatever the scenario says. It is copied: any number of runs may share
  // it.
  std::shared_ptr<const History> history;
};

struct RunReport {
  std::optional<Violation> violation;
  std::uint64_t trace = 0;  // see Choices::trace
  storage::ChainHash chain{};
  std::uint64_t moments = 0;  // at which it could have been killed
  std::uint64_t steps = 0;
  std::size_t lives = 0;
  std::size_t deployments = 0;
  std::size_t routed = 0;
  std::size_t ended = 0;
  TimestampUs virtual_time = 0;
  std::vector<std::uint32_t> choices;
  std::vector<std::string> story;             // what was done to it, in order
  std::vector<std::string> events;            // the newest of the log
  std::shared_ptr<storage::MemoryStore> log;  // null when it lay on a disk
};

[[nodiscard]] RunReport run(const Scenario& scenario, Fibers& fibers,
                            const RunOptions& options = {});

}  // namespace atlasflow::sim
