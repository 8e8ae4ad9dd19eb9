// The notifier: tells each project's notify_url what its deployments came to. What is owed is a
// fold of the log (events/notifications.hpp), so a restart goes on where the log stands: at least
// once at the receiver, exactly once in the log. Senders, which block, take one attempt at a time;
// of one receiver's notifications one is under way, so it is told in order.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "actors/runtime/stream_writer.hpp"
#include "actors/runtime/supervisor.hpp"
#include "events/notifications.hpp"

namespace atlasflow::actors {

using sender_actor = caf::typed_actor<
    // One attempt; blocks. Answers the notifier with Posted.
    caf::reacts_to<PostNow>>;

using notifier_actor = caf::typed_actor<
    // Begins with what is owed, or reads it from the log; batches that came before are part of it.
    caf::reacts_to<BeginNotifying>,
    // What has been recorded.
    caf::reacts_to<RecordBatch>,
    // From a sender, which is idle from then on.
    caf::reacts_to<Posted>,
    // To itself.
    caf::reacts_to<PostOverdue>, caf::reacts_to<PostAgain>, caf::reacts_to<RecordAgain>>;

enum class PostVerdict : std::uint8_t {
  taken,
  again,    // it may be taken another time
  refused,  // the same will never be taken
};
// 0: no answer.
[[nodiscard]] PostVerdict verdict_on(std::int32_t status);
// After so many attempts: 1 s, doubled each time, at most 5 min.
[[nodiscard]] std::chrono::seconds pause_after(int attempts);

struct NotifierConfig {
  NotifyEngine* engine = nullptr;
  Clock* clock = nullptr;
  log_reader_actor log_reader;
  log_actor log_writer;
  std::string domain;
  SpawnMode spawn;
};

// Senders are alike: when they die too often the notifier ends as well, and root starts it again.
inline constexpr RestartPolicy k_sender_restarts{.counted = RestartPolicy::Counted::together,
                                                 .beyond = RestartPolicy::Beyond::escalate};

struct NotifierState {
  using SenderNumber = std::uint64_t;
  enum class Phase : std::uint8_t { ready, posting, pausing, recording };
  // The oldest notification that is owed to a receiver.
  struct Delivery {
    Notification notification;
    Phase phase = Phase::ready;
    std::uint64_t ticket = 0;  // of the newest attempt, or of the place among those that are ready
    int attempts = 0;
    pb::Event outcome;  // while recording
  };
  struct Posting {
    SenderNumber sender = 0;
    StopScope stop;
  };
  NotifierConfig config;
  NotificationsOwed owed{""};
  bool begun = false;
  Position position;  // of the fold
  Position heard;     // the newest record that came before it had begun
  std::map<NotificationsOwed::Receiver, Delivery> deliveries;
  std::map<std::uint64_t, Posting> posting;  // by ticket
  Supervisor<SenderNumber, sender_actor> senders{k_sender_restarts};
  std::vector<SenderNumber> idle;
  SenderNumber next_sender = 1;
  std::uint64_t next_ticket = 1;
  const char* name = "notifier";

  void begin(notifier_actor::pointer self, const BeginNotifying& message);
  // Folds the log from there to its end, as far as it was heard of.
  void read_on(notifier_actor::pointer self);
  void fold(const storage::Record& record);
  void on_records(notifier_actor::pointer self, const RecordBatch& batch);
  // Compares what is under way with what is owed, and gives idle senders work.
  void compare(notifier_actor::pointer self);
  void posted(notifier_actor::pointer self, const Posted& message);
  void on_down(notifier_actor::pointer self, const caf::down_msg& down);
  void overdue(notifier_actor::pointer self, std::uint64_t ticket);
  // The sender died or hangs: another takes its place, and the attempt that it had has failed.
  void lose(notifier_actor::pointer self, const ChildEnd<SenderNumber>& end);
  void judge(notifier_actor::pointer self, const Posted& message);
  void record(notifier_actor::pointer self, std::uint64_t ticket);
  void add_sender(notifier_actor::pointer self);
  [[nodiscard]] Delivery* in_phase(Phase phase, std::uint64_t ticket);
};

[[nodiscard]] notifier_actor::behavior_type notifier(
    notifier_actor::stateful_pointer<NotifierState> self, NotifierConfig config);

}  // namespace atlasflow::actors
