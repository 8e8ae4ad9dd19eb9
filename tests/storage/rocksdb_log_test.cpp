// The event log on real files: what it refuses to open, who else may have it open, what verify
// finds.
#include <filesystem>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include "storage/log/log_keys.hpp"
#include "storage/log/record.pb.h"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/log/rocksdb_options.hpp"
#include "tests/storage/child_process.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// The database behind the log's back.
class RawDatabase {
 public:
  explicit RawDatabase(const fs::path& folder) {
    rocksdb::DB* opened = nullptr;
    const auto status =
        rocksdb::DB::Open(database_options(rocksdb::Env::Default()), (folder / "db").string(),
                          family_descriptors(), &handles_, &opened);
    EXPECT_TRUE(status.ok()) << status.ToString();
    db_.reset(opened);
  }
  ~RawDatabase() {
    for (auto* handle : handles_) (void)db_->DestroyColumnFamilyHandle(handle);
    (void)db_->Close();
  }
  RawDatabase(const RawDatabase&) = delete;
  RawDatabase& operator=(const RawDatabase&) = delete;

  std::string get(Family family, const std::string& key) {
    std::string value;
    EXPECT_TRUE(db_->Get({}, handle(family), key, &value).ok());
    return value;
  }
  void put(Family family, const std::string& key, const std::string& value) {
    EXPECT_TRUE(db_->Put({}, handle(family), key, value).ok());
  }
  void remove(Family family, const std::string& key) {
    EXPECT_TRUE(db_->Delete({}, handle(family), key).ok());
  }
  void flush() { EXPECT_TRUE(db_->Flush({}, handles_).ok()); }

 private:
  rocksdb::ColumnFamilyHandle* handle(Family family) {
    return handles_[static_cast<std::size_t>(family)];
  }
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::unique_ptr<rocksdb::DB> db_;
};

class RocksdbLog : public testing::Test {
 protected:
  const fs::path& folder() const { return folder_; }

  Result<std::unique_ptr<EventLog>> try_open(bool accept_loss = false) {
    return open_event_log({folder_, "build-a", accept_loss});
  }
  std::unique_ptr<EventLog> open_ready(bool accept_loss = false) {
    auto log = try_open(accept_loss);
    EXPECT_TRUE(log) << to_string(log.error());
    if (!log) return nullptr;
    EXPECT_TRUE((*log)->begin_epoch());
    return std::move(*log);
  }
  void write_events(std::uint64_t count) {
    const auto log = open_ready();
    ASSERT_NE(log, nullptr);
    fill(*log, "deployment/a", log->version_of(StreamId("deployment/a")).value().value(), count);
  }
  Error refused(bool accept_loss = false) {
    auto log = try_open(accept_loss);
    EXPECT_FALSE(log) << "it opened";
    return log ? Error{} : log.error();
  }
  // Of the one write-ahead log that holds records, or of the newest table file.
  fs::path newest_file(const std::string& extension) const {
    fs::path newest;
    for (const auto& file : fs::directory_iterator(folder_ / "db")) {
      if (file.path().extension() == extension && file.file_size() > 0 && file.path() > newest) {
        newest = file.path();
      }
    }
    EXPECT_FALSE(newest.empty()) << extension;
    return newest;
  }
  static void flip_byte(const fs::path& file, std::uint64_t offset) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(static_cast<std::streamoff>(offset));
    const int byte = stream.get();
    stream.seekp(static_cast<std::streamoff>(offset));
    stream.put(static_cast<char>(byte ^ 0x40));
    ASSERT_TRUE(stream.good());
  }
  static std::string read_text(const fs::path& file) {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  static void write_text(const fs::path& file, const std::string& text) {
    std::ofstream(file, std::ios::trunc) << text;
  }

  TemporaryDirectory directory_;
  const fs::path folder_ = directory_.path() / "state" / "log";
};

// ---- damage ----

