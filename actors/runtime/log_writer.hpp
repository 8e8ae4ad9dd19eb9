// The log writer: the only actor that appends, and the only one that blocks on the disk. Appends
// that are queued when a flush runs share one synced write (group commit); no timer is involved.
#pragma once

#include <functional>
#include <vector>

#include "actors/runtime/messages.hpp"
#include "actors/runtime/support.hpp"

namespace atlasflow::actors {

using record_sink = caf::typed_actor<
    // Records that are durable, in position order, each exactly once.
    caf::reacts_to<RecordBatch>>;

using log_actor = caf::typed_actor<
    // Appends events if the stream is at the expected version, and the streams that the decision
    // rests on are where they were; the answer comes after the sync.
    caf::replies_to<Append>::with<AppendReply>,
    // Commits everything that was queued before this message.
    caf::reacts_to<Flush>,
    // The same, with an answer.
    caf::replies_to<Settle>::with<Settled>,
    // Commits what a full disk has kept waiting.
    caf::reacts_to<TryAgain>,
    // Notes the end of the log after a pause in the appends.
    caf::reacts_to<NoteEnd>,
    // From now on the sender's batches go to the sink as well.
    caf::reacts_to<record_sink>>;

struct LogWriterConfig {
  storage::EventLog* log = nullptr;
  Clock* clock = nullptr;
  std::function<void(const Error&)>
      fatal;                // a failed sync ends here; must not return to normal work
  std::string crash_after;  // tests: SIGKILL once an event of this name is durable
};

struct LogWriterState {
  struct Pending {
    storage::AppendRequest request;
    Basis basis;
    PromiseGuard<AppendReply> reply;
    bool patient = true;
  };
  LogWriterConfig config;
  std::vector<Pending> batch;
  std::vector<record_sink> sinks;
  bool full = false;    // the disk is; the batch waits for TryAgain
  int looks = 0;        // for room, since it got full
  bool noting = false;  // NoteEnd is under way
  std::vector<PromiseGuard<Settled>> settling;

  void commit(log_actor::pointer self);
  // What goes into the next batch.
  [[nodiscard]] std::vector<Pending> take(log_actor::pointer self);
  [[nodiscard]] bool has_moved(const Basis& basis) const;
  void wait_for_room(log_actor::pointer self, std::vector<Pending> pending, const Error& error);
  void settle();
  void note_end();
  // What the sinks have not been told though the log has it.
  void tell_unheard(log_actor::pointer self);
  Position told;  // the newest record that went to the sinks
  const char* name = "log_writer";
};

[[nodiscard]] log_actor::behavior_type log_writer(log_actor::stateful_pointer<LogWriterState> self,
                                                  LogWriterConfig config);

}  // namespace atlasflow::actors
