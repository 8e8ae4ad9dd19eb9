// What finished deployments cost: the read model that keeps them all in memory beside the one that
// reads them from the log, and its snapshots. And what was the case at any moment: folded from the
// log's begin beside found by a snapshot. `history_bench [DEPLOYMENTS]`, of 16 events each.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include <spdlog/spdlog.h>

#include "bench/apart.hpp"
#include "bench/log_parts.hpp"
#include "bench/made_log.hpp"
#include "bench/work_folder.hpp"
#include "events/fold_codec.hpp"
#include "events/fold_shape.hpp"
#include "inspect/state.hpp"
#include "storage/readmodel/catalog.hpp"
#include "storage/snapshots/snapshot_store.hpp"

namespace {

using namespace atlasflow;
namespace fs = std::filesystem;
using SteadyClock = std::chrono::steady_clock;

constexpr int k_projects = 100;
constexpr int k_deployments = 62'500;  // over all projects; the last one of each is live
constexpr const char* k_build = "bench";

double ms_since(SteadyClock::time_point begin) {
  return std::chrono::duration<double, std::milli>(SteadyClock::now() - begin).count();
}

struct Folded {
  double fold_ms = 0;
  double mib = 0;  // at most, with RocksDB's
};

void fold(storage::Catalog& catalog, const storage::EventLog& log, storage::ChainHash& chain) {
  const auto read = log.read_all(Position{1}, [&](const storage::Record& record) {
    catalog.apply(record);
    chain = record.chain;
    return true;
  });
  ATLAS_ASSERT(read.has_value(), read ? "" : to_string(read.error()));
}

// Folds it, and stores a snapshot in the folder unless that is empty.
Folded folded(const fs::path& events, bool all_in_memory, const fs::path& snapshots) {
  const auto log = storage::open_event_log_for_reading(events).value();
  storage::Catalog catalog;
  if (!all_in_memory) catalog.read_finished_from(*log);
  storage::ChainHash chain{};
  const auto begin = SteadyClock::now();
  fold(catalog, *log, chain);
  const Folded result{ms_since(begin), bench::peak_mib()};
  FoldWriter state;
  state.put(catalog.fold());
  storage::Snapshot snapshot{catalog.position(), chain, std::move(state).take(), {}, {}};
  snapshot.shape.children.push_back(shape_of<storage::CatalogFold>());
  snapshot.shape.children.back().name = "catalog";
  const auto written = storage::SnapshotStore(snapshots, {k_build, ""}).write(snapshot);
  ATLAS_ASSERT(written.has_value(), written ? "" : to_string(written.error()));
  return result;
}

// From its snapshot, as a start does.
Folded restored(const fs::path& events, const fs::path& snapshots, bool all_in_memory) {
  const auto log = storage::open_event_log_for_reading(events).value();
  const storage::SnapshotStore store(snapshots, {k_build, ""});
  const auto begin = SteadyClock::now();
  storage::Catalog catalog;
  if (!all_in_memory) catalog.read_finished_from(*log);
  {
    const auto snapshot = store.read(store.positions().front(), *log);
    ATLAS_ASSERT(snapshot.has_value(), snapshot ? "" : to_string(snapshot.error()));
    storage::CatalogFold fold;
    FoldReader reader(snapshot->state);
    reader.take(fold);
    ATLAS_ASSERT(reader.is_whole(), "the snapshot can't be read");
    catalog.restore(std::move(fold));
  }
  return {ms_since(begin), bench::peak_mib()};
}

double mib_of(const fs::path& folder) {
  std::uintmax_t bytes = 0;
  for (const auto& file : fs::directory_iterator(folder)) bytes += file.file_size();
  return static_cast<double>(bytes) / (1 << 20);
}

struct Asked {
  double log_ms = 0;   // until the log was open
  double open_ms = 0;  // and from then until the first answer
  double median_ms = 0;
  double p99_ms = 0;
  double mib = 0;
};

Asked asked(const fs::path& events, const fs::path& snapshots, int questions) {
  const auto begin = SteadyClock::now();
  const auto view =
      inspect::LogView::open(events, {snapshots, [] { return std::string(k_build); }}).value();
  Asked result;
  result.log_ms = ms_since(begin);
  std::mt19937_64 random(1);
  // Anywhere, and in turns at the end, where a deployment of each project is live.
  bool at_end = true;
  const auto ask = [&] {
    at_end = !at_end;
    const Position at(at_end ? view.end().value() : 1 + random() % view.end().value());
    const auto asked_at = SteadyClock::now();
    ATLAS_ASSERT(inspect::routes_at(view, at).has_value(), "no answer");
    return ms_since(asked_at);
  };
  static_cast<void>(ask());
  result.open_ms = ms_since(begin) - result.log_ms;
  std::vector<double> times;
  for (int i = 0; i < questions; ++i) times.push_back(ask());
  std::ranges::sort(times);
  result.median_ms = times[times.size() / 2];
  result.p99_ms = times[(times.size() * 99 + 99) / 100 - 1];
  result.mib = bench::peak_mib();
  return result;
}

double page_ms(const fs::path& events) {
  const auto log = storage::open_event_log_for_reading(events).value();
  storage::Catalog catalog;
  catalog.read_finished_from(*log);
  storage::ChainHash chain{};
  fold(catalog, *log, chain);
  std::vector<double> times;
  for (const auto& project : catalog.every_project()) {
    const auto begin = SteadyClock::now();
    ATLAS_ASSERT(catalog.deployments_of(project.state.id, 20)->size() == 20, "no page");
    times.push_back(ms_since(begin));
  }
  std::ranges::sort(times);
  return times[times.size() / 2];
}

int deployments_of(int argc, char** argv) {
  int deployments = argc == 2 ? 0 : k_deployments;
  if (argc == 2) std::from_chars(argv[1], argv[1] + std::strlen(argv[1]), deployments);
  ATLAS_ASSERT(argc <= 2 && deployments >= k_projects * 30, "usage: history_bench [DEPLOYMENTS]");
  return deployments / k_projects;
}

}  // namespace

