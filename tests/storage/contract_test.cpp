// The contract of event_log.hpp, held by every engine.
#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include "storage/log/memory_event_log.hpp"
#include "storage/log/record_codec.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

// Where a log lives, apart from the object that has it open.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::unique_ptr<EventLog> open() = 0;
};

class MemoryEngine final : public Engine {
 public:
  std::unique_ptr<EventLog> open() override { return open_memory_event_log(store_, "build-a"); }

 private:
  std::shared_ptr<MemoryStore> store_ = make_memory_store();
};

class RocksdbEngine final : public Engine {
 public:
  std::unique_ptr<EventLog> open() override {
    auto log = open_event_log({folder_.path() / "log", "build-a", false});
    EXPECT_TRUE(log) << to_string(log.error());
    return log ? std::move(*log) : nullptr;
  }

 private:
  TemporaryDirectory folder_;
};

struct EngineKind {
  const char* name;
  std::function<std::unique_ptr<Engine>()> make;
};

class EventLogContract : public testing::TestWithParam<EngineKind> {
 protected:
  void SetUp() override {
    engine_ = GetParam().make();
    log_ = engine_->open();
    ASSERT_NE(log_, nullptr);
    ASSERT_TRUE(log_->begin_epoch());
  }

  // The process ends and another one starts.
  void reopen() {
    log_.reset();
    log_ = engine_->open();
    ASSERT_NE(log_, nullptr);
  }

  EventLog& log() { return *log_; }
  std::uint64_t version(const std::string& stream) {
    return log_->version_of(StreamId(stream)).value().value();
  }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<EventLog> log_;
};

INSTANTIATE_TEST_SUITE_P(
    Engines, EventLogContract,
    testing::Values(EngineKind{"memory", [] { return std::make_unique<MemoryEngine>(); }},
                    EngineKind{"rocksdb", [] { return std::make_unique<RocksdbEngine>(); }}),
    [](const auto& kind) { return kind.param.name; });

TEST_P(EventLogContract, an_empty_log_has_no_position_no_stream_and_no_record) {
  EXPECT_EQ(log().last_position(), Position(0));
  EXPECT_EQ(version("deployment/a"), 0U);
  EXPECT_TRUE(all_records(log()).empty());
  EXPECT_TRUE(stream_records(log(), "deployment/a").empty());
  EXPECT_FALSE(log().read_at(Position(1)).value().has_value());
  EXPECT_EQ(verify(log()).value().last_position, Position(0));
}

TEST_P(EventLogContract, a_record_comes_back_as_it_was_appended) {
  fill(log(), "node", 0, 1);
  AppendRequest made = request("deployment/a", 0, 2, "delivery/7");
  made.causation_position = Position(1);
  const Appended appended = append_one(log(), made, k_noon + 5);
  EXPECT_EQ(appended.first_position, Position(2));
  EXPECT_EQ(appended.last_version, StreamVersion(2));

  const std::vector<Record> records = all_records(log(), 2);
  ASSERT_EQ(records.size(), 2U);
  const Record& first = records[0];
  EXPECT_EQ(first.position, Position(2));
  EXPECT_EQ(first.stream, StreamId("deployment/a"));
  EXPECT_EQ(first.stream_version, StreamVersion(1));
  EXPECT_EQ(first.recorded_at, k_noon + 5);
  EXPECT_EQ(first.writer_epoch, Epoch(1));
  EXPECT_EQ(first.event_id, "deployment/a@1");
  EXPECT_EQ(first.correlation_id, "delivery-1");
  EXPECT_EQ(first.causation_position, Position(1));
  EXPECT_EQ(first.build_id, "build-a");
  EXPECT_EQ(first.actor, "system:deployment");
  EXPECT_EQ(first.dedupe_key, "delivery/7");
  EXPECT_EQ(first.event.cloned().subject(), "commit 1");
  EXPECT_EQ(records[1].event_id, "deployment/a@2");
  EXPECT_EQ(records[1].dedupe_key, "");
  EXPECT_EQ(records[1].causation_position, Position(2));  // it follows from the one before
  // What the writer was handed back is what a reader gets.
  ASSERT_EQ(appended.records.size(), 2U);
  EXPECT_EQ(appended.records[0].chain, first.chain);
  EXPECT_EQ(appended.records[0].event.SerializeAsString(), first.event.SerializeAsString());
}

