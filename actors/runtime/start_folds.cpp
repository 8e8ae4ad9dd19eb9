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
  static constexpr std::string_view names(const EnvironmentHistory* /*type*/) {
    return "deployments, order, past, pushes, protect_next, spared";
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

EffectsOwed effects_of(const storage::Catalog& catalog) {
  EffectsOwed owed;
  for (const auto& deployment : catalog.active_deployments()) {
    for (auto& effect : outstanding(deployment.state)) {
      owed[deployment.state.id].insert_or_assign(key_of(effect), std::move(effect));
    }
  }
  return owed;
}

template <typename T>
Shape part_named(const char* name) {
  auto shape = shape_of<T>();
  shape.name = name;
  return shape;
}

// False: these are no such bytes, and both may hold anything then.
bool decode(const storage::Snapshot& snapshot, StartFolds& folds, storage::CatalogFold& fold) {
  FoldReader reader(snapshot.state);
  reader.take(fold);
  reader.take(folds);
  EffectsOwed owed;  // follows from the rest
  reader.take(owed);
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
  catalog.read_finished_from(log);
  if (snapshots != nullptr) {
    begin_with_snapshot(log, domain, *snapshots, folds, catalog);
    log_event("root", "folding",
              {{"from", folds.position.next().value()}, {"to", log.last_position().value()}});
  }
  ATLAS_TRYV(fold_to(log.last_position(), log, folds, catalog, {}));
  return folds;
}

ScratchFolds::ScratchFolds(const storage::EventLog& log, const std::string& domain)
    : log_(log), folds_(empty_folds(domain)) {
  catalog_.read_finished_from(log);
}

Result<void> ScratchFolds::fold_to(Position end, const std::function<bool()>& stop) {
  return actors::fold_to(end, log_, folds_, catalog_, stop);
}

storage::Snapshot ScratchFolds::written_down() const {
  FoldWriter writer;
  writer.put(catalog_.fold());
  writer.put(folds_);
  writer.put(effects_of(catalog_));
  return {folds_.position, folds_.chain, std::move(writer).take(), shape_of_folds(), {}};
}

const Shape& shape_of_folds() {
  static const Shape k_shape = [] {
    Shape all;
    all.children = {part_named<storage::CatalogFold>("catalog"), part_named<StartFolds>("folds"),
                    part_named<EffectsOwed>("effects")};
    return all;
  }();
  return k_shape;
}

Result<Position> take_snapshot(const storage::EventLog& log,
                               const storage::SnapshotStore& snapshots,
                               const std::function<bool()>& stop) {
  ScratchFolds folds(log, snapshots.maker().domain);
  ATLAS_TRYV(folds.fold_to(log.last_position(), stop));
  if (folds.position() == Position{}) return Position{};
  const auto snapshot = folds.written_down();
  ATLAS_TRYV(snapshots.write(snapshot));
  ATLAS_TRY(auto digests, storage::digests_of(snapshot.shape, snapshot.state));
  ATLAS_TRYV(snapshots.digests().write(
      {snapshots.maker(), snapshot.position, snapshot.chain, std::move(digests)}));
  return snapshot.position;
}

}  // namespace atlasflow::actors
