// What an actor that writes to the log is told, in which turn, and when it must end.
#include "actors/runtime/stream_writer.hpp"

#include <caf/scheduler/test_coordinator.hpp>
#include <gmock/gmock.h>

#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::actors {
namespace {

using testing::ElementsAre;

struct FixedClock final : Clock {
  TimestampUs now() const override { return 42; }
};

class FaultyLog final : public storage::ForwardingEventLog {
 public:
  FaultyLog() : ForwardingEventLog(storage::open_memory_event_log()) {}
  std::optional<ErrorCode> fault;
  Result<std::vector<storage::AppendOutcome>> append(
      const std::vector<storage::AppendRequest>& requests, TimestampUs now) override {
    if (fault) return fail(*fault, "the disk is at fault");
    return log().append(requests, now);
  }
};

// Notes what it is told, in order.
struct WriterState {
  StreamWriter writer;
  StreamVersion version;
  std::vector<std::string>* told = nullptr;
};
using Told = std::vector<std::string>;

std::string name_of(const WriteOutcome& outcome) {
  constexpr std::array k_names{"appended", "duplicate",   "basis moved",
                               "outrun",   "not written", "fate unknown"};
  return k_names.at(outcome.index());
}

Append append_to(const StreamId& stream, StreamVersion version) {
  Append message;
  message.request.stream = stream;
  message.request.expected_version = version;
  message.request.events.emplace_back().mutable_node_started();
  message.patient = false;
  return message;
}

// Each number is an append to its own stream, in its turn.
caf::behavior own_stream_writer(caf::stateful_actor<WriterState>* self, const log_actor& log_writer,
                                Told* told) {
  self->state.told = told;
  self->state.writer = StreamWriter(log_writer, [self](const storage::Record& record) {
    self->state.version = record.stream_version;
    self->state.told->push_back("folded " + std::to_string(record.stream_version.value()));
  });
  return {[self](int number) {
    self->state.writer.in_turn([self, number] {
      self->state.told->push_back("turn " + std::to_string(number));
      self->state.writer.append(
          self, k_own_stream, append_to(StreamId{"own"}, self->state.version),
          [self](const WriteOutcome& outcome) { self->state.told->push_back(name_of(outcome)); });
    });
  }};
}

class StreamWriting : public testing::Test {
 protected:
  StreamWriting() {
    EXPECT_TRUE(log.begin_epoch());
    config.set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(config);
    scheduler = dynamic_cast<caf::scheduler::test_coordinator*>(&system->scheduler());
    log_writer =
        system->spawn(actors::log_writer, LogWriterConfig{&log, &clock, [](const Error&) {}, ""});
    writer = system->spawn(own_stream_writer, log_writer, &told);
    caf::actor_cast<caf::abstract_actor*>(writer)->attach_functor([this] { ended = true; });
  }
  ~StreamWriting() override {
    caf::anon_send_exit(writer, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(log_writer, caf::exit_reason::user_shutdown);
    writer = nullptr;
    log_writer = nullptr;
    while (scheduler->try_run_once() || scheduler->trigger_timeout()) {
    }
  }
  void run() {
    while (scheduler->try_run_once()) {
    }
  }
  // By somebody else.
  void append(const std::string& stream, std::uint64_t version) {
    const auto message = append_to(StreamId{stream}, StreamVersion{version});
    ASSERT_TRUE(log.append({message.request}, 1));
  }

  FaultyLog log;
  FixedClock clock;
  Told told;
  bool ended = false;
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  caf::scheduler::test_coordinator* scheduler = nullptr;
  log_actor log_writer;
  caf::actor writer;
};

TEST_F(StreamWriting, what_comes_while_an_append_is_under_way_waits_for_the_fold) {
  caf::anon_send(writer, 1);
  caf::anon_send(writer, 2);
  run();
  EXPECT_THAT(told,
              ElementsAre("turn 1", "folded 1", "appended", "turn 2", "folded 2", "appended"));
  EXPECT_FALSE(ended);
}

TEST_F(StreamWriting, whose_own_stream_was_written_by_another_is_told_and_ends) {
  append("own", 0);
  caf::anon_send(writer, 1);
  caf::anon_send(writer, 2);
  run();
  EXPECT_THAT(told, ElementsAre("turn 1", "outrun")) << "its fold is wrong: nobody decides by it";
  EXPECT_TRUE(ended);
}

TEST_F(StreamWriting, a_full_disk_is_told_and_the_next_one_has_its_turn) {
  log.fault = ErrorCode::disk_full;
  caf::anon_send(writer, 1);
  run();
  log.fault.reset();
  while (scheduler->trigger_timeout()) run();
  caf::anon_send(writer, 2);
  run();
  EXPECT_THAT(told, ElementsAre("turn 1", "not written", "turn 2", "folded 1", "appended"));
  EXPECT_FALSE(ended);
}

TEST_F(StreamWriting, who_does_not_know_what_the_log_has_ends) {
  log.fault = ErrorCode::unavailable;
  caf::anon_send(writer, 1);
  caf::anon_send(writer, 2);
  run();
  EXPECT_THAT(told, ElementsAre("turn 1", "fate unknown"));
  EXPECT_TRUE(ended);
}

// Nobody folds it before writing, so nobody knows its version.
TEST_F(StreamWriting, what_goes_to_a_shared_stream_goes_behind_what_is_there) {
  append("shared", 0);
  append("shared", 1);
  for (int i = 0; i < 2; ++i) {
    system->spawn(
        [this](caf::event_based_actor* self, const log_actor& to) {
          write(self, to, k_shared_stream, append_to(StreamId{"shared"}, StreamVersion{}),
                [this](const WriteOutcome& outcome) { told.push_back(name_of(outcome)); });
        },
        log_writer);
  }
  run();
  EXPECT_THAT(told, ElementsAre("appended", "appended"));
  EXPECT_EQ(log.version_of(StreamId{"shared"}).value(), StreamVersion{4});
}

// A quarantine that is recorded while the disk is full, for example.
TEST_F(StreamWriting, what_waits_for_room_goes_behind_what_is_there_however_long_that_takes) {
  append("shared", 0);
  log.fault = ErrorCode::disk_full;
  system->spawn(
      [this](caf::event_based_actor* self, const log_actor& to) {
        auto message = append_to(StreamId{"shared"}, StreamVersion{});
        message.patient = true;
        write(self, to, k_shared_stream, std::move(message),
              [this](const WriteOutcome& outcome) { told.push_back(name_of(outcome)); });
      },
      log_writer);
  run();
  for (int second = 0; second < 120; ++second) {
    scheduler->advance_time(std::chrono::seconds(1));
    run();
  }
  EXPECT_THAT(told, testing::IsEmpty());
  log.fault.reset();
  scheduler->advance_time(std::chrono::seconds(2));
  run();
  EXPECT_THAT(told, ElementsAre("appended"));
  EXPECT_EQ(log.version_of(StreamId{"shared"}).value(), StreamVersion{2});
}

}  // namespace
}  // namespace atlasflow::actors
