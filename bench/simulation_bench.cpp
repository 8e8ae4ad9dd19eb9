// How fast simulated servers live: whole lives of deployments with faults per second on one core,
// virtual time against real time, 10,000 seeds, and what more seeds and more cores come to. Prints
// a table and BAR lines; see bench/README.md.
#include <iostream>
#include <string>

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include "sim/fleet/fleet.hpp"

namespace {

using namespace atlasflow;
using namespace atlasflow::sim;

constexpr TimestampUs k_minute = 60LL * 1'000'000;

double seconds(TimestampUs time) { return static_cast<double>(time) / 1e6; }

// Of the fleet's processes: what else runs on the machine takes nothing from it.
TimestampUs processor_time() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  const auto us = [](const timeval& time) {
    return static_cast<TimestampUs>(time.tv_sec) * 1'000'000 + time.tv_usec;
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

struct Measured {
  FleetReport report;
  TimestampUs core_time = 0;

  // Per second of one core. When a run is over every deployment has ended or is live.
  [[nodiscard]] double lives_per_s() const {
    return static_cast<double>(report.deployments) / seconds(core_time);
  }
  [[nodiscard]] double speed() const { return seconds(report.virtual_time) / seconds(core_time); }
};

// Of runs that broke nothing: others are a matter for `atlasflow simulate`.
Measured measure(const std::string& what, std::uint64_t runs, int jobs, bool twice,
                 std::function<Scenario(std::uint64_t)> scenario) {
  FleetConfig config;
  config.runs = runs;
  config.jobs = jobs;
  config.twice = twice;
  config.scenario = std::move(scenario);
  const auto before = processor_time();
  auto report = run_fleet(config);
  const auto core_time = processor_time() - before;
  if (!report) {
    std::cerr << to_string(report.error()) << std::endl;
    std::exit(1);
  }
  for (const auto& failure : report->failures) {
    std::cerr << "seed " << failure.seed << " broke " << failure.violation.name << ": "
              << failure.violation.sentence << std::endl;
  }
  if (!report->failures.empty()) std::exit(1);
  Measured measured{*std::move(report), core_time};
  const auto& found = measured.report;
  fmt::print("{:<32} {:>6} {:>5} {:>7.1f} {:>7.1f} {:>7} {:>8.0f} {:>10.0f} {:>7.2f} {:>6.1f}\n",
             what, runs, jobs, seconds(found.real_time), seconds(core_time), found.deployments,
             measured.lives_per_s(), measured.speed(),
             static_cast<double>(core_time) / static_cast<double>(found.steps),
             static_cast<double>(found.memory_max_kib) / 1024);
  std::cout << std::flush;
  return measured;
}

Scenario standard(std::uint64_t seed) { return standard_scenario(seed, k_minute); }
Scenario of_an_hour(std::uint64_t seed) { return standard_scenario(seed, 60 * k_minute); }
Scenario drawn(std::uint64_t seed) { return drawn_scenario(seed); }

}  // namespace

int main() {
  spdlog::set_level(spdlog::level::off);
  fmt::print("{:<32} {:>6} {:>5} {:>7} {:>7} {:>7} {:>8} {:>10} {:>7} {:>6}\n", "", "runs", "jobs",
             "real s", "core s", "lives", "per s", "x realtime", "us/step", "MiB");
  const auto minutes = measure("standard scenario, a minute each", 500, 1, false, standard);
  // What grows with the log: a server that starts reads all of it, and this one starts 70 times.
  measure("standard scenario, an hour each", 4, 1, false, of_an_hour);
  const auto once = measure("drawn seeds", 1'000, 1, false, drawn);
  const auto two_cores = measure("drawn seeds", 1'000, 2, false, drawn);
  // The same ones, so that it is no larger run that makes the largest process.
  const auto ten_times = measure("the same seeds ten times", 10'000, 2, false,
                                 [](std::uint64_t seed) { return drawn(1 + (seed - 1) % 1'000); });
  const auto many = measure("drawn seeds, each twice", 10'000, 2, true, drawn);
  const auto memory = [](const Measured& measured) {
    return static_cast<double>(measured.report.memory_max_kib);
  };
  fmt::print("BAR lifecycles_per_s_and_core {:.0f} >= 1000\n", minutes.lives_per_s());
  fmt::print("BAR drawn_lifecycles_per_s_and_core {:.0f} >= 1000\n", once.lives_per_s());
  fmt::print("BAR virtual_to_real {:.0f} >= 10000\n", minutes.speed());
  fmt::print("BAR ten_thousand_seeds_s {:.1f} <= 240\n", seconds(many.report.real_time));
  fmt::print("BAR memory_at_10000_to_1000 {:.2f} <= 1.1\n", memory(ten_times) / memory(two_cores));
  fmt::print("BAR speed_of_2_cores_to_1 {:.2f} >= 1.8\n",
             seconds(once.report.real_time) / seconds(two_cores.report.real_time));
  return 0;
}