TEST_F(RocksdbLog, a_flipped_byte_mid_wal_is_refused_and_no_event_is_dropped_silently) {
  write_events(200);
  const fs::path wal = newest_file(".log");
  flip_byte(wal, fs::file_size(wal) / 2);
  const Error error = refused();
  EXPECT_EQ(error.code, ErrorCode::corrupt);
  EXPECT_THAT(error.message, AllOf(HasSubstr("damaged"), HasSubstr("backup")));
  // Nothing was repaired or cut off by the attempt: with the byte put back all is there.
  flip_byte(wal, fs::file_size(wal) / 2);
  EXPECT_EQ(open_ready()->last_position(), Position(200));
}

TEST_F(RocksdbLog, a_cut_tail_is_noticed_by_the_anchor) {
  write_events(200);
  const fs::path wal = newest_file(".log");
  fs::resize_file(wal, fs::file_size(wal) - 50);
  const Error error = refused();
  EXPECT_EQ(error.code, ErrorCode::corrupt);
  EXPECT_THAT(error.message, AllOf(HasSubstr("ends at position 199"), HasSubstr("position 200"),
                                   HasSubstr("--accept-loss")));
  EXPECT_EQ(refused().message, error.message) << "a refused start must not move the anchor";
}

TEST_F(RocksdbLog, an_accepted_loss_is_written_into_the_log_once) {
  write_events(200);
  const fs::path wal = newest_file(".log");
  fs::resize_file(wal, fs::file_size(wal) - 50);
  {
    const auto log = open_ready(true);
    ASSERT_NE(log, nullptr);
    const auto records = all_records(*log, 200);
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].stream, node_stream());
    EXPECT_EQ(records[0].event.log_tail_lost().anchor_position(), 200U);
    EXPECT_EQ(records[0].event.log_tail_lost().log_position(), 199U);
    EXPECT_TRUE(verify(*log));
  }
  EXPECT_EQ(open_ready()->last_position(), Position(200));
  EXPECT_EQ(open_ready(true)->last_position(), Position(200));
}

TEST_F(RocksdbLog, an_epoch_is_not_given_out_twice_when_the_tail_that_held_it_is_lost) {
  write_events(5);
  std::uint64_t size = 0;
  {
    const auto log = open_ready();  // epoch 2 is the last thing in the write-ahead log
    size = fs::file_size(newest_file(".log"));
  }
  const fs::path wal = newest_file(".log");
  ASSERT_EQ(fs::file_size(wal), size);
  fs::resize_file(wal, size - 3);
  EXPECT_EQ(try_open().value()->begin_epoch().value(), Epoch(3));
}

TEST_F(RocksdbLog, a_lost_database_is_refused_as_a_loss_of_everything) {
  write_events(3);
  fs::remove_all(folder() / "db");
  EXPECT_THAT(refused().message, HasSubstr("lacks the file CURRENT"));
}

TEST_F(RocksdbLog, another_history_of_the_same_length_is_refused) {
  write_events(3);
  const std::string anchor = read_text(folder() / "anchor");
  fs::remove_all(folder());
  {
    const auto log = open_ready();
    fill(*log, "deployment/b", 0, 3);
  }
  write_text(folder() / "anchor", anchor);
  EXPECT_THAT(refused().message, HasSubstr("another record at position 3"));
}

TEST_F(RocksdbLog, a_damaged_anchor_is_refused_and_not_taken_for_none) {
  write_events(3);
  const std::string whole = read_text(folder() / "anchor");
  for (const std::string& damaged_anchor :
       {std::string(), whole.substr(0, 30), whole + "x", std::string("position=3\n")}) {
    write_text(folder() / "anchor", damaged_anchor);
    EXPECT_EQ(refused().code, ErrorCode::corrupt) << damaged_anchor;
  }
  std::string moved = whole;
  moved.replace(moved.find("position=3"), 10, "position=2");
  write_text(folder() / "anchor", moved);
  EXPECT_THAT(refused().message, HasSubstr("anchor"));
  write_text(folder() / "anchor", whole);
  EXPECT_TRUE(try_open());
}

TEST_F(RocksdbLog, a_damaged_table_file_is_an_error_of_the_read_and_not_a_gap) {
  write_events(400);
  RawDatabase(folder()).flush();
  // The events family's file is the largest by far.
  fs::path table;
  for (const auto& file : fs::directory_iterator(folder() / "db")) {
    if (file.path().extension() != ".sst") continue;
    if (table.empty() || file.file_size() > fs::file_size(table)) table = file.path();
  }
  flip_byte(table, fs::file_size(table) / 3);
  const auto log = try_open();
  if (!log) {  // found at the open already: as good
    EXPECT_EQ(log.error().code, ErrorCode::corrupt);
    return;
  }
  const auto read = read_everything(**log);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::corrupt);
}

