// A simulated world that goes on from a real log: "what would have happened if …". The log is read
// only, up to a position, and copied; the world is made to look as the log says it did then: VMs
// that run, images, routes, checkouts. One thread; once made, a history is not changed any more.
#pragma once

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "sim/world/github.hpp"
#include "sim/world/world.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::sim {

struct History {
  std::shared_ptr<const storage::MemoryStore> store;
  Position position;            // of its last record; 0 for an empty log
  TimestampUs recorded_at = 0;  // of that record
  std::shared_ptr<const storage::Catalog> catalog;
  std::set<HostId> hosts;  // on which a VM was ever placed
  std::string domain;      // what the newest hostname ends in; empty when there is none
};

// Opens and verifies the event log in the folder. not_found, corrupt, and invalid_argument when
// the log does not reach the position, with what to do. Position 0: its end.
[[nodiscard]] Result<History> history_from_log(const std::filesystem::path& folder,
                                               Position position);
// The same of a log that is open.
[[nodiscard]] Result<History> history_of(const storage::EventLog& log, Position position);

// Makes an empty world look as the history's log says, at the time at which it ends. What the log
// does not tell is taken as it is most likely: an effect that was begun and has no outcome did not
// happen, a VM that is being stopped still runs, nothing that was built has been collected. Hosts
// stay as they are in the world when the log names none.
void make_world(World& world, const History& history);

// The projects that exist, with where they are deployed from.
[[nodiscard]] std::vector<Hosted> projects_of(const History& history);

}  // namespace atlasflow::sim