TEST_P(EventLogContract, a_wrong_expected_version_is_refused_with_the_actual_one) {
  fill(log(), "deployment/a", 0, 3);
  for (const std::uint64_t expected : {0U, 2U, 4U}) {
    const auto outcomes = append(log(), {request("deployment/a", expected)});
    ASSERT_TRUE(std::holds_alternative<WrongVersion>(outcomes[0])) << expected;
    EXPECT_EQ(std::get<WrongVersion>(outcomes[0]).actual, StreamVersion(3));
  }
  EXPECT_EQ(log().last_position(), Position(3));
}

TEST_P(EventLogContract, later_requests_of_a_batch_see_the_versions_that_earlier_ones_made) {
  const auto outcomes = append(log(), {request("deployment/a", 0, 2), request("deployment/a", 0),
                                       request("deployment/a", 2), request("deployment/b", 0)});
  EXPECT_TRUE(std::holds_alternative<Appended>(outcomes[0]));
  ASSERT_TRUE(std::holds_alternative<WrongVersion>(outcomes[1]));
  EXPECT_EQ(std::get<WrongVersion>(outcomes[1]).actual, StreamVersion(2));
  EXPECT_EQ(std::get<Appended>(outcomes[2]).first_position, Position(3));
  EXPECT_EQ(std::get<Appended>(outcomes[3]).first_position, Position(4));
  EXPECT_EQ(version("deployment/a"), 3U);
}

TEST_P(EventLogContract, a_refused_request_leaves_no_gap_and_no_trace) {
  append(log(), {request("deployment/a", 9, 5, "key"), request("deployment/b", 0)});
  EXPECT_EQ(log().last_position(), Position(1));
  EXPECT_EQ(version("deployment/a"), 0U);
  // Its dedupe key was not used up by the refusal.
  EXPECT_TRUE(
      std::holds_alternative<Appended>(append(log(), {request("deployment/a", 0, 1, "key")})[0]));
  EXPECT_TRUE(verify(log()));
}

TEST_P(EventLogContract, a_batch_of_refusals_only_changes_nothing) {
  append(log(), {request("deployment/a", 1), request("deployment/b", 2)});
  EXPECT_EQ(log().last_position(), Position(0));
  EXPECT_TRUE(append(log(), {}).empty());
}

TEST_P(EventLogContract, a_dedupe_key_names_the_first_event_that_carried_it) {
  fill(log(), "node", 0, 4);
  append_one(log(), request("deployment/a", 0, 3, "github/1"));
  const auto outcomes = append(log(), {request("deployment/b", 0, 1, "github/1")});
  ASSERT_TRUE(std::holds_alternative<Duplicate>(outcomes[0]));
  EXPECT_EQ(std::get<Duplicate>(outcomes[0]).position, Position(5));
  EXPECT_EQ(std::get<Duplicate>(outcomes[0]).stream, StreamId("deployment/a"));
  EXPECT_EQ(version("deployment/b"), 0U);
}

TEST_P(EventLogContract, a_repeat_inside_one_batch_is_a_duplicate) {
  const auto outcomes = append(log(), {request("deployment/a", 0, 1, "github/1"),
                                       request("deployment/b", 0, 1, "github/1")});
  ASSERT_TRUE(std::holds_alternative<Duplicate>(outcomes[1]));
  EXPECT_EQ(std::get<Duplicate>(outcomes[1]).position, Position(1));
  EXPECT_EQ(std::get<Duplicate>(outcomes[1]).stream, StreamId("deployment/a"));
}

