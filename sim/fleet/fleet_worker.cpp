#include "sim/fleet/fleet_worker.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buggify.hpp"
#include "base/file.hpp"
#include "sim/fleet/child.hpp"

namespace atlasflow::sim {
namespace {

using nlohmann::json;

// Adds what was counted since the last time.
void count_marks(FleetBoard& board) {
  std::size_t i = 0;
  for (const auto& probe : probes()) {
    if (i < k_marks_max) board.marks[i++] += probe.count;
  }
  for (const auto& site : buggify_sites()) {
    if (i < k_marks_max) board.marks[i++] += site.count;
  }
  reset_probes();
  reset_buggify_sites();
}

void count_memory(FleetBoard& board) {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto used = static_cast<std::uint64_t>(usage.ru_maxrss);
  auto most = board.memory_max_kib.load();
  while (most < used && !board.memory_max_kib.compare_exchange_weak(most, used)) {
  }
}

void count_run(FleetBoard& board, const RunReport& report) {
  board.steps += report.steps;
  board.lives += report.lives;
  board.deployments += report.deployments;
  board.routed += report.routed;
  board.virtual_time += report.virtual_time;
}

std::string difference(const RunReport& first, const RunReport& second) {
  if (second.violation) {
    return fmt::format("the second run of the seed, on another heap, broke {}: {}",
                       second.violation->name, second.violation->sentence);
  }
  const auto [mine, other] = std::mismatch(first.choices.begin(), first.choices.end(),
                                           second.choices.begin(), second.choices.end());
  if (mine != first.choices.end() || other != second.choices.end()) {
    return fmt::format("two runs of the seed, on different heaps, part at choice {} of {}",
                       mine - first.choices.begin() + 1,
                       std::max(first.choices.size(), second.choices.size()));
  }
  return "two runs of the seed, on different heaps, made the same choices, and " +
         std::string(first.chain != second.chain ? "left different logs" : "between other ones");
}

RunReport run_once(const FleetConfig& config, const Scenario& scenario, Fibers& fibers,
                   bool noise) {
  auto options = config.options ? config.options() : RunOptions{};
  options.noise = noise;
  return run(scenario, fibers, options);
}

std::optional<FleetFailure> run_seed(const FleetWorker& worker, std::uint64_t seed,
                                     Fibers& fibers) {
  const auto scenario = worker.config.scenario(seed);
  auto report = run_once(worker.config, scenario, fibers, false);
  count_run(worker.board, report);
  std::optional<Violation> violation = report.violation;
  if (!violation && worker.config.twice) {
    const auto again = run_once(worker.config, scenario, fibers, true);
    if (again.trace != report.trace || again.chain != report.chain || again.violation) {
      violation = Violation{"deterministic", difference(report, again)};
    }
  }
  count_marks(worker.board);
  count_memory(worker.board);
  ++worker.board.runs;
  if (!violation) return std::nullopt;
  return FleetFailure{seed, *std::move(violation), std::move(report), ""};
}

}  // namespace

std::int64_t steady_now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(since).count();
}

std::string frame_of(const FleetFailure& failure) {
  const auto& report = failure.report;
  const json body = {{"seed", failure.seed},
                     {"name", failure.violation.name},
                     {"sentence", failure.violation.sentence},
                     {"trace", report.trace},
                     {"chain", report.chain},
                     {"moments", report.moments},
                     {"steps", report.steps},
                     {"lives", report.lives},
                     {"deployments", report.deployments},
                     {"routed", report.routed},
                     {"ended", report.ended},
                     {"virtual_time", report.virtual_time},
                     {"choices", report.choices},
                     {"story", report.story},
                     {"events", report.events}};
  // Unlike JSON's text, CBOR takes strings as they are.
  const auto bytes = json::to_cbor(body);
  std::string frame(sizeof(std::uint64_t), '\0');
  const std::uint64_t size = bytes.size();
  std::memcpy(frame.data(), &size, sizeof(size));
  frame.append(bytes.begin(), bytes.end());
  return frame;
}

std::optional<FleetFailure> take_frame(std::string& bytes) {
  std::uint64_t size = 0;
  if (bytes.size() < sizeof(size)) return std::nullopt;
  std::memcpy(&size, bytes.data(), sizeof(size));
  if (bytes.size() - sizeof(size) < size) return std::nullopt;
  const auto from = bytes.begin() + sizeof(size);
  const auto body = json::from_cbor(from, from + static_cast<std::ptrdiff_t>(size));
  bytes.erase(0, sizeof(size) + size);
  FleetFailure failure;
  body.at("seed").get_to(failure.seed);
  body.at("name").get_to(failure.violation.name);
  body.at("sentence").get_to(failure.violation.sentence);
  auto& report = failure.report;
  // A second run that differs is the fleet's finding; the first broke nothing then.
  if (failure.violation.name != "deterministic") report.violation = failure.violation;
  body.at("trace").get_to(report.trace);
  body.at("chain").get_to(report.chain);
  body.at("moments").get_to(report.moments);
  body.at("steps").get_to(report.steps);
  body.at("lives").get_to(report.lives);
  body.at("deployments").get_to(report.deployments);
  body.at("routed").get_to(report.routed);
  body.at("ended").get_to(report.ended);
  body.at("virtual_time").get_to(report.virtual_time);
  body.at("choices").get_to(report.choices);
  body.at("story").get_to(report.story);
  body.at("events").get_to(report.events);
  return failure;
}

void work(const FleetWorker& worker) noexcept {
  become_child(worker.output);
  ::dup2(worker.output, STDOUT_FILENO);
  reset_probes();
  reset_buggify_sites();
  Fibers fibers;
  while (!worker.board.stop) {
    const auto number = worker.board.next++;
    if (number >= worker.config.runs) break;
    const auto seed = worker.config.first_seed + number;
    static_cast<void>(::ftruncate(worker.output, 0));
    worker.place.seed = seed;
    worker.place.begun_at = steady_now();
    const auto failure = run_seed(worker, seed, fibers);
    worker.place.begun_at = 0;
    if (failure && !write_all(worker.results, frame_of(*failure), "the fleet's pipe")) {
      ::_exit(1);
    }
  }
  ::_exit(0);
}

}  // namespace atlasflow::sim
