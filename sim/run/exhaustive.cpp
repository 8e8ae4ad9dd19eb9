#include "sim/run/exhaustive.hpp"

#include <utility>

namespace atlasflow::sim {
namespace {

class Search {
 public:
  Search(const Scenario& scenario, Fibers& fibers) : scenario_(scenario), fibers_(fibers) {}

  // The moments of that run, or nothing once one broke an invariant.
  std::optional<std::uint64_t> moments_of(std::optional<std::uint64_t> crash_at,
                                          std::optional<std::uint64_t> crash_again_at = {}) {
    RunOptions options;
    options.crash_at = crash_at;
    options.crash_again_at = crash_again_at;
    auto report = run(scenario_, fibers_, options);
    ++found.runs;
    const auto moments = report.moments;
    const bool failed = report.violation.has_value();
    if (failed || !crash_at) found.report = std::move(report);
    if (!crash_at) found.moments = moments;
    if (!failed) return moments;
    found.failing_at = crash_at;
    found.failing_again_at = crash_again_at;
    return std::nullopt;
  }

  ExhaustiveReport found;

 private:
  const Scenario& scenario_;
  Fibers& fibers_;
};

ExhaustiveReport search(const Scenario& scenario, Fibers& fibers, bool twice) {
  Search search(scenario, fibers);
  const auto moments = search.moments_of(std::nullopt);
  for (std::uint64_t first = 0; moments && first < *moments; ++first) {
    const auto after = search.moments_of(first);
    if (!after) break;
    for (auto second = first + 1; twice && second < *after; ++second) {
      if (!search.moments_of(first, second)) return std::move(search.found);
    }
  }
  return std::move(search.found);
}

}  // namespace

ExhaustiveReport run_exhaustively(const Scenario& scenario, Fibers& fibers) {
  return search(scenario, fibers, false);
}

ExhaustiveReport run_exhaustively_twice(const Scenario& scenario, Fibers& fibers) {
  return search(scenario, fibers, true);
}

}  // namespace atlasflow::sim
