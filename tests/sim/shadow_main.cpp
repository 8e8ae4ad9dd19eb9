// shadow_*: another build of what folds a log, made with cmake/Canary.cmake, over the state folder
// FOLDER with its events/ and snapshots/. `write` leaves what it makes of the log there, as a
// server does; `compare` compares with what is there, prints the difference and the fields that one
// side knows, and exits with 1 when there is one.
#include <filesystem>
#include <iostream>
#include <string_view>

#include <spdlog/spdlog.h>

#include "actors/runtime/shadow_replay.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace {

using namespace atlasflow;

int compare(const storage::EventLog& log, const storage::SnapshotStore& store) {
  actors::ShadowReplay shadow(log, store, actors::ShadowReplay::Of::other_builds);
  const auto report = shadow.run();
  if (!report) {
    std::cerr << to_string(report.error()) << std::endl;
    return 2;
  }
  for (const auto& field : report->only_before) std::cout << "removed " << field << "\n";
  for (const auto& field : report->only_now) std::cout << "added " << field << "\n";
  std::cout << report->compared.size() << " compared" << std::endl;
  if (!report->difference) return 0;
  const auto& difference = *report->difference;
  std::cout << "first at " << difference.position << "\n";
  for (const auto& field : difference.fields) std::cout << "differs " << field << "\n";
  if (difference.value) {
    std::cout << "path " << difference.value->path << "\nwas " << difference.value->before
              << "\nis " << difference.value->now << std::endl;
  }
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: " << argv[0] << " write|compare FOLDER BUILD" << std::endl;
    return 2;
  }
  spdlog::set_level(spdlog::level::off);
  const std::filesystem::path folder = argv[2];
  const auto log = storage::open_event_log_for_reading(folder / "events");
  if (!log) {
    std::cerr << to_string(log.error()) << std::endl;
    return 2;
  }
  const storage::SnapshotStore store(folder / "snapshots", {argv[3], "atlasflow.localhost"});
  if (std::string_view(argv[1]) == "compare") return compare(**log, store);
  return actors::take_snapshot(**log, store, {}) ? 0 : 2;
}