// ---- what verify finds ----

struct Tampering {
  const char* name;
  std::function<void(RawDatabase&)> act;
};

class TamperedLog : public RocksdbLog, public testing::WithParamInterface<Tampering> {};

std::string record_key(std::uint64_t position) { return u64_bytes(position); }

// The record with one of its envelope's fields changed and its hash made to fit.
void rewrite(RawDatabase& raw, std::uint64_t position,
             const std::function<void(pb::StoredRecord&)>& change) {
  const std::string stored = raw.get(Family::events, record_key(position));
  const std::string before =
      position == 1 ? std::string(64, '\0') : raw.get(Family::events, record_key(position - 1));
  pb::StoredRecord record;
  ASSERT_TRUE(record.ParseFromString(stored.substr(0, stored.size() - 32)));
  change(record);
  const std::string bytes = record.SerializeAsString();
  const Digest chain = Sha256().of(before.substr(before.size() - 32), bytes);
  raw.put(Family::events, record_key(position), bytes + std::string(bytes_of(chain)));
}

// Of the last record, so that no later hash gives the change away.
void rewrite_last(RawDatabase& raw, const std::function<void(pb::StoredRecord&)>& change) {
  rewrite(raw, 20, change);
  const std::string stored = raw.get(Family::events, record_key(20));
  raw.put(Family::meta, "tip", record_key(20) + stored.substr(stored.size() - 32));
}

INSTANTIATE_TEST_SUITE_P(
    With, TamperedLog,
    testing::Values(
        Tampering{"a_changed_byte_of_a_record",
                  [](RawDatabase& raw) {
                    std::string stored = raw.get(Family::events, record_key(10));
                    stored[stored.size() - 40] = static_cast<char>(stored[stored.size() - 40] ^ 1);
                    raw.put(Family::events, record_key(10), stored);
                  }},
        Tampering{"a_record_rewritten_with_a_hash_that_fits",
                  [](RawDatabase& raw) {
                    rewrite(raw, 10, [](pb::StoredRecord& record) { record.set_actor("me"); });
                  }},
        Tampering{"two_records_exchanged",
                  [](RawDatabase& raw) {
                    const auto five = raw.get(Family::events, record_key(5));
                    raw.put(Family::events, record_key(5), raw.get(Family::events, record_key(6)));
                    raw.put(Family::events, record_key(6), five);
                  }},
        Tampering{"a_missing_record",
                  [](RawDatabase& raw) { raw.remove(Family::events, record_key(7)); }},
        Tampering{"a_missing_first_record",
                  [](RawDatabase& raw) { raw.remove(Family::events, record_key(1)); }},
        Tampering{"a_wrong_position",
                  [](RawDatabase& raw) {
                    rewrite_last(raw, [](pb::StoredRecord& record) { record.set_position(19); });
                  }},
        Tampering{"a_gap_in_a_stream",
                  [](RawDatabase& raw) {
                    rewrite_last(raw,
                                 [](pb::StoredRecord& record) { record.set_stream_version(22); });
                  }},
        Tampering{"a_wrong_event_id",
                  [](RawDatabase& raw) {
                    rewrite_last(raw,
                                 [](pb::StoredRecord& record) { record.set_event_id("node@20"); });
                  }},
        Tampering{"an_epoch_that_goes_back",
                  [](RawDatabase& raw) {
                    rewrite_last(raw, [](pb::StoredRecord& record) { record.set_writer_epoch(0); });
                  }},
        Tampering{"a_type_that_its_payload_does_not_have",
                  [](RawDatabase& raw) {
                    rewrite_last(raw, [](pb::StoredRecord& record) { record.set_type(3); });
                  }},
        Tampering{"a_wrong_head",
                  [](RawDatabase& raw) {
                    raw.put(Family::heads, "deployment/a", record_key(19) + record_key(19));
                  }},
        Tampering{"a_head_without_a_stream",
                  [](RawDatabase& raw) {
                    raw.put(Family::heads, "deployment/z", record_key(1) + record_key(1));
                  }},
        Tampering{"a_missing_entry_of_the_stream_index",
                  [](RawDatabase& raw) {
                    raw.remove(Family::streams,
                               stream_key(StreamId("deployment/a"), StreamVersion(4)));
                  }},
        Tampering{"an_entry_of_the_stream_index_too_many",
                  [](RawDatabase& raw) {
                    raw.put(Family::streams,
                            stream_key(StreamId("deployment/a"), StreamVersion(21)),
                            record_key(20));
                  }},
        Tampering{"a_missing_dedupe_key",
                  [](RawDatabase& raw) { raw.remove(Family::dedupe, "github/1"); }},
        Tampering{"a_dedupe_key_for_another_position",
                  [](RawDatabase& raw) {
                    raw.put(Family::dedupe, "github/1", record_key(2) + "deployment/a");
                  }},
        Tampering{"a_dedupe_key_that_no_record_carries",
                  [](RawDatabase& raw) {
                    raw.put(Family::dedupe, "github/2", record_key(2) + "deployment/a");
                  }},
        Tampering{"a_tip_that_is_not_the_newest_record",
                  [](RawDatabase& raw) {
                    raw.put(Family::meta, "tip", record_key(19) + std::string(32, 'x'));
                  }}),
    [](const auto& tampering) { return tampering.param.name; });