int main(int argc, char** argv) {
  spdlog::set_level(spdlog::level::off);
  const bench::WorkFolder folder("history-bench");
  const auto events = folder.path() / "events";
  const auto whole = folder.path() / "whole";
  const auto small = folder.path() / "small";
  const int each = deployments_of(argc, argv);
  const auto records = bench::apart<std::uint64_t>([&] {
    const auto log = bench::open_log(events);
    bench::fill(*log, k_projects, each);
    return log->last_position().value();
  });
  std::printf("%llu events, %d deployments\n", static_cast<unsigned long long>(records),
              each * k_projects);
  const auto both = [&](const char* what, auto measure) {
    const auto before = bench::apart<Folded>([&] { return measure(true); });
    const auto now = bench::apart<Folded>([&] { return measure(false); });
    std::printf("%-42s all in memory %8.0f ms %6.0f MiB, from the log %8.0f ms %6.0f MiB\n", what,
                before.fold_ms, before.mib, now.fold_ms, now.mib);
    return now;
  };
  both("the read model, folded",
       [&](bool all) { return folded(events, all, all ? whole : small); });
  both("the read model, from its snapshot",
       [&](bool all) { return restored(events, all ? whole : small, all); });
  std::printf("%-42s all in memory %8.1f MiB, from the log %8.1f MiB\n", "its snapshot",
              mib_of(whole), mib_of(small));
  const auto page = bench::apart<double>([&] { return page_ms(events); });
  std::printf("a page of 20 deployments: %.2f ms\n", page);
  const auto slow = bench::apart<Asked>([&] { return asked(events, {}, 3); });
  const auto quick = bench::apart<Asked>([&] { return asked(events, small, 300); });
  std::printf("routes at a position, from the begin: median %.0f ms, %.0f MiB\n", slow.median_ms,
              slow.mib);
  std::printf(
      "the same by a snapshot: median %.2f ms, p99 %.2f ms, %.0f MiB; before it the log's "
      "opening %.0f ms, the snapshot's %.0f ms\n",
      quick.median_ms, quick.p99_ms, quick.mib, quick.log_ms, quick.open_ms);
  std::printf("BAR state_open_ms %.0f <= 150\n", quick.log_ms + quick.open_ms);
  std::printf("BAR state_p99_ms %.2f <= 20\n", quick.p99_ms);
  std::printf("BAR snapshot_of_whole %.3f <= 0.1\n", mib_of(small) / mib_of(whole));
}
