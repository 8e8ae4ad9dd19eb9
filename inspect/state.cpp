#include "inspect/state.hpp"

#include <algorithm>
#include <map>

#include "base/assert.hpp"
#include "events/project_history.hpp"

namespace atlasflow::inspect {
namespace {

DeploymentState folded(const DeploymentId& id, const std::vector<storage::Record>& records) {
  DeploymentState state;
  state.id = id;
  for (const auto& record : records) fold(state, record);
  return state;
}

// The state at a position of every deployment that had not ended, and of none or all that had.
Result<std::map<DeploymentId, DeploymentState>> deployments_at(const LogView& view,
                                                               Position position) {
  std::map<DeploymentId, DeploymentState> states;
  ATLAS_TRY(const auto* lifetimes, view.lifetimes());
  if (lifetimes != nullptr) {
    for (const auto& id : lifetimes->unfinished_at(position)) {
      auto& state = states[id];
      state.id = id;
      ATLAS_TRYV(view.log().read_stream(deployment_stream(id), StreamVersion(1),
                                        [&](const storage::Record& record) {
                                          if (record.position > position) return false;
                                          evolve(state, record.event);
                                          return true;
                                        }));
    }
    return states;
  }
  const auto walked = view.walk(position, [&](const storage::Record& record) {
    if (const auto id = deployment_of(record.stream); !id.empty()) {
      auto& state = states[id];
      state.id = id;
      evolve(state, record.event);
    }
    return true;
  });
  if (!walked) return tl::unexpected(walked.error());
  return states;
}

Json json_of_deployment(const DeploymentState& state) {
  auto json = json_of(state);
  json["outstanding"] = json_of(outstanding(state));
  return json;
}

Json json_of_route(const Route& route) {
  return {{"deployment", route.deployment.str()},
          {"project", route.project},
          {"generation", route.generation},
          {"upstreams", route.upstreams},
          {"unavailable", route.unavailable_reason}};
}

// The newest project of the name by then; names can be given anew once a project is deleted.
Result<ProjectId> project_named(const LogView& view, const std::string& name, Position until) {
  ProjectId found;
  ATLAS_TRY(const auto* lifetimes, view.lifetimes());
  if (lifetimes != nullptr) {
    Position newest;
    for (const auto& id : lifetimes->projects_named(name)) {
      ATLAS_TRYV(view.log().read_stream(
          project_stream(id), StreamVersion(1), [&](const storage::Record& created) {
            if (created.position <= until && created.position > newest) {
              newest = created.position;
              found = id;
            }
            return false;
          }));
    }
    return found;
  }
  const auto walked = view.walk(until, [&](const storage::Record& record) {
    if (record.event.has_project_created() && record.event.project_created().name() == name) {
      found = project_of(record.stream);
    }
    return true;
  });
  if (!walked) return tl::unexpected(walked.error());
  return found;
}

Result<Json> queue_at(const LogView& view, Position position) {
  auto states = deployments_at(view, position);
  if (!states) return tl::unexpected(states.error());
  auto json = Json::object();
  for (const auto& [id, state] : *states) {
    if (state.status != DeploymentStatus::queued && !is_under_way(state.status)) continue;
    json[id.str()] = {{"project", state.push.project_name()},
                      {"environment", state.push.environment()},
                      {"status", name_of(state.status)},
                      {"sha", state.push.after()},
                      {"outstanding", json_of(outstanding(state))}};
  }
  return json;
}

// Follows a stream step by step and keeps, of each field, the event that touched it last.
template <typename State>
std::vector<AttributedChange> attributed(const std::vector<storage::Record>& records, State state,
                                         Position from, Position to) {
  Fields begin = fields_of(json_of(state));
  Fields last = begin;
  std::map<std::string, storage::Record> touched;
  for (const auto& record : records) {
    if (record.position > to) break;
    fold(state, record);
    auto now = fields_of(json_of(state));
    if (record.position > from) {
      for (const auto& change : changes_between(last, now)) touched[change.path] = record;
    } else {
      begin = now;
    }
    last = std::move(now);
  }
  std::vector<AttributedChange> changes;
  for (auto& change : changes_between(begin, last)) {
    const auto by = touched.find(change.path);
    ATLAS_ASSERT(by != touched.end(), change.path);
    changes.push_back({std::move(change), by->second});
  }
  return changes;
}

// A project's own records and, once a commit of a fork had to wait, what began its deployments of
// pull requests.
Result<std::vector<storage::Record>> records_of_project(const LogView& view, const ProjectId& id,
                                                        Position until) {
  ATLAS_TRY(auto records, view.stream(project_stream(id), until));
  const auto held = std::ranges::find_if(
      records, [](const auto& record) { return record.event.has_pull_request_held(); });
  if (held == records.end()) return records;
  const auto begin = held->position;
  const auto take = [&](const storage::Record& record) {
    const auto& push = record.event.push_received();
    if (record.event.has_push_received() && push.has_pull_request() &&
        push.project_id() == id.str()) {
      records.push_back(record);
    }
  };
  ATLAS_TRY(const auto* lifetimes, view.lifetimes());
  if (lifetimes != nullptr) {
    for (const auto position : lifetimes->begun_between(id, begin, until)) {
      ATLAS_TRY(const auto record, view.record(position));
      take(record);
    }
  } else {
    ATLAS_TRYV(view.log().read_all(begin, [&](const storage::Record& record) {
      if (record.position <= until) take(record);
      return record.position < until;
    }));
  }
  std::ranges::sort(records, {}, &storage::Record::position);
  return records;
}

}  // namespace

void fold(DeploymentState& state, const storage::Record& record) { evolve(state, record.event); }

void fold(ProjectState& state, const storage::Record& record) {
  if (project_of(record.stream) == state.id) {
    evolve(state, record.event);
  } else {
    note_deployed(state, record.event.push_received());
  }
}

Result<std::vector<storage::Record>> records_of(const LogView& view, const Subject& subject,
                                                Position until) {
  if (subject.kind != SubjectKind::project) return view.stream(subject.stream, until);
  return records_of_project(view, project_of(subject.stream), until);
}

Result<Subject> subject_of(const LogView& view, const std::string& name, Position until) {
  if (name == "routes") return Subject{SubjectKind::routes, name, {}};
  if (name == "queue") return Subject{SubjectKind::queue, name, {}};
  if (name.find('.') != std::string::npos) return Subject{SubjectKind::host, name, {}};
  const auto stream = deployment_stream(DeploymentId(name));
  bool is_there = false;
  ATLAS_TRYV(view.log().read_stream(stream, StreamVersion(1), [&](const storage::Record& record) {
    is_there = record.position <= until;
    return false;
  }));
  if (is_there) return Subject{SubjectKind::deployment, name, stream};
  const auto project = project_named(view, name, until);
  if (!project) return tl::unexpected(project.error());
  if (!project->empty()) return Subject{SubjectKind::project, name, project_stream(*project)};
  return fail(ErrorCode::invalid_argument,
              "no deployment or project '" + name + "' up to position " +
                  std::to_string(until.value()) +
                  "; name a deployment's id, a project, a hostname, routes or queue");
}

Result<std::vector<Route>> routes_at(const LogView& view, Position position) {
  auto states = deployments_at(view, position);
  if (!states) return tl::unexpected(states.error());
  std::map<std::string, Route> routes;
  for (const auto& [id, state] : *states) {
    for (const auto& effect : outstanding(state)) {
      const auto* claim = std::get_if<ClaimRouteEffect>(&effect);
      if (claim == nullptr) continue;
      for (const auto& hostname : state.hostnames) {
        auto& route = routes[hostname];
        if (!route.hostname.empty() && route.generation > claim->generation) continue;
        route = {hostname,          id, state.push.project_name(),
                 claim->generation, {}, claim->unavailable_reason};
        for (const auto& upstream : claim->upstreams) {
          route.upstreams.push_back(upstream.address + ":" + std::to_string(upstream.port));
        }
      }
    }
  }
  std::vector<Route> list;
  list.reserve(routes.size());
  for (auto& [hostname, route] : routes) list.push_back(std::move(route));
  return list;
}

Result<Json> state_at(const LogView& view, const Subject& subject, Position position) {
  switch (subject.kind) {
    case SubjectKind::deployment: {
      auto records = view.stream(subject.stream, position);
      if (!records) return tl::unexpected(records.error());
      return json_of_deployment(folded(deployment_of(subject.stream), *records));
    }
    case SubjectKind::project: {
      ProjectState state;
      state.id = project_of(subject.stream);
      ATLAS_TRY(const auto records, records_of(view, subject, position));
      for (const auto& record : records) fold(state, record);
      return json_of(state);
    }
    case SubjectKind::queue:
      return queue_at(view, position);
    case SubjectKind::host:
    case SubjectKind::routes:
      break;
  }
  auto routes = routes_at(view, position);
  if (!routes) return tl::unexpected(routes.error());
  auto json = Json::object();
  for (const auto& route : *routes) {
    if (subject.kind == SubjectKind::host && route.hostname != subject.name) continue;
    json[route.hostname] = json_of_route(route);
  }
  return json;
}

Result<std::vector<AttributedChange>> diff(const LogView& view, const Subject& subject,
                                           Position from, Position to) {
  if (from > to) {
    auto changes = diff(view, subject, to, from);
    if (!changes) return changes;
    for (auto& each : *changes) std::swap(each.change.before, each.change.after);
    return changes;
  }
  if (subject.kind == SubjectKind::deployment || subject.kind == SubjectKind::project) {
    ATLAS_TRY(const auto records, records_of(view, subject, to));
    if (subject.kind == SubjectKind::deployment) {
      DeploymentState state;
      state.id = deployment_of(subject.stream);
      return attributed(records, std::move(state), from, to);
    }
    ProjectState state;
    state.id = project_of(subject.stream);
    return attributed(records, std::move(state), from, to);
  }
  const auto before = state_at(view, subject, from);
  if (!before) return tl::unexpected(before.error());
  const auto after = state_at(view, subject, to);
  if (!after) return tl::unexpected(after.error());
  std::vector<AttributedChange> changes;
  for (auto& change : changes_between(fields_of(*before), fields_of(*after))) {
    changes.push_back({std::move(change), std::nullopt});
  }
  return changes;
}

Result<std::vector<ReplayStep>> replay(const LogView& view, const DeploymentId& id,
                                       Position until) {
  auto records = view.stream(deployment_stream(id), until);
  if (!records) return tl::unexpected(records.error());
  std::vector<ReplayStep> steps;
  DeploymentState state;
  state.id = id;
  auto last = fields_of(json_of(state));
  for (auto& record : *records) {
    evolve(state, record.event);
    auto json = json_of(state);
    auto now = fields_of(json);
    steps.push_back(
        {std::move(record), std::move(json), changes_between(last, now), outstanding(state)});
    last = std::move(now);
  }
  return steps;
}

Result<WhatIf> without_event(const LogView& view, const DeploymentId& id, Position skipped) {
  auto records = view.stream(deployment_stream(id), view.end());
  if (!records) return tl::unexpected(records.error());
  const auto at = std::ranges::find(*records, skipped, &storage::Record::position);
  if (at == records->end()) {
    return fail(ErrorCode::invalid_argument, "position " + std::to_string(skipped.value()) +
                                                 " is no event of deployment " + id.str() +
                                                 "; atlasflow timeline shows its positions");
  }
  WhatIf what{folded(id, *records), {}};
  records->erase(at);
  what.after = folded(id, *records);
  return what;
}

Result<WhatIf> with_event(const LogView& view, const DeploymentId& id, Position after,
                          const pb::Event& event) {
  auto records = view.stream(deployment_stream(id), view.end());
  if (!records) return tl::unexpected(records.error());
  if (records->empty()) {
    return fail(ErrorCode::invalid_argument, "there is no deployment " + id.str() + " in this log");
  }
  WhatIf what{folded(id, *records), {}};
  const auto at = std::ranges::find_if(
      *records, [&](const storage::Record& record) { return record.position > after; });
  storage::Record inserted;
  inserted.position = after;
  inserted.event = event;
  records->insert(at, std::move(inserted));
  what.after = folded(id, *records);
  return what;
}

}  // namespace atlasflow::inspect