TEST_P(TamperedLog, is_found) {
  {
    const auto log = open_ready();
    append_one(*log, request("deployment/a", 0, 1, "github/1"));
    fill(*log, "deployment/a", 1, 19);
    ASSERT_TRUE(verify(*log));
  }
  {
    RawDatabase raw(folder());
    GetParam().act(raw);
  }
  fs::remove(folder() / "anchor");  // which would tell some of these already
  const auto log = open_event_log_for_reading(folder());
  const auto verified = log ? verify(**log) : Result<Verification>(tl::unexpected(log.error()));
  ASSERT_FALSE(verified) << "nothing was noticed";
  EXPECT_EQ(verified.error().code, ErrorCode::corrupt) << to_string(verified.error());
}

// ---- versions ----

TEST_F(RocksdbLog, a_folder_of_a_newer_format_is_refused_with_the_reason) {
  write_events(1);
  write_text(folder() / "FORMAT", "atlasflow-event-log 2\n");
  for (const Error& error : {refused(), open_event_log_for_reading(folder()).error()}) {
    EXPECT_EQ(error.code, ErrorCode::corrupt);
    EXPECT_THAT(error.message, AllOf(HasSubstr("format 2"), HasSubstr("newer version"),
                                     HasSubstr("start the newer version")));
  }
}

TEST_F(RocksdbLog, a_database_without_its_format_mark_is_refused) {
  write_events(1);
  fs::remove(folder() / "FORMAT");
  EXPECT_THAT(refused().message, HasSubstr("FORMAT is missing"));
  write_text(folder() / "FORMAT", "something else\n");
  EXPECT_THAT(refused().message, HasSubstr("not the mark of an event log"));
}

TEST_F(RocksdbLog, an_event_type_of_a_newer_version_stops_the_reader_and_says_what_to_do) {
  write_events(20);
  {
    RawDatabase raw(folder());
    rewrite_last(raw, [](pb::StoredRecord& record) {
      record.set_type(999);
      record.set_build_id("build-z");
      record.set_payload("\xBA\x3E\x02\x08\x01");  // field 999, a message of five bytes
    });
  }
  fs::remove(folder() / "anchor");
  const Error error = refused();
  EXPECT_EQ(error.code, ErrorCode::corrupt);
  EXPECT_THAT(error.message, AllOf(HasSubstr("newer version"), HasSubstr("build-z"),
                                   HasSubstr("event type 999"), HasSubstr("start that version")));
}

// ---- who else has it open ----

TEST_F(RocksdbLog, a_second_opener_in_the_same_process_is_refused) {
  const auto log = open_ready();
  const Error error = refused();
  EXPECT_EQ(error.code, ErrorCode::unavailable);
  EXPECT_THAT(error.message, AllOf(HasSubstr("held by another"), HasSubstr("stop it")));
}

