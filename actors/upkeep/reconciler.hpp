// Compares the world with what the log explains, at the start and every minute: what no deployment
// owes or holds is an orphan, and is ended with an event. What a deployment misses it notices
// itself, by its VM's actor.
#pragma once

#include <compare>
#include <set>
#include <string>
#include <vector>

#include "actors/runtime/stream_writer.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::actors {

// Something on a machine that carries a name from the log.
struct WorldThing {
  enum class Kind : std::uint8_t { build, checkout, vm };
  Kind kind = Kind::vm;
  HostId host;  // of a VM
  std::string name;
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the generated comparison for a 0
  friend auto operator<=>(const WorldThing&, const WorldThing&) = default;
};

// What is there and no unfinished deployment explains. `own_builds`: whether builds may belong to
// this process; after a start none does.
[[nodiscard]] std::vector<WorldThing> unexplained(const Engines& engines,
                                                  const storage::Catalog& catalog, bool own_builds);
// Ends the thing; the event that says so, or nothing when it could not be ended: then it is found
// again.
[[nodiscard]] std::optional<pb::Event> reap(const Engines& engines, const WorldThing& thing);

using reconciler_actor = caf::typed_actor<
    // To itself: compare. Blocks in the engines, so it has a thread of its own.
    caf::reacts_to<Tick>>;

struct ReconcilerConfig {
  Engines engines;
  const storage::Catalog* catalog = nullptr;
  log_actor log_writer;
};

struct ReconcilerState {
  ReconcilerConfig config;
  // Unexplained a minute ago: what is being made may be ahead of its event, but not for so long.
  std::set<WorldThing> suspects;
  const char* name = "reconciler";

  void compare(reconciler_actor::pointer self);
};

[[nodiscard]] reconciler_actor::behavior_type reconciler(
    reconciler_actor::stateful_pointer<ReconcilerState> self, ReconcilerConfig config);

}  // namespace atlasflow::actors
