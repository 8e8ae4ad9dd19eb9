#include "actors/runtime/log_writer.hpp"

#include <caf/scheduler/test_coordinator.hpp>
#include <gmock/gmock.h>

#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::actors {
namespace {

struct FixedClock final : Clock {
  TimestampUs now() const override { return 42; }
};

// Counts how often the disk is asked.
class CountingLog final : public storage::ForwardingEventLog {
 public:
  CountingLog() : ForwardingEventLog(storage::open_memory_event_log()) {}
  int commits = 0;
  int notes = 0;
  bool broken = false;
  bool full = false;
  bool whole_though_full = false;  // the batch that is refused is in the log all the same
  bool found_by_next = false;      // or is there once the next append has opened the log again
  Result<std::vector<storage::AppendOutcome>> append(
      const std::vector<storage::AppendRequest>& requests, TimestampUs now) override {
    ++commits;
    if (broken) return fail(ErrorCode::unavailable, "the disk failed");
    if (full && whole_though_full) static_cast<void>(log().append(requests, now));
    if (full && found_by_next) torn_ = requests;
    if (full) return fail(ErrorCode::disk_full, "the disk is full");
    if (!torn_.empty()) static_cast<void>(log().append(std::exchange(torn_, {}), now));
    return log().append(requests, now);
  }
  Result<void> note_end(TimestampUs) override {
    ++notes;
    return {};
  }
  Result<void> has_room() const override {
    if (!full) return {};
    return fail(ErrorCode::disk_full, "the disk is full");
  }

 private:
  std::vector<storage::AppendRequest> torn_;
};

class LogWriter : public testing::Test {
 protected:
  LogWriter() {
    EXPECT_TRUE(log.begin_epoch());
    config.set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(config);
    scheduler = dynamic_cast<caf::scheduler::test_coordinator*>(&system->scheduler());
    LogWriterConfig writer_config;
    writer_config.log = &log;
    writer_config.clock = &clock;
    writer_config.fatal = [this](const Error& error) { fatal.push_back(error); };
    writer = system->spawn(log_writer, writer_config);
    const auto sink = system->spawn(
        [](record_sink::pointer, std::vector<std::uint64_t>* seen) -> record_sink::behavior_type {
          return {[seen](const RecordBatch& batch) {
            for (const auto& record : *batch.records) seen->push_back(record.position.value());
          }};
        },
        &records);
    sink_handle = sink;
    caf::anon_send(writer, sink);
  }
  ~LogWriter() override {
    caf::anon_send_exit(writer, caf::exit_reason::kill);
    caf::anon_send_exit(sink_handle, caf::exit_reason::kill);
    writer = nullptr;
    sink_handle = nullptr;
    while (scheduler->try_run_once() || scheduler->trigger_timeout()) {
    }
  }

  void append(const std::string& stream, std::uint64_t version, Basis basis = {},
              bool patient = true) {
    Append message;
    message.basis = std::move(basis);
    message.patient = patient;
    message.request.stream = StreamId{stream};
    message.request.expected_version = StreamVersion{version};
    message.request.events.emplace_back().mutable_node_started();
    system->spawn(
        [this](caf::event_based_actor* self, const Append& request) {
          self->request(writer, std::chrono::seconds(60), request)
              .then(
                  [this](const AppendReply& reply) {
                    if (reply.basis_moved) {
                      ++moved;
                    } else {
                      replies.push_back(reply.outcome);
                    }
                  },
                  [this](const caf::error& error) { errors.push_back(from_caf(error)); });
        },
        message);
  }
  void run() {
    while (scheduler->try_run_once()) {
    }
  }