TEST_P(EventLogContract, a_repeat_is_a_duplicate_even_when_its_stream_has_moved_on) {
  append_one(log(), request("deployment/a", 0, 1, "github/1"));
  fill(log(), "deployment/a", 1, 2);
  EXPECT_TRUE(std::holds_alternative<Duplicate>(
      append(log(), {request("deployment/a", 0, 1, "github/1")})[0]));
}

TEST_P(EventLogContract, a_dedupe_key_is_remembered_across_a_restart) {
  append_one(log(), request("deployment/a", 0, 1, "github/1"));
  reopen();
  ASSERT_TRUE(log().begin_epoch());
  EXPECT_TRUE(std::holds_alternative<Duplicate>(
      append(log(), {request("deployment/b", 0, 1, "github/1")})[0]));
}

TEST_P(EventLogContract, positions_and_versions_are_dense_across_streams_batches_and_restarts) {
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  for (int round = 0; round < 40; ++round) {
    append(log(), {request("deployment/a", a, 3), request("deployment/b", b + 7),
                   request("deployment/b", b, 2)});
    a += 3;
    b += 2;
    if (round == 20) {
      reopen();
      ASSERT_TRUE(log().begin_epoch());
    }
  }
  const auto records = all_records(log());
  ASSERT_EQ(records.size(), 200U);
  std::map<StreamId, std::uint64_t> versions;
  for (std::size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].position, Position(i + 1));
    EXPECT_EQ(records[i].stream_version, StreamVersion(++versions[records[i].stream]));
  }
  EXPECT_EQ(versions[StreamId("deployment/a")], 120U);
  EXPECT_EQ(versions[StreamId("deployment/b")], 80U);
}

TEST_P(EventLogContract, a_stream_of_more_than_a_byte_of_versions_keeps_its_order) {
  for (std::uint64_t i = 0; i < 6; ++i) append_one(log(), request("deployment/a", i * 50, 50));
  const auto records = stream_records(log(), "deployment/a", 250);
  ASSERT_EQ(records.size(), 51U);
  EXPECT_EQ(records.front().stream_version, StreamVersion(250));
  EXPECT_EQ(records.back().stream_version, StreamVersion(300));
}

TEST_P(EventLogContract, streams_whose_names_begin_alike_do_not_mix) {
  const std::vector<std::string> names = {"deployment/a",   "deployment/a\x01", "deployment/aa",
                                          "deployment/a@1", "deployment/",      "d"};
  for (const auto& name : names) append_one(log(), request(name, 0, 2));
  for (const auto& name : names) {
    const auto records = stream_records(log(), name);
    ASSERT_EQ(records.size(), 2U) << name;
    EXPECT_EQ(records[1].stream, StreamId(name));
  }
  EXPECT_TRUE(verify(log()));
}

TEST_P(EventLogContract, a_reader_starts_where_it_asks_and_stops_when_it_says) {
  fill(log(), "deployment/a", 0, 10);
  std::vector<std::uint64_t> seen;
  const auto until_five = [&](const Record& record) {
    seen.push_back(record.position.value());
    return record.position < Position(5);
  };
  ASSERT_TRUE(log().read_all(Position(3), until_five));
  EXPECT_THAT(seen, testing::ElementsAre(3, 4, 5));
  seen.clear();
  ASSERT_TRUE(log().read_stream(StreamId("deployment/a"), StreamVersion(4), until_five));
  EXPECT_THAT(seen, testing::ElementsAre(4, 5));
  EXPECT_TRUE(all_records(log(), 11).empty());
  EXPECT_TRUE(all_records(log(), 99).empty());
  EXPECT_TRUE(stream_records(log(), "deployment/a", 11).empty());
  EXPECT_EQ(all_records(log(), 0).size(), 10U);
  EXPECT_EQ(stream_records(log(), "deployment/a", 0).size(), 10U);
}

