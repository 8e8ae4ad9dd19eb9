#include "inspect/lifetimes.hpp"

#include <utility>

#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "events/fold_codec.hpp"
#include "events/project_history.hpp"
#include "storage/snapshots/snapshot_store.hpp"

namespace atlasflow::inspect {
namespace {

// The read model is the first part of what a snapshot holds (actors/runtime/start_folds.hpp).
bool decode(const storage::Snapshot& snapshot, storage::CatalogFold& fold) {
  const auto& parts = snapshot.shape.children;
  if (parts.empty() || parts.front().name != "catalog") return false;
  FoldReader reader(snapshot.state);
  reader.take(fold);
  return reader.is_good();
}

}  // namespace

Lifetimes::Lifetimes(const storage::Catalog& catalog) {
  for (const auto& project : catalog.every_project()) {
    projects_[project.state.name].push_back(project.state.id);
    for (auto& entry : catalog.entries_of(project.state.id)) {
      if (entry.ended == Position{}) unfinished_[entry.id] = lives_.size();
      lives_.push_back({std::move(entry.id), entry.made, entry.ended});
    }
  }
}

void Lifetimes::take(const storage::Record& record) {
  if (record.event.has_project_created()) {
    projects_[record.event.project_created().name()].push_back(project_of(record.stream));
  }
  const auto id = deployment_of(record.stream);
  if (id.empty()) return;
  if (push_of(record.event) != nullptr) {
    unfinished_[id] = lives_.size();
    lives_.push_back({id, record.position, {}});
  } else if (ends_deployment(record.event)) {
    const auto found = unfinished_.find(id);
    if (found == unfinished_.end()) return;
    lives_[found->second].ended = record.position;
    unfinished_.erase(found);
  }
}

Result<std::optional<Lifetimes>> Lifetimes::of(const storage::EventLog& log,
                                               const SnapshotFolder& snapshots) {
  if (snapshots.path.empty()) return std::nullopt;
  const auto positions = storage::SnapshotStore(snapshots.path, {}).positions();
  if (positions.empty()) return std::nullopt;
  const auto build = snapshots.build();
  const storage::SnapshotStore store(snapshots.path, {build, ""});
  for (const auto position : positions) {
    // The domain that it was made for is in none of what is taken from it. One that is not fit is
    // left alone: it is the server's to remove.
    const auto snapshot = store.read_of_anyone(position, log);
    if (!snapshot || snapshot->made_by.build != build) continue;
    storage::CatalogFold fold;
    if (!decode(*snapshot, fold)) continue;
    storage::Catalog catalog;
    catalog.restore(std::move(fold));
    if (catalog.position() != position) continue;
    Lifetimes lives(catalog);
    ATLAS_TRYV(log.read_all(position.next(), [&](const storage::Record& record) {
      lives.take(record);
      return true;
    }));
    ATLAS_PROBE(true, "a look at an earlier moment began with a snapshot");
    return lives;
  }
  return std::nullopt;
}

std::vector<DeploymentId> Lifetimes::unfinished_at(Position position) const {
  std::vector<DeploymentId> ids;
  for (const auto& life : lives_) {
    const bool has_ended = life.ended != Position{} && life.ended <= position;
    if (life.begun <= position && !has_ended) ids.push_back(life.id);
  }
  return ids;
}

std::vector<ProjectId> Lifetimes::projects_named(const std::string& name) const {
  const auto found = projects_.find(name);
  return found == projects_.end() ? std::vector<ProjectId>{} : found->second;
}

}  // namespace atlasflow::inspect