  CountingLog log;
  FixedClock clock;
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  caf::scheduler::test_coordinator* scheduler = nullptr;
  log_actor writer;
  record_sink sink_handle;
  std::vector<storage::AppendOutcome> replies;
  int moved = 0;
  std::vector<Error> errors;
  std::vector<Error> fatal;
  std::vector<std::uint64_t> records;
};

TEST_F(LogWriter, what_is_queued_shares_one_commit) {
  run();
  for (int i = 0; i < 100; ++i) append("node" + std::to_string(i), 0);
  // The hundred requests are queued before the writer runs.
  while (scheduler->jobs.size() > 1) {
    auto& jobs = scheduler->jobs;
    const auto writer_job =
        static_cast<caf::resumable*>(caf::actor_cast<caf::scheduled_actor*>(writer));
    if (jobs.front() == writer_job) std::swap(jobs.front(), jobs.back());
    scheduler->try_run_once();
  }
  run();
  EXPECT_EQ(replies.size(), 100U);
  EXPECT_LE(log.commits, 3);
  EXPECT_EQ(records.size(), 100U);
  EXPECT_TRUE(std::is_sorted(records.begin(), records.end()));
}

TEST_F(LogWriter, a_wrong_version_is_answered_and_harms_no_other) {
  append("node", 0);
  append("other", 5);
  run();
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_EQ(
      std::count_if(replies.begin(), replies.end(),
                    [](const auto& r) { return std::holds_alternative<storage::Appended>(r); }),
      1);
  EXPECT_EQ(records.size(), 1U);
}

TEST_F(LogWriter, a_decision_whose_basis_has_moved_is_not_recorded) {
  const Basis once{{StreamId{"node"}, StreamVersion{1}}};
  append("node", 0);
  append("on nothing yet", 0, once);
  run();
  EXPECT_EQ(records.size(), 2U);
  EXPECT_EQ(moved, 0);
  append("node", 1);  // in the queue before the next, and so in the log
  append("on an older one", 0, once);
  append("other", 0);
  append("on the newest", 0, {{StreamId{"node"}, StreamVersion{2}}});
  run();
  EXPECT_EQ(moved, 1);
  EXPECT_EQ(records.size(), 5U);
  EXPECT_EQ(log.version_of(StreamId{"on an older one"}).value(), StreamVersion{0});
  EXPECT_EQ(log.version_of(StreamId{"on the newest"}).value(), StreamVersion{1});
  EXPECT_EQ(replies.size(), 5U);
}

TEST_F(LogWriter, a_failed_sync_is_fatal_and_nothing_is_acknowledged) {
  log.broken = true;
  append("node", 0);
  run();
  EXPECT_EQ(fatal.size(), 1U);
  EXPECT_TRUE(replies.empty());
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(errors[0].code, ErrorCode::unavailable);
  EXPECT_TRUE(records.empty());
}

TEST_F(LogWriter, notes_the_logs_end_once_after_a_pause) {
  append("node", 0);
  append("node", 1);
  run();
  EXPECT_EQ(log.notes, 0);
  scheduler->trigger_timeout();
  run();
  EXPECT_EQ(log.notes, 1);
  while (scheduler->trigger_timeout()) run();
  EXPECT_EQ(log.notes, 1) << "an idle server writes nothing";
  append("node", 2);
  run();
  while (scheduler->trigger_timeout()) run();
  EXPECT_EQ(log.notes, 2);
}

TEST_F(LogWriter, on_a_full_disk_answers_who_cannot_wait_and_keeps_the_others_in_order) {
  log.full = true;
  append("node", 0);
  append("asked by a person", 0, {}, false);
  append("node", 1);
  run();
  append("asked later", 0, {}, false);
  run();
  ASSERT_EQ(errors.size(), 2U);
  EXPECT_EQ(errors[0].code, ErrorCode::disk_full);
  EXPECT_EQ(errors[1].code, ErrorCode::disk_full);
  EXPECT_TRUE(replies.empty());
  EXPECT_TRUE(fatal.empty()) << "a full disk ends nobody";
  for (int seconds = 0; seconds < 5; ++seconds) {
    scheduler->trigger_timeout();
    run();
  }
  EXPECT_TRUE(replies.empty());
  log.full = false;
  scheduler->trigger_timeout();
  run();
  EXPECT_EQ(replies.size(), 2U);
  EXPECT_EQ(log.version_of(StreamId{"node"}).value(), StreamVersion{2});
  EXPECT_EQ(records, (std::vector<std::uint64_t>{1, 2}));
}

TEST_F(LogWriter, tells_of_a_batch_that_was_refused_on_a_full_disk_and_is_in_the_log_after_all) {
  log.full = true;
  log.whole_though_full = true;
  append("node", 0);
  append("asked by a person", 0, {}, false);
  run();
  log.full = false;
  scheduler->trigger_timeout();
  run();
  EXPECT_EQ(records, (std::vector<std::uint64_t>{1, 2}));
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<storage::WrongVersion>(replies[0]))
      << "who asked reads the stream again";
  append("other", 0);
  run();
  EXPECT_EQ(records, (std::vector<std::uint64_t>{1, 2, 3}));
}

// As a push does whose sender was told of a full disk.
TEST_F(LogWriter, tells_of_such_a_batch_when_its_append_comes_again_and_writes_nothing) {
  append("node", 0);
  run();
  log.full = true;
  log.found_by_next = true;
  append("asked by a person", 0, {}, false);
  run();
  log.full = false;
  while (scheduler->trigger_timeout()) run();
  EXPECT_EQ(records, (std::vector<std::uint64_t>{1}));
  append("asked by a person", 0, {}, false);
  run();
  EXPECT_EQ(records, (std::vector<std::uint64_t>{1, 2}));
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_TRUE(std::holds_alternative<storage::WrongVersion>(replies[1]));
}

TEST_F(LogWriter, a_writer_that_is_killed_answers_what_was_waiting) {
  append("node", 0);
  // Run the requester until its request is in the writer's mailbox and parked, but not the flush.
  scheduler->try_run_once();
  while (log.commits == 0 && !scheduler->jobs.empty() && errors.empty()) {
    caf::anon_send_exit(writer, caf::exit_reason::kill);
    scheduler->try_run_once();
  }
  run();
  EXPECT_EQ(replies.size() + errors.size(), 1U);
}

}  // namespace
}  // namespace atlasflow::actors
