// Indexes that are damaged are made anew from the records, which stay what they are, bit for bit.
#include "storage/log/rebuild.hpp"

#include <array>
#include <cstring>
#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <rocksdb/db.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/file_descriptor.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/log_keys.hpp"
#include "storage/log/read_stored.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/log/rocksdb_options.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class Rebuild : public testing::Test {
 protected:
  void SetUp() override {
    const auto log = open_event_log({folder(), "build-a"}).value();
    ASSERT_TRUE(log->begin_epoch());
    for (int i = 0; i < 20; ++i) {
      append_one(*log, request("deployment/" + std::to_string(i % 3), static_cast<unsigned>(i / 3),
                               1, "key-" + std::to_string(i)));
    }
    ASSERT_TRUE(log->note_end(k_noon));
  }

  // Opens the database past the log, as nothing of ours would.
  void spoil(const std::function<void(rocksdb::DB&, rocksdb::ColumnFamilyHandle*)>& change,
             Family family) const {
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* opened = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open(database_options(rocksdb::Env::Default()),
                                  (folder() / "db").string(), family_descriptors(), &handles,
                                  &opened)
                    .ok());
    const std::unique_ptr<rocksdb::DB> db(opened);
    change(*db, handles[static_cast<std::size_t>(family)]);
    for (auto* handle : handles) db->DestroyColumnFamilyHandle(handle);
  }
  void delete_all(Family family) const {
    spoil(
        [](rocksdb::DB& db, rocksdb::ColumnFamilyHandle* handle) {
          ASSERT_TRUE(db.DeleteRange(rocksdb::WriteOptions(), handle, std::string(1, '\0'),
                                     std::string(9, '\xff'))
                          .ok());
        },
        family);
  }

  void flip_a_bit_in_the_table_of(Family family) const {
    std::string table;
    spoil(
        [&table](rocksdb::DB& db, rocksdb::ColumnFamilyHandle* handle) {
          ASSERT_TRUE(db.Flush(rocksdb::FlushOptions(), handle).ok());
          rocksdb::ColumnFamilyMetaData found;
          db.GetColumnFamilyMetaData(handle, &found);
          for (const auto& level : found.levels) {
            for (const auto& file : level.files) table = file.db_path + file.name;
          }
        },
        family);
    // A table begins with its first block of entries.
    std::fstream file(table, std::ios::binary | std::ios::in | std::ios::out);
    constexpr std::streamoff k_in_first_block = 10;
    file.seekg(k_in_first_block);
    const int byte = file.get();
    file.seekp(k_in_first_block);
    file.put(static_cast<char>(byte ^ 1));
    ASSERT_TRUE(file.good()) << table;
  }

  [[nodiscard]] std::vector<std::string> stored(const fs::path& events) const {
    std::vector<std::string> records;
    const auto log = open_event_log_for_reading(events).value();
    EXPECT_TRUE(read_stored(*log, Position(1), [&](const Record&, std::string_view bytes) {
      records.emplace_back(bytes);
      return true;
    }));
    return records;
  }

  [[nodiscard]] fs::path folder() const { return directory_.path() / "events"; }
  TemporaryDirectory directory_;
};

TEST_F(Rebuild, of_lost_index_entries_gives_the_log_that_was) {
  const auto before = stored(folder());
  for (const auto family : {Family::streams, Family::heads, Family::dedupe}) {
    delete_all(family);
    const auto found = verify_folder(folder());
    ASSERT_FALSE(found);
    EXPECT_THAT(found.error().message, HasSubstr("atlasflow log rebuild"));
    const auto rebuilt = rebuild_log(folder());
    ASSERT_TRUE(rebuilt) << to_string(rebuilt.error());
    EXPECT_TRUE(verify_folder(folder()));
    EXPECT_EQ(stored(folder()), before);
    EXPECT_EQ(stored(directory_.path() / "events.before-rebuild"), before);
    fs::remove_all(directory_.path() / "events.before-rebuild");
  }
  const auto log = open_event_log({folder(), "build-a"}).value();
  EXPECT_EQ(log->begin_epoch().value(), Epoch(2));
  const auto again = append(*log, {request("deployment/new", 0, 1, "key-7")});
  EXPECT_TRUE(std::holds_alternative<Duplicate>(again.front()));
  EXPECT_EQ(append_one(*log, request("deployment/0", 7)).first_position, Position(21));
}

