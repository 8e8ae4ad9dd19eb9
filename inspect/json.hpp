// States, effects and events of the log as JSON, every field of them: what the verbs of time travel
// print and compare. No secret can appear: events and states hold references and digests only, and
// references to sealed values are left out. Pure; any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "events/deployment.hpp"
#include "events/project.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::inspect {

using Json = nlohmann::ordered_json;  // members keep the order in which they were set

[[nodiscard]] Json json_of(const DeploymentState& state);
[[nodiscard]] Json json_of(const ProjectState& state);
// {"kind":"build","key":"build d2ab…-v4", …}
[[nodiscard]] Json json_of(const Effect& effect);
[[nodiscard]] Json json_of(const std::vector<Effect>& effects);
// The record's header and its event: {"position","stream","version","at","type","data", …}.
[[nodiscard]] Json json_of(const storage::Record& record);
// The event's fields alone.
[[nodiscard]] Json data_of(const pb::Event& event);

// Every leaf by its path: {"instances.0.crashes": "2"}. A list's members have their index.
using Fields = std::map<std::string, std::string>;
[[nodiscard]] Fields fields_of(const Json& json);

struct Change {
  std::string path;
  std::string before;  // empty: it was not there
  std::string after;   // empty: it is no more
  friend bool operator==(const Change&, const Change&) = default;
};
// In the order of paths.
[[nodiscard]] std::vector<Change> changes_between(const Fields& before, const Fields& after);

}  // namespace atlasflow::inspect
