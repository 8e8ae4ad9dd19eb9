// A start of the control plane over a log of 100,000 events, beside one bare reading of that log:
// how long until the first command is answered, and how often each record is read until then.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <spdlog/spdlog.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "actors/runtime/control_plane.hpp"
#include "base/assert.hpp"
#include "bench/log_parts.hpp"
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
constexpr int k_deployments = 64;  // of each project; the last one of each is live
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

Measured start_once(const fs::path& folder) {
  CountingLog log(open_log(folder));
  QuietWorld world;
  WallClock clock;
  NoSecrets secrets;
  const auto records = static_cast<double>(log.last_position().value());
  const auto cpu_before = cpu_seconds();
  const auto begin = std::chrono::steady_clock::now();
  auto plane = actors::start_control_plane({}, log, secrets,
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
  ATLAS_ASSERT(log->read_all(Position{1},
                             [&](const storage::Record& record) {
                               catalog.apply(record);
                               return true;
                             })
                   .has_value(),
               "the log cannot be read");
  return seconds_since(begin);
}

}  // namespace

int main() {
  spdlog::set_level(spdlog::level::off);
  const bench::WorkFolder folder("start-bench");
  {
    const auto log = open_log(folder.path());
    bench::fill(*log, k_projects, k_deployments);
    std::printf("%llu events, %d projects, %d live deployments\n",
                static_cast<unsigned long long>(log->last_position().value()), k_projects,
                k_projects);
  }
  Measured best{1e9, 1e9, 0};
  double reading = 1e9;
  for (int i = 0; i < k_repetitions; ++i) {
    reading = std::min(reading, reading_s(folder.path()));
    const auto start = start_once(folder.path());
    std::printf("start: first answer after %.3f s, %.3f s of CPU, each record read %.2f times\n",
                start.ready_s, start.cpu_s, start.reads);
    best.ready_s = std::min(best.ready_s, start.ready_s);
    best.cpu_s = std::min(best.cpu_s, start.cpu_s);
    best.reads = std::max(best.reads, start.reads);
  }
  std::printf("one reading into the read model: %.3f s\n", reading);
  std::printf("BAR reads_of_a_record %.2f <= 1.1\n", best.reads);
  std::printf("BAR first_answer_to_one_reading %.2f <= 2\n", best.ready_s / reading);
}