TEST_P(EventLogContract, a_reader_may_call_the_log_and_sees_the_end_as_of_its_call) {
  fill(log(), "deployment/a", 0, 3);
  std::size_t seen = 0;
  ASSERT_TRUE(log().read_all(Position(1), [&](const Record& record) {
    ++seen;
    EXPECT_EQ(log().read_at(record.position).value()->event_id, record.event_id);
    append_one(log(), request("deployment/b", seen - 1));
    return true;
  }));
  EXPECT_EQ(seen, 3U);
  EXPECT_EQ(log().last_position(), Position(6));
}

TEST_P(EventLogContract, one_record_is_found_by_its_position) {
  fill(log(), "deployment/a", 0, 3);
  EXPECT_EQ(log().read_at(Position(2)).value()->event_id, "deployment/a@2");
  EXPECT_FALSE(log().read_at(Position(0)).value().has_value());
  EXPECT_FALSE(log().read_at(Position(4)).value().has_value());
}

TEST_P(EventLogContract, everything_is_there_after_a_restart) {
  fill(log(), "deployment/a", 0, 5);
  const auto before = all_records(log());
  reopen();
  const auto after = all_records(log());
  ASSERT_EQ(after.size(), before.size());
  EXPECT_EQ(after.back().chain, before.back().chain);
  EXPECT_EQ(version("deployment/a"), 5U);
  EXPECT_EQ(verify(log()).value().chain, before.back().chain);
}

TEST_P(EventLogContract, each_epoch_is_one_more_than_the_last_also_after_a_restart) {
  EXPECT_EQ(log().begin_epoch().value(), Epoch(2));
  reopen();
  EXPECT_EQ(log().begin_epoch().value(), Epoch(3));
  append_one(log(), request("deployment/a", 0));
  EXPECT_EQ(log().read_at(Position(1)).value()->writer_epoch, Epoch(3));
}

TEST_P(EventLogContract, a_writer_below_the_newest_epoch_is_fenced) {
  append_one(log(), request("deployment/a", 0));
  reopen();  // and takes no epoch of its own
  const auto outcomes = append(log(), {request("deployment/a", 1), request("deployment/b", 0)});
  for (const auto& outcome : outcomes) {
    ASSERT_TRUE(std::holds_alternative<Fenced>(outcome));
    EXPECT_EQ(std::get<Fenced>(outcome).current, Epoch(1));
  }
  EXPECT_EQ(log().last_position(), Position(1));
}

TEST_P(EventLogContract, the_chain_is_a_hash_over_everything_before) {
  append_one(log(), request("deployment/a", 0, 3));
  RecordCodec codec;
  ChainHash previous{};
  for (Record record : all_records(log())) {
    const ChainHash stored = record.chain;
    (void)codec.encode(record, previous);  // sets the chain
    EXPECT_EQ(record.chain, stored);
    previous = stored;
  }
  EXPECT_NE(previous, ChainHash{});
}

TEST_P(EventLogContract, text_that_is_not_utf8_cannot_make_the_log_unreadable) {
  const google::protobuf::LogSilencer expected;
  AppendRequest made = request("deployment/a", 0, 1, "key \xFF");
  made.correlation_id = "\xFE";
  auto* push = made.events[0].mutable_push_received();
  push->set_pusher("J\xF6rg");  // Latin-1
  push->set_ref("refs/heads/\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80");
  push->mutable_settings()->set_health_path("/\xED\xA0\x80");  // a surrogate
  made.events.emplace_back().mutable_routed()->add_hostnames("\xC0\x80");
  const Appended appended = append_one(log(), made);
  const auto records = all_records(log());
  ASSERT_EQ(records.size(), 2U);
  const auto& read = records[0].event.push_received();
  EXPECT_EQ(read.pusher(), "J\xEF\xBF\xBDrg");
  EXPECT_EQ(read.ref(), push->ref());
  EXPECT_EQ(read.settings().health_path(), "/\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(records[1].event.routed().hostnames(0), "\xEF\xBF\xBD\xEF\xBF\xBD");
  EXPECT_EQ(appended.records[0].event.push_received().pusher(), read.pusher());
  EXPECT_EQ(records[0].dedupe_key, "key \xFF");
  EXPECT_EQ(records[0].correlation_id, "\xFE");
}

TEST_P(EventLogContract, readers_beside_the_writer_see_whole_batches_in_order) {
  constexpr std::uint64_t k_batches = 60;
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      std::size_t seen = 0;
      while (!done) {
        const std::size_t count = all_records(log()).size();
        EXPECT_EQ(count % 4, 0U);
        EXPECT_GE(count, seen);
        seen = count;
        EXPECT_EQ(log().version_of(StreamId("deployment/a")).value().value() % 3, 0U);
        EXPECT_EQ(stream_records(log(), "deployment/a").size() % 3, 0U);
      }
    });
  }
  for (std::uint64_t i = 0; i < k_batches; ++i) {
    append(log(), {request("deployment/a", i * 3, 3), request("node", i)});
  }
  done = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(log().last_position(), Position(k_batches * 4));
}

