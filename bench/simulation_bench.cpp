// How fast simulated servers live: whole lives of deployments with faults per second on one core,
// virtual time against real time, 10,000 seeds, and what more seeds and more cores come to. Prints
// a table and BAR lines; see bench/README.md.
#include <iostream>
#include <string>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "sim/fleet.hpp"

namespace {

using namespace atlasflow;
using namespace atlasflow::sim;

constexpr TimestampUs k_hour = 3600LL * 1'000'000;

double seconds(TimestampUs time) { return static_cast<double>(time) / 1e6; }

struct Measured {
  std::string what;
  FleetReport report;
  int jobs = 1;

  // When a run is over every deployment has ended or is live.
  [[nodiscard]] double lives_per_s() const {
    return static_cast<double>(report.deployments) / seconds(report.real_time);
  }
  [[nodiscard]] double speed() const {
    return seconds(report.virtual_time) / seconds(report.real_time);
  }
};

// Of runs that broke nothing: others are a matter for `atlasflow simulate`.
Measured measure(const std::string& what, std::uint64_t runs, int jobs, bool twice,
                 std::function<Scenario(std::uint64_t)> scenario) {
  FleetConfig config;
  config.runs = runs;
  config.jobs = jobs;
  config.twice = twice;
  config.scenario = std::move(scenario);
  auto report = run_fleet(config);
  if (!report) {
    std::cerr << to_string(report.error()) << std::endl;
    std::exit(1);
  }
  for (const auto& failure : report->failures) {
    std::cerr << "seed " << failure.seed << " broke " << failure.violation.name << ": "
              << failure.violation.sentence << std::endl;
  }
  if (!report->failures.empty()) std::exit(1);
  Measured measured{what, *std::move(report), jobs};
  const auto& found = measured.report;
  fmt::print("{:<34} {:>6} {:>5} {:>8.1f} {:>9} {:>9.0f} {:>10.0f} {:>8.2f} {:>8.1f}\n", what, runs,
             jobs, seconds(found.real_time), found.deployments, measured.lives_per_s(),
             measured.speed(), seconds(found.real_time) * 1e6 / static_cast<double>(found.steps),
             static_cast<double>(found.memory_max_kib) / 1024);
  std::cout << std::flush;
  return measured;
}

Scenario of_an_hour(std::uint64_t seed) { return standard_scenario(seed, k_hour); }
Scenario drawn(std::uint64_t seed) { return drawn_scenario(seed); }

}  // namespace

int main() {
  spdlog::set_level(spdlog::level::off);
  fmt::print("{:<34} {:>6} {:>5} {:>8} {:>9} {:>9} {:>10} {:>8} {:>8}\n", "", "runs", "jobs",
             "real s", "lives", "lives/s", "x realtime", "us/step", "MiB");
  const auto standard = measure("standard scenario, an hour each", 20, 1, false, of_an_hour);
  const auto once = measure("drawn seeds", 1'000, 1, false, drawn);
  const auto two_cores = measure("drawn seeds", 1'000, 2, false, drawn);
  const auto few = measure("drawn seeds, each twice", 1'000, 2, true, drawn);
  const auto many = measure("drawn seeds, each twice", 10'000, 2, true, drawn);
  const auto memory = [](const Measured& measured) {
    return static_cast<double>(measured.report.memory_max_kib);
  };
  fmt::print("BAR lifecycles_per_s_and_core {:.0f} >= 1000\n", standard.lives_per_s());
  fmt::print("BAR drawn_lifecycles_per_s_and_core {:.0f} >= 1000\n", once.lives_per_s());
  fmt::print("BAR virtual_to_real {:.0f} >= 10000\n", standard.speed());
  fmt::print("BAR ten_thousand_seeds_s {:.1f} <= 240\n", seconds(many.report.real_time));
  fmt::print("BAR memory_at_10000_to_1000 {:.2f} <= 1.1\n", memory(many) / memory(few));
  fmt::print("BAR speed_of_2_cores_to_1 {:.2f} >= 1.8\n",
             seconds(once.report.real_time) / seconds(two_cores.report.real_time));
  return 0;
}
