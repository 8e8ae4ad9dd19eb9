// What a start does when another build wrote to this state folder last: it proves that this one
// makes the same of the log (actors/runtime/shadow_replay.hpp), or refuses. Main's thread, before
// any part that could change the world is there.
#pragma once

#include "base/error.hpp"
#include "storage/log/event_log.hpp"
#include "storage/snapshots/snapshot_store.hpp"

namespace atlasflow::server {

// Nothing to do when this build was the last. conflict: it makes another state of the log; the
// sentence names the position and the field, and nothing was changed. accept: the difference is
// recorded instead (NewFoldAccepted), with who started this process, and the start may go on.
[[nodiscard]] Result<void> prove_fold(storage::EventLog& log,
                                      const storage::SnapshotStore& snapshots, bool accept);

}  // namespace atlasflow::server