// RocksDB's checksums tell of it, in words that are the same for every table.
TEST_F(Rebuild, of_a_flipped_bit_in_the_table_of_an_index_is_what_the_error_asks_for) {
  const auto before = stored(folder());
  for (const auto family : {Family::streams, Family::heads, Family::dedupe}) {
    flip_a_bit_in_the_table_of(family);
    const auto found = verify_folder(folder());
    ASSERT_FALSE(found);
    EXPECT_THAT(found.error().message,
                testing::AllOf(HasSubstr("log rebuild"), testing::Not(HasSubstr("backup"))));
    {
      const auto log = open_event_log_for_reading(folder()).value();
      const auto looked_up =
          family == Family::streams ? log->read_stream(StreamId("deployment/0"), StreamVersion(1),
                                                       [](const Record&) { return true; })
                                          .error()
          : family == Family::heads
              ? log->version_of(StreamId("deployment/0")).error()
              : dynamic_cast<const LogIndexes&>(*log).find_dedupe_key("key-7").error();
      EXPECT_EQ(looked_up.code, ErrorCode::corrupt);
      EXPECT_THAT(looked_up.message, HasSubstr("log rebuild"));
    }
    const auto rebuilt = rebuild_log(folder());
    ASSERT_TRUE(rebuilt) << to_string(rebuilt.error());
    EXPECT_TRUE(verify_folder(folder()));
    EXPECT_EQ(stored(folder()), before);
    fs::remove_all(directory_.path() / "events.before-rebuild");
  }
}

// So that no kill leaves it there: the next rebuild removes what is named so.
TEST_F(Rebuild, never_gives_the_log_as_it_was_the_name_of_the_copy) {
  const FileDescriptor watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  ASSERT_GE(::inotify_add_watch(watch.get(), directory_.path().c_str(), IN_MOVED_TO), 0);
  ASSERT_TRUE(rebuild_log(folder()));
  std::vector<std::string> given;
  std::array<char, 4096> events{};
  const auto size = ::read(watch.get(), events.data(), events.size());
  for (ssize_t at = 0; at < size;) {
    inotify_event event{};
    std::memcpy(&event, events.data() + at, sizeof event);
    given.emplace_back(events.data() + at + sizeof event);
    at += static_cast<ssize_t>(sizeof event + event.len);
  }
  // First the copy's, then those of the exchange.
  EXPECT_THAT(given,
              testing::ElementsAre("events.before-rebuild", "events", "events.before-rebuild"));
}

TEST_F(Rebuild, entries_that_no_record_explains_go) {
  spoil(
      [](rocksdb::DB& db, rocksdb::ColumnFamilyHandle* handle) {
        ASSERT_TRUE(db.Put(rocksdb::WriteOptions(), handle, "key-from-nowhere",
                           dedupe_value(Position(7), StreamId("deployment/0")))
                        .ok());
      },
      Family::dedupe);
  EXPECT_FALSE(verify_folder(folder()));
  EXPECT_TRUE(rebuild_log(folder()));
  EXPECT_TRUE(verify_folder(folder()));
}

TEST_F(Rebuild, of_a_damaged_record_is_refused_and_changes_nothing) {
  spoil(
      [](rocksdb::DB& db, rocksdb::ColumnFamilyHandle* handle) {
        ASSERT_TRUE(db.Put(rocksdb::WriteOptions(), handle, u64_bytes(5), "damage").ok());
      },
      Family::events);
  const auto rebuilt = rebuild_log(folder());
  ASSERT_FALSE(rebuilt);
  EXPECT_EQ(rebuilt.error().code, ErrorCode::corrupt);
  EXPECT_THAT(rebuilt.error().message, HasSubstr("position 5"));
  EXPECT_FALSE(fs::exists(directory_.path() / "events.before-rebuild"));
  EXPECT_FALSE(fs::exists(directory_.path() / "events.rebuilding"));
}

TEST_F(Rebuild, keeps_what_an_earlier_one_left) {
  ASSERT_TRUE(rebuild_log(folder()));
  const auto again = rebuild_log(folder());
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::conflict);
  EXPECT_THAT(again.error().message, HasSubstr("remove it once"));
  EXPECT_THAT(again.error().message, HasSubstr("or the copy of one that was ended"));
  // What a kill left of one is no obstacle.
  fs::remove_all(directory_.path() / "events.before-rebuild");
  fs::create_directories(directory_.path() / "events.rebuilding/db");
  EXPECT_TRUE(rebuild_log(folder()));
}

}  // namespace
}  // namespace atlasflow::storage
