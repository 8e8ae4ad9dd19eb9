// The event log at a size: a start over it, verify(), readings, what `status` and a webhook ask of
// the read model, what was the case at any of its positions, and the log writer's actor beside
// threads that write to a bare RocksDB. Each is measured in a process of its own, so that its
// memory is its own. Of each there is the time by the clock, which others that use the machine
// lengthen, and the time of the processor.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include "actors/runtime/start_folds.hpp"
#include "base/assert.hpp"
#include "bench/apart.hpp"
#include "bench/log_parts.hpp"
#include "bench/made_log.hpp"
#include "bench/quiet_plane.hpp"
#include "bench/work_folder.hpp"
#include "bench/writing_rates.hpp"
#include "inspect/state.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/readmodel/catalog.hpp"

namespace {

using namespace atlasflow;
using Seconds = std::chrono::duration<double>;
using SteadyClock = std::chrono::steady_clock;
namespace fs = std::filesystem;

constexpr int k_projects = 100;
constexpr std::uint64_t k_events_of_a_project = 2;
constexpr std::uint64_t k_events_of_a_deployment = 16;
constexpr int k_repetitions = 3;  // the best one counts: others use the machine too
constexpr const char* k_build = "bench";
// A server takes a snapshot when the log has grown by such a part (actors/runtime/snapshotter.hpp):
// so much is behind the newest one at worst.
constexpr std::uint64_t k_log_parts = 32;

double seconds_since(SteadyClock::time_point begin) {
  return Seconds(SteadyClock::now() - begin).count();
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

std::uint64_t make_log(const fs::path& folder, std::uint64_t events) {
  return bench::apart<std::uint64_t>([&] {
    const auto log = bench::open_log(folder);
    bench::fill(*log, k_projects,
                std::max(1, static_cast<int>(events / k_events_of_a_deployment / k_projects)));
    return log->last_position().value();
  });
}

// ---- the read side ----

struct Verified {
  double wall_s = 1e9;
  double cpu_s = 1e9;
  double peak_mib = 0;
};

Verified verify_once(const fs::path& folder) {
  const auto begin = SteadyClock::now();
  const auto cpu = cpu_seconds();
  const auto verified = storage::verify_folder(folder);
  ATLAS_ASSERT(verified.has_value(), verified ? "" : to_string(verified.error()));
  return {seconds_since(begin), cpu_seconds() - cpu, bench::peak_mib()};
}

struct Read {
  double decoded_s = 1e9;  // of CPU: read, decoded, the chain checked
  double folded_s = 1e9;   // and applied to the read model
  double active_ms = 0;    // what `status` asks of it
  double secrets_us = 0;   // what a webhook asks of it
  double projects_us = 0;  // what a webhook asked of it before: whole copies
};

template <typename Look>
double median_seconds(Look look) {
  std::vector<double> times(21);
  for (double& time : times) {
    const auto begin = SteadyClock::now();
    look();
    time = seconds_since(begin);
  }
  std::nth_element(times.begin(), times.begin() + 10, times.end());
  return times[10];
}

Read read_once(const fs::path& folder) {
  const auto log = storage::open_event_log_for_reading(folder).value();
  Read read;
  const auto cpu_of_reading = [&](const std::function<void(const storage::Record&)>& take) {
    const auto cpu = cpu_seconds();
    const auto whole = log->read_all(Position{1}, [&](const storage::Record& record) {
      take(record);
      return true;
    });
    ATLAS_ASSERT(whole.has_value(), whole ? "" : to_string(whole.error()));
    return cpu_seconds() - cpu;
  };
  std::uint64_t kinds = 0;
  read.decoded_s = cpu_of_reading([&](const storage::Record& record) {
    kinds += static_cast<std::uint64_t>(record.event.kind_case());
  });
  ATLAS_ASSERT(kinds > 0, "nothing was read");
  storage::Catalog catalog;
  catalog.read_finished_from(*log);
  read.folded_s = cpu_of_reading([&](const storage::Record& record) { catalog.apply(record); });
  std::size_t seen = 0;
  read.active_ms = 1e3 * median_seconds([&] { seen += catalog.active_deployments().size(); });
  read.secrets_us = 1e6 * median_seconds([&] { seen += catalog.webhook_secret_refs().size(); });
  read.projects_us = 1e6 * median_seconds([&] { seen += catalog.projects().size(); });
  ATLAS_ASSERT(seen > 0, "the read model is empty");
  return read;
}

double make_snapshot(const fs::path& folder, const fs::path& snapshots) {
  return bench::apart<double>([&] {
    const auto log = storage::open_event_log_for_reading(folder).value();
    const auto end = log->last_position().value();
    const auto cpu = cpu_seconds();
    actors::ScratchFolds folds(*log, actors::ControlPlaneConfig{}.domain);
    ATLAS_ASSERT(folds.fold_to(Position{end - end / k_log_parts}, {}).has_value(), "no fold");
    const storage::SnapshotStore store(snapshots, {k_build, actors::ControlPlaneConfig{}.domain});
    ATLAS_ASSERT(store.write(folds.written_down()).has_value(), "no snapshot");
    return cpu_seconds() - cpu;
  });
}

struct Started {
  double opened_s = 1e9;   // until the log was open
  double serving_s = 1e9;  // from the opening of the log to a started control plane
  double cpu_s = 1e9;      // until then
  double pushed_s = 1e9;   // and from then until a push is recorded
  double peak_mib = 0;
};

// snapshots: empty: it folds the whole log.
Started start_once(const fs::path& folder, const fs::path& snapshots, int repetition) {
  bench::QuietWorld world;
  bench::WallClock clock;
  bench::NoSecrets secrets;
  Started started;
  actors::ControlPlaneConfig config;
  config.build_id = k_build;
  config.snapshots = snapshots;
  const auto cpu = cpu_seconds();
  auto begin = SteadyClock::now();
  const auto log = bench::open_log(folder);
  started.opened_s = seconds_since(begin);
  const auto plane = actors::start_control_plane(
      config, *log, secrets, {&clock, &world, {{HostId("local"), &world}}, &world});
  ATLAS_ASSERT(plane.has_value(), plane ? "" : to_string(plane.error()));
  started.serving_s = seconds_since(begin);
  started.cpu_s = cpu_seconds() - cpu;
  begin = SteadyClock::now();
  Push push;
  push.repository_urls = {"/srv/app-0.git"};
  push.default_branch = "main";
  push.ref = "refs/heads/main";
  push.after = std::string(40, static_cast<char>('b' + repetition));
  push.delivery_id = "first-push-" + std::to_string(clock.now());
  const auto receipts = (*plane)->execute(Principal::webhook("github"), commands::TakePush{push});
  ATLAS_ASSERT(receipts.has_value(), receipts ? "" : to_string(receipts.error()));
  ATLAS_ASSERT(
      receipts->size() == 1 && receipts->front().verdict == actors::PushReceipt::Verdict::deployed,
      "the push was not taken");
  started.pushed_s = seconds_since(begin);
  started.peak_mib = bench::peak_mib();
  std::fflush(stdout);
  return started;
}

// ---- any moment ----

struct Looked {
  double log_ms = 1e9;   // until the log is open
  double open_ms = 1e9;  // until the first answer
  double open_cpu_ms = 1e9;
  double p99_ms = 1e9;
  double p99_cpu_ms = 1e9;
  double peak_mib = 0;
};

// The routes, a deployment and a project in turns, anywhere and at the end by turns.
Looked look_once(const fs::path& folder, const fs::path& snapshots) {
  Looked looked;
  const auto cpu = cpu_seconds();
  const auto begin = SteadyClock::now();
  const auto view =
      inspect::LogView::open(folder, {snapshots, [] { return std::string(k_build); }}).value();
  looked.log_ms = 1e3 * seconds_since(begin);
  std::mt19937_64 random(1);
  const auto end = view.end().value();
  const auto earliest = end / 10;
  // There at any moment that is asked for.
  const auto deployments = std::min<std::uint64_t>(
      1'000, (earliest - k_projects * k_events_of_a_project) / k_events_of_a_deployment);
  const auto ask = [&](std::uint64_t question) {
    const Position at(question % 2 == 0 ? end : earliest + random() % (end - earliest));
    const auto name = question % 3 == 0   ? std::string("routes")
                      : question % 3 == 1 ? "d" + std::to_string(1'000'000 + random() % deployments)
                                          : "app-" + std::to_string(random() % k_projects);
    const auto subject = inspect::subject_of(view, name, at);
    ATLAS_ASSERT(subject.has_value(), subject ? "" : subject.error().message);
    const auto state = inspect::state_at(view, *subject, at);
    ATLAS_ASSERT(state.has_value(), state ? "" : state.error().message);
  };
  ask(0);
  looked.open_ms = 1e3 * seconds_since(begin);
  looked.open_cpu_ms = 1e3 * (cpu_seconds() - cpu);
  std::vector<double> walls;
  std::vector<double> cpus;
  for (std::uint64_t question = 1; question <= 600; ++question) {
    const auto cpu_before = cpu_seconds();
    const auto asked = SteadyClock::now();
    ask(question);
    walls.push_back(1e3 * seconds_since(asked));
    cpus.push_back(1e3 * (cpu_seconds() - cpu_before));
  }
  const auto p99 = [](std::vector<double>& times) {
    std::ranges::sort(times);
    return times[times.size() * 99 / 100];
  };
  looked.p99_ms = p99(walls);
  looked.p99_cpu_ms = p99(cpus);
  looked.peak_mib = bench::peak_mib();
  return looked;
}

// ---- the table ----

void row(const char* what, const std::string& name, double value, const char* unit,
         const char* comparison, double goal) {
  std::printf("%-58s %10.4g %-12s %s %.4g\n", what, value, unit, comparison, goal);
  std::printf("BAR log.%s %.6g %s %.6g\n", name.c_str(), value, comparison, goal);
}

void print_start(const char* what, const Started& started) {
  std::printf("%s: log open %.3f s, serving %.3f s, %.3f s of CPU, then a push %.3f s; %.0f MiB\n",
              what, started.opened_s, started.serving_s, started.cpu_s, started.pushed_s,
              started.peak_mib);
}

// Goals of the size that is nearest: a million, or ten.
void print_reads(const fs::path& folder, double events) {
  Verified verified;
  Read read;
  for (int i = 0; i < k_repetitions; ++i) {
    const auto one = bench::apart<Verified>([&] { return verify_once(folder); });
    verified = {std::min(verified.wall_s, one.wall_s), std::min(verified.cpu_s, one.cpu_s),
                std::max(verified.peak_mib, one.peak_mib)};
    const auto reading = bench::apart<Read>([&] { return read_once(folder); });
    read = {std::min(read.decoded_s, reading.decoded_s), std::min(read.folded_s, reading.folded_s),
            reading.active_ms, reading.secrets_us, reading.projects_us};
  }
  row("verify", "verify_events_per_cpu_s", events / verified.cpu_s, "events/CPU s", ">=", 1e6);
  std::printf("  (%.2f s by the clock)\n", verified.wall_s);
  row("verify: peak memory", "verify_peak_mib", verified.peak_mib, "MiB", "<=", 200);
  row("read, decode, chain", "read_events_per_cpu_s", events / read.decoded_s, "events/CPU s",
      ">=", 2e6);
  row("read, decode, chain, evolve (the read model)", "evolve_events_per_cpu_s",
      events / read.folded_s, "events/CPU s", ">=", 1e6);
  row("status: the active deployments (100)", "active_ms", read.active_ms, "ms", "<=", 1);
  row("webhook: the projects' secrets (100)", "webhook_secrets_us", read.secrets_us, "us",
      "<=", 1000);
  std::printf("  (%.0f us by copies of the projects)\n", read.projects_us);
}

void print_looks(const fs::path& folder, const fs::path& snapshots) {
  Looked looked;
  for (int i = 0; i < k_repetitions; ++i) {
    const auto one = bench::apart<Looked>([&] { return look_once(folder, snapshots); });
    looked = {
        std::min(looked.log_ms, one.log_ms),           std::min(looked.open_ms, one.open_ms),
        std::min(looked.open_cpu_ms, one.open_cpu_ms), std::min(looked.p99_ms, one.p99_ms),
        std::min(looked.p99_cpu_ms, one.p99_cpu_ms),   std::max(looked.peak_mib, one.peak_mib)};
  }
  row("any moment: until the first answer", "look_open_ms", looked.open_ms, "ms", "<=", 150);
  std::printf("  (%.0f ms of it until the log is open; %.0f ms of CPU)\n", looked.log_ms,
              looked.open_cpu_ms);
  row("any moment: then, p99", "look_p99_ms", looked.p99_ms, "ms", "<=", 20);
  std::printf("  (%.1f ms of CPU; %.0f MiB)\n", looked.p99_cpu_ms, looked.peak_mib);
}

void print_starts(const fs::path& folder, const fs::path& snapshots, bool is_large) {
  Started started;
  for (int i = 0; i < k_repetitions; ++i) {
    const auto start = bench::apart<Started>([&] { return start_once(folder, snapshots, i); });
    print_start("  (a start from a snapshot", start);
    started = {std::min(started.opened_s, start.opened_s),
               std::min(started.serving_s, start.serving_s), std::min(started.cpu_s, start.cpu_s),
               std::min(started.pushed_s, start.pushed_s),
               std::max(started.peak_mib, start.peak_mib)};
  }
  row("start: until it serves", "start_serving_s", started.serving_s, "s",
      "<=", is_large ? 2 : 0.5);
  row("start: then until a first push is recorded", "first_push_s", started.pushed_s, "s",
      "<=", 0.5);
  row("start: peak memory", "start_peak_mib", started.peak_mib, "MiB", "<=", 300);
  const auto whole = bench::apart<Started>([&] { return start_once(folder, {}, k_repetitions); });
  print_start("  (without a snapshot", whole);
}

void print_writes(const bench::WritingRates& rates) {
  for (std::size_t i = 0; i < bench::k_writers.size(); ++i) {
    const auto& writers = bench::k_writers[i];
    const auto shape = std::to_string(writers.threads) + "x" + std::to_string(writers.events);
    row(("log writer " + shape + " : raw synced threads").c_str(), "writer_" + shape + "_vs_raw",
        rates.actor[i] / rates.raw[i], "", ">=", writers.goal);
    std::printf("  (%.0f : %.0f events/s)\n", rates.actor[i], rates.raw[i]);
  }
}

int usage() {
  std::fprintf(stderr,
               "usage: log_bench [--events N] [--keep FOLDER]\n"
               "N from 100000 to 999999999; FOLDER keeps the log for the next time, which must be "
               "of the same N\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t events = 1'000'000;
  std::optional<fs::path> kept;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    const std::string value = i + 1 < argc ? argv[i + 1] : "";
    const auto* end = value.data() + value.size();
    if (name == "--keep" && !value.empty()) {
      kept = value;
    } else if (name != "--events" || value.size() > 9 || value.empty() ||
               std::from_chars(value.data(), end, events).ptr != end || events < 100'000) {
      return usage();
    }
  }
  spdlog::set_level(spdlog::level::off);
  const bench::WorkFolder scratch("log-bench");
  const auto folder = kept.value_or(scratch.path());
  const auto log = folder / "events";
  const auto snapshots = folder / "snapshots";
  if (!fs::exists(log)) {
    const auto begin = SteadyClock::now();
    const auto made = make_log(log, events);
    std::printf("%llu events were made in %.0f s\n", static_cast<unsigned long long>(made),
                seconds_since(begin));
  }
  if (!fs::exists(snapshots)) {
    std::printf("a snapshot was made in %.1f s of CPU\n", make_snapshot(log, snapshots));
  }
  const auto end = bench::apart<std::uint64_t>(
      [&] { return storage::open_event_log_for_reading(log).value()->last_position().value(); });
  std::printf("a log of %llu events, %d projects\n\n", static_cast<unsigned long long>(end),
              k_projects);
  std::printf("%-58s %10s %-12s %s\n", "what", "measured", "", "goal");
  print_looks(log, snapshots);
  print_starts(log, snapshots, events > 3'000'000);
  print_reads(log, static_cast<double>(end));
  print_writes(
      bench::apart<bench::WritingRates>([&] { return bench::writing_rates(scratch.path()); }));
  return 0;
}