TEST_P(EventLogContract, a_copy_in_memory_is_cut_where_it_was_asked_and_has_the_same_chain) {
  fill(log(), "deployment/a", 0, 2);
  append_one(log(), request("deployment/b", 0, 2, "key 1"));
  reopen();
  ASSERT_TRUE(log().begin_epoch());
  append_one(log(), request("deployment/b", 2, 1, "key 2"));
  const auto whole = all_records(log());
  for (const auto& last : whole) {
    auto store = memory_store_of(log(), last.position);
    ASSERT_TRUE(store) << to_string(store.error());
    const auto copy = open_memory_event_log(*std::move(store), "b");
    const auto verified = verify(*copy);
    ASSERT_TRUE(verified) << to_string(verified.error());
    EXPECT_EQ(verified->last_position, last.position);
    EXPECT_EQ(verified->chain, last.chain);
    EXPECT_EQ(copy->begin_epoch().value(), last.writer_epoch.next());
    const auto again = append(*copy, {request("deployment/c", 0, 1, "key 1")})[0];
    EXPECT_EQ(std::holds_alternative<Duplicate>(again), last.position >= Position(3));
  }
  EXPECT_EQ(memory_store_of(log(), whole.back().position.next()).error().code, ErrorCode::corrupt);
  EXPECT_EQ(all_records(log()).size(), whole.size());
}

TEST(MemoryEventLog, of_two_logs_on_one_store_the_older_is_fenced) {
  const auto store = make_memory_store();
  const auto older = open_memory_event_log(store, "a");
  const auto newer = open_memory_event_log(store, "b");
  ASSERT_TRUE(older->begin_epoch());
  append_one(*older, request("node", 0));
  ASSERT_TRUE(newer->begin_epoch());
  EXPECT_TRUE(std::holds_alternative<Fenced>(append(*older, {request("node", 1)})[0]));
  append_one(*newer, request("node", 1));
  EXPECT_EQ(all_records(*older).size(), 2U);
}

TEST(MemoryEventLog, a_fork_shares_the_past_and_nothing_else) {
  const auto store = make_memory_store();
  const auto original = open_memory_event_log(store, "a");
  append_one(*original, request("deployment/a", 0, 1, "key 1"));
  append_one(*original, request("deployment/b", 0));
  append_one(*original, request("deployment/a", 1, 1, "key 2"));

  const auto fork = open_memory_event_log(fork_memory_store(*store, Position(2)), "b");
  EXPECT_EQ(fork->last_position(), Position(2));
  EXPECT_EQ(fork->version_of(StreamId("deployment/a")).value(), StreamVersion(1));
  append_one(*fork, request("deployment/a", 1, 1, "key 2"));
  EXPECT_TRUE(std::holds_alternative<Duplicate>(
      append(*fork, {request("deployment/c", 0, 1, "key 1")})[0]));
  EXPECT_TRUE(verify(*fork));
  EXPECT_EQ(original->last_position(), Position(3));
}

}  // namespace
}  // namespace atlasflow::storage
