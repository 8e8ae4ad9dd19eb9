#include "actors/runtime/start_folds.hpp"

#include <utility>

#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/fold_codec.hpp"

namespace atlasflow {

#ifdef ATLAS_CANARY_FORGETFUL_SNAPSHOT
// What is left out reads as it is in an empty state.
template <>
struct FoldFields<EnvironmentHistory> {
  template <typename Value>
  static auto of(Value& value) {
    auto& [deployments, order, made_at, past, pushes, protect_next, spared] = value;
    return std::tie(deployments, order, past, pushes, protect_next, spared);
  }
};
#endif

}  // namespace atlasflow

namespace atlasflow::actors {
namespace {

// A database that has to be opened anew waits until nobody reads it.
constexpr int k_records_a_reading = 4096;

StartFolds empty_folds(const std::string& domain) {
  StartFolds folds;
  folds.owed = std::make_shared<NotificationsOwed>(domain);
  folds.reports = std::make_shared<GitHubReportsOwed>(domain);
  return folds;
}

void apply(StartFolds& folds, storage::Catalog& catalog, const storage::Record& record) {
  catalog.apply(record);
  folds.histories->apply(record);
  folds.owed->apply(record.stream, record.event, record.recorded_at);
  folds.domains->apply(record.stream, record.event, record.recorded_at);
  folds.reports->apply(record.stream, record.event, record.recorded_at);
  folds.position = record.position;
  folds.chain = record.chain;
}

Result<void> fold_to(Position end, const storage::EventLog& log, StartFolds& folds,
                     storage::Catalog& catalog, const std::function<bool()>& stop) {
  while (folds.position < end) {
    if (stop && stop()) return fail(ErrorCode::cancelled, "the log was not folded to its end");
    int left = k_records_a_reading;
    ATLAS_TRYV(log.read_all(folds.position.next(), [&](const storage::Record& record) {
      apply(folds, catalog, record);
      return --left > 0 && record.position < end;
    }));
    if (left == k_records_a_reading) {
      return fail(ErrorCode::unavailable, "the log ends earlier than it did");
    }
  }
  return {};
}

std::string encoded(const StartFolds& folds, const storage::Catalog& catalog) {
  FoldWriter writer;
  writer.put(catalog.fold());
  writer.put(folds);
  return std::move(writer).take();
}

// False: these are no such bytes, and both may hold anything then.
bool decode(const storage::Snapshot& snapshot, StartFolds& folds, storage::CatalogFold& fold) {
  FoldReader reader(snapshot.state);
  reader.take(fold);
  reader.take(folds);
  return reader.is_whole() && folds.position == snapshot.position && folds.chain == snapshot.chain;
}

// Whether there was one to begin with.
bool begin_with_snapshot(const storage::EventLog& log, const std::string& domain,
                         const storage::SnapshotStore& snapshots, StartFolds& folds,
                         storage::Catalog& catalog) {
  for (const auto position : snapshots.positions()) {
    const auto snapshot = snapshots.read(position, log);
    if (!snapshot) {
      snapshots.drop(position, to_string(snapshot.error()));
      continue;
    }
    auto read = empty_folds(domain);
    storage::CatalogFold fold;
    if (!decode(*snapshot, read, fold)) {
      snapshots.drop(position, "its state can't be read");
      continue;
    }
    folds = std::move(read);
    catalog.restore(std::move(fold));
    ATLAS_PROBE(true, "a start went on from a snapshot");
    return true;
  }
  return false;
}

}  // namespace

Result<StartFolds> fold_log(const storage::EventLog& log, const std::string& domain,
                            storage::Catalog& catalog, const storage::SnapshotStore* snapshots) {
  auto folds = empty_folds(domain);
  if (snapshots != nullptr) {
    begin_with_snapshot(log, domain, *snapshots, folds, catalog);
    log_event("root", "folding",
              {{"from", folds.position.next().value()}, {"to", log.last_position().value()}});
  }
  ATLAS_TRYV(fold_to(log.last_position(), log, folds, catalog, {}));
  return folds;
}

Result<Position> take_snapshot(const storage::EventLog& log, const std::string& domain,
                               const storage::SnapshotStore& snapshots,
                               const std::function<bool()>& stop) {
  storage::Catalog catalog;
  auto folds = empty_folds(domain);
  ATLAS_TRYV(fold_to(log.last_position(), log, folds, catalog, stop));
  if (folds.position == Position{}) return Position{};
  ATLAS_TRYV(snapshots.write({folds.position, folds.chain, encoded(folds, catalog)}));
  return folds.position;
}

std::string snapshot_code(const std::string& build_id, const std::string& domain) {
  return build_id + " " + domain;
}

}  // namespace atlasflow::actors
