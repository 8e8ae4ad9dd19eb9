#include "actors/projects/project_histories.hpp"

#include <memory>
#include <set>
#include <utility>

#include "base/probe.hpp"
#include "events/deployment_events.hpp"

namespace atlasflow::actors {
namespace {

// The deployment that a violated invariant has stopped.
DeploymentId quarantined_by(const pb::Event& event) {
  if (!event.has_invariant_violated()) return {};
  return deployment_of(StreamId{event.invariant_violated().stream()});
}

}  // namespace

bool apply(ProjectHistory& history, const storage::Record& record) {
  if (record.stream == node_stream()) {
    // A new control plane tries the quarantined ones again.
    if (record.event.has_node_started()) history.quarantined.clear();
    if (auto id = quarantined_by(record.event); history.environment_by_id.contains(id)) {
      history.quarantined.insert(std::move(id));
    }
    return false;
  }
  const auto id = deployment_of(record.stream);
  if (id.empty()) {
    if (record.stream_version <= history.project.version) return false;
    evolve(history, record.event);
    return true;
  }
  if (push_of(record.event) != nullptr) {
    if (record.position <= history.newest_made) return false;
    history.newest_made = record.position;
  } else if (!history.environment_by_id.contains(id)) {
    return false;
  }
  if (const auto* state = history.find(id);
      state != nullptr && record.stream_version <= state->version) {
    ATLAS_PROBE(true, "a project was told what it had read from the log already");
    return false;
  }
  evolve(history, id, record.event, record.recorded_at);
  return true;
}

std::function<bool(const storage::Record&)> records_of(const ProjectId& project) {
  return [project,
          unfinished = std::make_shared<std::set<DeploymentId>>()](const storage::Record& record) {
    if (record.stream == node_stream()) return true;
    const auto id = deployment_of(record.stream);
    if (id.empty()) return project_of(record.stream) == project;
    if (const auto* push = push_of(record.event); push != nullptr) {
      if (push->project_id() == project.str()) unfinished->insert(id);
    }
    if (!unfinished->contains(id)) return false;
    if (ends_deployment(record.event)) unfinished->erase(id);
    return true;
  };
}

void ProjectHistories::apply(const storage::Record& record) {
  if (record.stream == node_stream()) {
    for (auto& [id, history] : histories_) actors::apply(history, record);
    return;
  }
  auto owner = project_of(record.stream);
  if (const auto id = deployment_of(record.stream); !id.empty()) {
    if (const auto* push = push_of(record.event)) {
      owner_of_unfinished_[id] = ProjectId{push->project_id()};
    }
    const auto known = owner_of_unfinished_.find(id);
    if (known == owner_of_unfinished_.end()) return;  // nothing follows an end
    owner = known->second;
    if (ends_deployment(record.event)) owner_of_unfinished_.erase(known);
  }
  if (owner.empty()) return;
  auto& history = histories_[owner];
  history.project.id = owner;
  actors::apply(history, record);
}

}  // namespace atlasflow::actors
