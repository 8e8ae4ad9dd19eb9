// What was the case at a moment: folds of the log up to it, and how two moments differ. Uses
// evolve() and outstanding() only, so it shows what the control plane itself knew then. Pure reads;
// one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "inspect/json.hpp"
#include "inspect/log_view.hpp"

namespace atlasflow::inspect {

enum class SubjectKind : std::uint8_t { deployment, project, host, routes, queue };

// What a user asks about: a deployment's id, a project's name, a hostname, "routes" or "queue".
struct Subject {
  SubjectKind kind = SubjectKind::routes;
  std::string name;
  StreamId stream;  // of a deployment or a project
};
// not_found, as invalid_argument: there was nothing of that name by then; says what may be named.
[[nodiscard]] Result<Subject> subject_of(const LogView& view, const std::string& name,
                                         Position until);

// Of a deployment or a project: the records up to a position that its state is folded of. Beside a
// project's own these are those that began its deployments of pull requests, once a commit of a
// fork had to wait for its approval: it waits no more then.
[[nodiscard]] Result<std::vector<storage::Record>> records_of(const LogView& view,
                                                              const Subject& subject,
                                                              Position until);
// One of them, in their order. The state must have its id.
void fold(DeploymentState& state, const storage::Record& record);
void fold(ProjectState& state, const storage::Record& record);

// The subject's state at the position, every field; of a deployment also its "outstanding" effects.
[[nodiscard]] Result<Json> state_at(const LogView& view, const Subject& subject, Position position);

// Hostnames at a moment. Of two claims on one hostname the higher generation has it.
struct Route {
  std::string hostname;
  DeploymentId deployment;
  std::string project;
  std::uint64_t generation = 0;
  std::vector<std::string> upstreams;  // "127.0.0.1:20001"; empty: it answers 503 with the reason
  std::string unavailable_reason;
};
[[nodiscard]] Result<std::vector<Route>> routes_at(const LogView& view, Position position);

// A field that is not what it was, and the event that changed it last.
struct AttributedChange {
  Change change;
  std::optional<storage::Record> by;  // none for subjects that are no stream
};
// from may lie behind to: then the changes are undone ones, attributed all the same.
[[nodiscard]] Result<std::vector<AttributedChange>> diff(const LogView& view,
                                                         const Subject& subject, Position from,
                                                         Position to);

// One step of a deployment's replay: the event, what it changed, and what the world owes after it.
struct ReplayStep {
  storage::Record record;
  Json state;
  std::vector<Change> changes;
  std::vector<Effect> outstanding;
};
[[nodiscard]] Result<std::vector<ReplayStep>> replay(const LogView& view, const DeploymentId& id,
                                                     Position until);

// What a deployment would be if an event had not been, or another had been in its place: a scratch
// fold, never performed.
struct WhatIf {
  DeploymentState before;
  DeploymentState after;
};
[[nodiscard]] Result<WhatIf> without_event(const LogView& view, const DeploymentId& id,
                                           Position skipped);
// The event is inserted behind the position.
[[nodiscard]] Result<WhatIf> with_event(const LogView& view, const DeploymentId& id, Position after,
                                        const pb::Event& event);

}  // namespace atlasflow::inspect
