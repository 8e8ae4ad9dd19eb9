// An actor's way into the log, written once: an append under an expected version, what became of it
// as a value, and the turns of whoever folds what it writes. A StreamWriter is part of its actor's
// state and is used by that actor only; write() is for who writes to streams that others write too.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>
#include <variant>
#include <vector>

#include "actors/runtime/log_reader.hpp"
#include "actors/runtime/log_writer.hpp"

namespace atlasflow::actors {

// What became of an append, beside storage::Appended and storage::Duplicate.
// Nothing is in the log: what the decision rests on had moved (Append::basis).
struct BasisMoved {};
// Nothing is in the log: another writer of the stream was faster.
struct Outrun {};
// It was not taken, and the writer goes on as if it were not in the log: the disk is full.
struct NotWritten {
  Error error;
};
// It may be in the log or not; only reading it tells.
struct FateUnknown {
  Error error;
};
using WriteOutcome = std::variant<storage::Appended, storage::Duplicate, BasisMoved, Outrun,
                                  NotWritten, FateUnknown>;
using OnWritten = std::function<void(const WriteOutcome&)>;

// What an append that was not simply taken means to its writer.
struct WritePolicy {
  enum class WhenOutrun : std::uint8_t {
    // The stream is the writer's own, so its fold is wrong: it ends once it has been told, and the
    // next actor replays.
    replay,
    tell,
    // What is written rests on nothing that is in the stream: it goes behind what is there.
    write_behind,
  };
  enum class WhenUnknown : std::uint8_t { replay, tell };
  WhenOutrun outrun = WhenOutrun::replay;
  WhenUnknown unknown = WhenUnknown::replay;
  caf::duration timeout{k_request_timeout};
};
// The stream that the actor folds. Its patience is without end: a slow disk is no reason to die.
inline const WritePolicy k_own_stream{WritePolicy::WhenOutrun::replay,
                                      WritePolicy::WhenUnknown::replay, caf::infinite};
// A stream that the append begins; that it is there already is an answer.
inline const WritePolicy k_new_stream{WritePolicy::WhenOutrun::tell,
                                      WritePolicy::WhenUnknown::replay,
                                      caf::duration{k_request_timeout}};
// The same, of who does not fold it and can ask again.
inline const WritePolicy k_asked_stream{WritePolicy::WhenOutrun::tell,
                                        WritePolicy::WhenUnknown::tell,
                                        caf::duration{k_request_timeout}};
// One that several write to, none of which folds it. What waits for room on a full disk may find
// the stream longer then, and is to be tried again.
inline const WritePolicy k_shared_stream{WritePolicy::WhenOutrun::write_behind,
                                         WritePolicy::WhenUnknown::tell, caf::infinite};

// So often an append goes behind another's before that counts as being outrun.
constexpr int k_writes_behind_max = 10;

[[nodiscard]] WriteOutcome outcome_of(const AppendReply& reply);
[[nodiscard]] WriteOutcome outcome_of(const Error& error);
// Whether, after this outcome, only an actor that reads the log anew can go on.
[[nodiscard]] bool ends_writer(const WritePolicy& policy, const WriteOutcome& outcome);

// Appends, and tells `then` what became of it; then `self` ends where the policy says so. A shared
// stream is tried at the version that the message expects first, and then at the one that it has.
template <typename Self>
void write(Self* self, const log_actor& log_writer, const WritePolicy& policy, Append message,
           OnWritten then, int tries = k_writes_behind_max) {
  const bool behind = policy.outrun == WritePolicy::WhenOutrun::write_behind;
  auto again = behind ? message : Append{};
  const auto told = [self, policy, then](const WriteOutcome& outcome) {
    then(outcome);
    if (ends_writer(policy, outcome)) self->quit(caf::exit_reason::unhandled_exception);
  };
  self->request(log_writer, policy.timeout, std::move(message))
      .then(
          [=, again = std::move(again)](const AppendReply& reply) mutable {
            const auto* faster = std::get_if<storage::WrongVersion>(&reply.outcome);
            if (!behind || faster == nullptr || tries == 0) return told(outcome_of(reply));
            again.request.expected_version = faster->actual;
            write(self, log_writer, policy, std::move(again), then, tries - 1);
          },
          [=](const caf::error& error) { told(outcome_of(from_caf(error))); });
}

// Of an actor that folds what it writes: one append at a time, and what rests on the fold waits for
// its turn meanwhile.
class StreamWriter {
 public:
  StreamWriter() = default;
  // fold: takes what was accepted, before anybody hears of it.
  StreamWriter(log_actor log_writer, TakeRecord fold)
      : log_writer_(std::move(log_writer)), fold_(std::move(fold)) {}

  // Does the work now, or in its turn when an append is under way. Throws when too much waits.
  void in_turn(std::function<void()> work);
  // Whether nothing is under way and nothing waits.
  [[nodiscard]] bool at_rest() const { return !busy_ && waiting_.empty(); }

  // Only in a turn. After `then` it is the turn of what waited, unless `self` has ended.
  template <typename Self>
  void append(Self* self, const WritePolicy& policy, Append message, OnWritten then) {
    begin_turn();
    write(self, log_writer_, policy, std::move(message),
          [this, policy, then = std::move(then)](const WriteOutcome& outcome) {
            if (ends_writer(policy, outcome)) return then(outcome);
            if (const auto* appended = std::get_if<storage::Appended>(&outcome)) {
              for (const auto& record : appended->records) fold_(record);
            }
            busy_ = false;
            then(outcome);
            go_on();
          });
  }

  // Folds the part of the stream, each record by `fold`: a turn of its own.
  template <typename Self>
  void read(Self* self, const log_reader_actor& reader, ReadStream part, TakeRecord fold,
            std::function<void()> then) {
    begin_turn();
    read_stream(self, reader, std::move(part), std::move(fold), [this, then = std::move(then)] {
      busy_ = false;
      then();
      go_on();
    });
  }

  // Once everything has been written that was queued by anybody when this was called: the last
  // append of the actor before this one may be among it. A turn of its own.
  template <typename Self>
  void settle(Self* self, std::function<void()> then) {
    begin_turn();
    self->request(log_writer_, caf::infinite, Settle{})
        .then(
            [this, then = std::move(then)](const Settled&) {
              busy_ = false;
              then();
              go_on();
            },
            [self](const caf::error&) { self->quit(caf::exit_reason::unhandled_exception); });
  }

 private:
  void begin_turn();
  void go_on();

  log_actor log_writer_;
  TakeRecord fold_;
  bool busy_ = false;
  std::deque<std::function<void()>> waiting_;
};

// Appends to the node's stream, which has several writers; what became of it is nobody's concern.
template <typename Self>
void write_to_node(Self* self, const log_actor& log_writer, std::vector<pb::Event> events) {
  Append message;
  message.request.stream = node_stream();
  message.request.events = std::move(events);
  message.request.actor = Principal::system(self->name());
  write(self, log_writer, k_shared_stream, std::move(message), [](const WriteOutcome&) {});
}

}  // namespace atlasflow::actors
