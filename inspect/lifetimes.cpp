#include "inspect/lifetimes.hpp"

#include <algorithm>
#include <utility>

#include <google/protobuf/descriptor.h>

#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "events/fold_codec.hpp"
#include "events/project_history.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/record_codec.hpp"
#include "storage/log/record_view.hpp"
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

// The event types of this build, by number.
std::vector<bool> known_types() {
  const auto* kinds = pb::Event::descriptor();
  std::vector<bool> known;
  for (int i = 0; i < kinds->field_count(); ++i) {
    const auto number = static_cast<std::size_t>(kinds->field(i)->number());
    if (number >= known.size()) known.resize(number + 1);
    known[number] = true;
  }
  return known;
}

bool is_of_interest(pb::Event::KindCase kind) {
  return kind == pb::Event::kProjectCreated || begins_deployment(kind) || ends_deployment(kind);
}

// Those of the log's records from there on that take() takes, most being others.
Result<void> read_of_interest(const storage::EventLog& log, Position first,
                              const std::function<void(const storage::Record&)>& visit) {
  const auto* stored_log = dynamic_cast<const storage::LogIndexes*>(&log);
  if (stored_log == nullptr) {
    return log.read_all(first, [&](const storage::Record& record) {
      if (is_of_interest(record.event.kind_case())) visit(record);
      return true;
    });
  }
  const auto known = known_types();
  std::optional<Error> unreadable;
  storage::RecordCodec codec;
  storage::Record record;
  ATLAS_TRYV(stored_log->scan_stored(first, [&](Position position, std::string_view stored) {
    const auto type = storage::type_said_by(stored);
    // What this build does not know is a fact that it would have to understand: decoding refuses
    // it.
    if (type && *type < known.size() && known[*type] &&
        !is_of_interest(static_cast<pb::Event::KindCase>(*type))) {
      return true;
    }
    const auto decoded = codec.decode_into(stored, record);
    if (!decoded) {
      unreadable = storage::at_position(position, decoded.error());
    } else if (record.position != position) {
      unreadable = storage::damaged(position, "its key and its record disagree");
    } else if (is_of_interest(record.event.kind_case())) {
      visit(record);
    }
    return !unreadable;
  }));
  if (unreadable) return tl::unexpected(*unreadable);
  return {};
}

}  // namespace

Lifetimes::Lifetimes(const storage::Catalog& catalog) {
  for (const auto& project : catalog.every_project()) {
    projects_[project.state.name].push_back(project.state.id);
    auto& lives = lives_[project.state.id];
    for (auto& entry : catalog.entries_of(project.state.id)) {
      if (entry.ended == Position{}) unfinished_[entry.id] = {&lives, lives.all.size()};
      lives.all.push_back({std::move(entry.id), entry.made, entry.ended});
    }
    lives.last_ends.resize((lives.all.size() + k_part - 1) / k_part);
    for (std::size_t part = 0; part < lives.last_ends.size(); ++part) note_ends(lives, part);
  }
}

void Lifetimes::note_ends(Lives& lives, std::size_t part) {
  const auto end = std::min(lives.all.size(), (part + 1) * k_part);
  Position last;
  for (auto at = part * k_part; at < end; ++at) {
    last = std::max(last, lives.all[at].ended);
    if (lives.all[at].ended == Position{}) {
      last = {};
      break;
    }
  }
  lives.last_ends[part] = last;
}

void Lifetimes::take(const storage::Record& record) {
  if (record.event.has_project_created()) {
    projects_[record.event.project_created().name()].push_back(project_of(record.stream));
  }
  const auto id = deployment_of(record.stream);
  if (id.empty()) return;
  if (const auto* push = push_of(record.event)) {
    auto& lives = lives_[ProjectId{push->project_id()}];
    unfinished_[id] = {&lives, lives.all.size()};
    lives.all.push_back({id, record.position, {}});
    lives.last_ends.resize((lives.all.size() + k_part - 1) / k_part);
    lives.last_ends.back() = {};
  } else if (ends_deployment(record.event)) {
    const auto found = unfinished_.find(id);
    if (found == unfinished_.end()) return;
    auto& [lives, at] = found->second;
    lives->all[at].ended = record.position;
    note_ends(*lives, at / k_part);
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
    ATLAS_TRYV(read_of_interest(log, position.next(),
                                [&](const storage::Record& record) { lives.take(record); }));
    ATLAS_PROBE(true, "a look at an earlier moment began with a snapshot");
    return lives;
  }
  return std::nullopt;
}

std::vector<DeploymentId> Lifetimes::unfinished_at(Position position) const {
  std::vector<DeploymentId> ids;
  for (const auto& [project, lives] : lives_) {
    for (std::size_t part = 0; part < lives.last_ends.size(); ++part) {
      if (lives.all[part * k_part].begun > position) break;
      const auto last_end = lives.last_ends[part];
      if (last_end != Position{} && last_end <= position) continue;
      const auto end = std::min(lives.all.size(), (part + 1) * k_part);
      for (auto at = part * k_part; at < end && lives.all[at].begun <= position; ++at) {
        const auto& life = lives.all[at];
        if (life.ended == Position{} || life.ended > position) ids.push_back(life.id);
      }
    }
  }
  return ids;
}

std::vector<Position> Lifetimes::begun_between(const ProjectId& project, Position after,
                                               Position until) const {
  std::vector<Position> positions;
  const auto found = lives_.find(project);
  if (found == lives_.end()) return positions;
  const auto& all = found->second.all;
  for (auto life = std::ranges::upper_bound(all, after, {}, &Life::begun);
       life != all.end() && life->begun <= until; ++life) {
    positions.push_back(life->begun);
  }
  return positions;
}

std::vector<ProjectId> Lifetimes::projects_named(const std::string& name) const {
  const auto found = projects_.find(name);
  return found == projects_.end() ? std::vector<ProjectId>{} : found->second;
}

}  // namespace atlasflow::inspect
