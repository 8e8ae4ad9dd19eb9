// A start of the control plane over a log of 100,000 events (or `start_bench DEPLOYMENTS`, of 16
// events each), beside one bare reading of that log: how long until the first command is answered,
// and how often each record is read until then. And the same from a snapshot.
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "actors/runtime/control_plane.hpp"
#include "actors/runtime/start_folds.hpp"
#include "base/assert.hpp"
#include "bench/log_parts.hpp"
#include "bench/made_log.hpp"
#include "bench/quiet_plane.hpp"
#include "bench/work_folder.hpp"
#include "storage/log/forwarding_event_log.hpp"

namespace {

using namespace atlasflow;
using bench::NoSecrets;
using bench::open_log;
using bench::QuietWorld;
using bench::WallClock;
namespace fs = std::filesystem;

constexpr int k_projects = 100;
constexpr int k_deployments = 6'400;  // over all projects; the last one of each is live
constexpr const char* k_build = "bench";
constexpr int k_repetitions = 5;

// Counts what is read of the log behind it.
class CountingLog final : public storage::ForwardingEventLog {
 public:
  using ForwardingEventLog::ForwardingEventLog;
  mutable std::atomic<std::uint64_t> records{0};

  Result<void> read_all(Position first,
                        const std::function<bool(const storage::Record&)>& visit) const override {
    return log().read_all(first, [&](const storage::Record& record) {
      ++records;
      return visit(record);
    });
  }
  Result<void> read_stream(
      const StreamId& stream, StreamVersion first,
      const std::function<bool(const storage::Record&)>& visit) const override {
    return log().read_stream(stream, first, [&](const storage::Record& record) {
      ++records;
      return visit(record);
    });
  }
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

struct Measured {
  double ready_s = 0;  // until the first command was answered
  double cpu_s = 0;    // until nothing is read any more
  double reads = 0;    // of each record, on average
};

storage::FoldMaker maker() { return {k_build, actors::ControlPlaneConfig{}.domain}; }

// snapshots: empty: it folds the whole log.
Measured start_once(const fs::path& folder, const fs::path& snapshots) {
  CountingLog log(open_log(folder));
  actors::ControlPlaneConfig config;
  config.build_id = k_build;
  config.snapshots = snapshots;
  QuietWorld world;
  WallClock clock;
  NoSecrets secrets;
  const auto records = static_cast<double>(log.last_position().value());
  const auto cpu_before = cpu_seconds();
  const auto begin = std::chrono::steady_clock::now();
  auto plane = actors::start_control_plane(config, log, secrets,
                                           {&clock, &world, {{HostId("local"), &world}}, &world});
  ATLAS_ASSERT(plane.has_value(), plane ? "" : to_string(plane.error()));
  Push nobodys;
  nobodys.repository_urls = {"/srv/nobodys.git"};
  ATLAS_ASSERT(
      (*plane)->execute(Principal::webhook("github"), commands::TakePush{nobodys}).has_value(),
      "no answer");
  Measured start;
  start.ready_s = seconds_since(begin);
  for (auto seen = log.records.load() + 1; seen != log.records.load();) {
    seen = log.records.load();
    start.cpu_s = cpu_seconds() - cpu_before;
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  start.reads = static_cast<double>(log.records.load()) / records;
  return start;
}

double reading_s(const fs::path& folder) {
  const auto log = open_log(folder);
  const auto begin = std::chrono::steady_clock::now();
  storage::Catalog catalog;
  catalog.read_finished_from(*log);
  ATLAS_ASSERT(log->read_all(Position{1},
                             [&](const storage::Record& record) {
                               catalog.apply(record);
                               return true;
                             })
                   .has_value(),
               "the log cannot be read");
  return seconds_since(begin);
}

Measured best_start(const char* name, const fs::path& log, const fs::path& snapshots) {
  Measured best{1e9, 1e9, 0};
  for (int i = 0; i < k_repetitions; ++i) {
    const auto start = start_once(log, snapshots);
    std::printf("%s: first answer after %.3f s, %.3f s of CPU, each record read %.2f times\n", name,
                start.ready_s, start.cpu_s, start.reads);
    best.ready_s = std::min(best.ready_s, start.ready_s);
    best.cpu_s = std::min(best.cpu_s, start.cpu_s);
    best.reads = std::max(best.reads, start.reads);
  }
  return best;
}

// Takes one, and says how long that took and how large it is.
void make_snapshot(const fs::path& folder, const fs::path& snapshots) {
  const auto log = open_log(folder);
  const auto begin = std::chrono::steady_clock::now();
  const storage::SnapshotStore store(snapshots, maker());
  const auto taken = actors::take_snapshot(*log, store, {});
  ATLAS_ASSERT(taken.has_value(), taken ? "" : to_string(taken.error()));
  std::uintmax_t bytes = 0;
  for (const auto& file : fs::directory_iterator(snapshots)) bytes += file.file_size();
  std::printf("a snapshot: taken in %.3f s, %.1f MiB\n", seconds_since(begin),
              static_cast<double>(bytes) / (1 << 20));
}

int deployments_of(int argc, char** argv) {
  int deployments = argc == 2 ? 0 : k_deployments;
  if (argc == 2) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), deployments);
  ATLAS_ASSERT(argc <= 2 && deployments >= k_projects, "usage: start_bench [DEPLOYMENTS]");
  return deployments / k_projects;
}

}  // namespace

int main(int argc, char** argv) {
  spdlog::set_level(spdlog::level::off);
  const bench::WorkFolder folder("start-bench");
  const auto snapshots = folder.path() / "snapshots";
  const auto events = folder.path() / "events";
  {
    const auto log = open_log(events);
    bench::fill(*log, k_projects, deployments_of(argc, argv));
    std::printf("%llu events, %d projects, %d live deployments\n",
                static_cast<unsigned long long>(log->last_position().value()), k_projects,
                k_projects);
  }
  double reading = 1e9;
  for (int i = 0; i < k_repetitions; ++i) reading = std::min(reading, reading_s(events));
  const auto best = best_start("start over the log", events, {});
  make_snapshot(events, snapshots);
  const auto from_snapshot = best_start("start from a snapshot", events, snapshots);
  std::printf("one reading into the read model: %.3f s\n", reading);
  std::printf("BAR reads_of_a_record %.2f <= 1.1\n", best.reads);
  std::printf("BAR first_answer_to_one_reading %.2f <= 2\n", best.ready_s / reading);
  std::printf("BAR first_answer_from_a_snapshot %.2f <= 0.5\n",
              from_snapshot.ready_s / best.ready_s);
}