TEST_F(RocksdbLog, a_second_process_is_refused_while_the_first_one_lives) {
  ChildProcess child({LOG_WRITER_PROCESS, folder().string()});
  child.say("2");
  ASSERT_EQ(child.read_line(), "1");
  EXPECT_EQ(refused().code, ErrorCode::unavailable);
  EXPECT_EQ(child.finish(), 0);
  EXPECT_TRUE(try_open());
}

TEST_F(RocksdbLog, a_reader_beside_a_live_writer_sees_every_append_that_was_acknowledged) {
  ChildProcess child({LOG_WRITER_PROCESS, folder().string()});
  for (int round = 0; round < 10; ++round) {
    child.say("5");
    std::string last;
    for (int i = 0; i < 5; ++i) last = child.read_line().value();
    const auto log = open_event_log_for_reading(folder());
    ASSERT_TRUE(log) << to_string(log.error());
    EXPECT_EQ(std::to_string((*log)->last_position().value()), last);
    EXPECT_EQ(std::to_string(all_records(**log).size()), last);
    EXPECT_TRUE(verify(**log));
  }
  EXPECT_EQ(child.finish(), 0);
}

TEST_F(RocksdbLog, a_reader_leaves_nothing_behind_and_writes_nothing) {
  write_events(3);
  const fs::path temporary = directory_.path() / "tmp";
  fs::create_directory(temporary);
  ASSERT_EQ(::setenv("TMPDIR", temporary.c_str(), 1), 0);
  {
    const auto log = open_event_log_for_reading(folder());
    ASSERT_TRUE(log) << to_string(log.error());
    EXPECT_FALSE(fs::is_empty(temporary));
    EXPECT_EQ((*log)->append({request("node", 0)}, k_noon).error().code, ErrorCode::conflict);
    EXPECT_EQ((*log)->begin_epoch().error().code, ErrorCode::conflict);
    EXPECT_EQ(all_records(**log).size(), 3U);
  }
  EXPECT_TRUE(fs::is_empty(temporary));
  ::unsetenv("TMPDIR");
}

TEST_F(RocksdbLog, reading_a_folder_without_a_log_says_so) {
  const auto log = open_event_log_for_reading(folder());
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, ErrorCode::not_found);
  EXPECT_FALSE(fs::exists(folder())) << "a reader must not make one";
}

// ---- the anchor ----

TEST_F(RocksdbLog, the_anchor_moves_once_a_second_by_the_time_of_the_appends_and_on_close) {
  const auto anchored = [&] {
    const std::string text = read_text(folder() / "anchor");
    const auto at = text.find("position=") + 9;
    return text.substr(at, text.find(' ', at) - at);
  };
  {
    const auto log = open_ready();
    append_one(*log, request("node", 0), k_noon);
    EXPECT_EQ(anchored(), "1");
    append_one(*log, request("node", 1), k_noon + 999'999);
    EXPECT_EQ(anchored(), "1");
    append_one(*log, request("node", 2), k_noon + 1'000'000);
    EXPECT_EQ(anchored(), "3");
    append_one(*log, request("node", 3), k_noon - 60'000'000);  // the clock was set back
    EXPECT_EQ(anchored(), "4");
    append_one(*log, request("node", 4), k_noon - 59'999'999);
    EXPECT_EQ(anchored(), "4");
  }
  EXPECT_EQ(anchored(), "5");
}

TEST_F(RocksdbLog, after_a_pause_the_anchor_has_seen_the_last_append_too) {
  const auto log = open_ready();
  append_one(*log, request("node", 0), k_noon);
  append_one(*log, request("node", 1), k_noon + 1);
  ASSERT_TRUE(log->note_end(k_noon + 1'000'000));
  EXPECT_THAT(read_text(folder() / "anchor"), HasSubstr("position=2 "));
  // A second time nothing is written.
  fs::remove(folder() / "anchor");
  ASSERT_TRUE(log->note_end(k_noon + 2'000'000));
  EXPECT_FALSE(fs::exists(folder() / "anchor"));
  append_one(*log, request("node", 2), k_noon + 3'000'000);
}

}  // namespace
}  // namespace atlasflow::storage
