// A simulated world that goes on from a real log: "what would have happened if …". The log is read
// only, up to a position, and copied; the world is made to look as the log says it did then: VMs
// that run, images, routes, checkouts. One thread.
#pragma once

#include <filesystem>
#include <memory>

#include "events/error.hpp"
#include "sim/world.hpp"
#include "storage/memory_event_log.hpp"

namespace atlasflow::sim {

struct History {
  std::shared_ptr<storage::MemoryStore> store;
  Position position;
  TimestampUs recorded_at = 0;  // of the record there
};

// Opens and verifies the event log in the folder. not_found, corrupt, and invalid_argument when
// the log does not reach the position, with what to do. Position 0: its end.
[[nodiscard]] Result<History> history_from_log(const std::filesystem::path& folder,
                                               Position position);

// Makes an empty world look as the history's log says.
void make_world(World& world, const History& history);

}  // namespace atlasflow::sim
