// A deployment as the read model shows it: a fold of the deployment's stream and of nothing else,
// whether its records come as they are written or are read again once it has ended. Values; any
// thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "events/deployment.hpp"
#include "events/fields.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

// One of the events that a user follows (the seven, what begins a deployment without a push, ends).
struct Milestone {
  std::string name;  // "PushReceived", …
  TimestampUs at = 0;
  Position position;
};

struct DeploymentView {
  DeploymentState state;
  TimestampUs created_at = 0;
  TimestampUs updated_at = 0;
  Position first_position;
  std::uint64_t number = 0;           // 1 for the project's first; its project's to tell
  std::vector<Milestone> milestones;  // in log order; the seven, the failures and the ends
};

ATLAS_FIELDS(Milestone, name, at, position)
ATLAS_FIELDS(DeploymentView, state, created_at, updated_at, first_position, number, milestones)

// The next record of the deployment's stream, or its first. Nothing comes of one behind the end: no
// build decides such a one, and a log that has it all the same is folded as if it had not.
void take(DeploymentView& view, const Record& record);

// A deployment's view up to its end, without its number. Nothing: there is no such stream, or it
// has not ended.
[[nodiscard]] Result<std::optional<DeploymentView>> finished_in(const EventLog& log,
                                                                const DeploymentId& id);

// The event's name as users see it: "PushReceived", "VMStarted".
[[nodiscard]] std::string event_name(const pb::Event& event);

}  // namespace atlasflow::storage
