// verify() against every damage of a small log: each bit of each entry of each table, flipped
// behind the log's back with checksums that fit, and each entry taken away.
#include <map>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include "storage/log/fingerprint.hpp"
#include "storage/log/log_keys.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/log/record.pb.h"
#include "storage/log/rocksdb_reader.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

using testing::HasSubstr;
using testing::Not;

using Entries = std::map<std::string, std::string>;

// A log of three streams whose events alternate, some with dedupe keys, in a database that the test
// may write to.
class OpenTables : public testing::Test {
 protected:
  void SetUp() override {
    const auto folder = directory_.path() / "events";
    {
      auto log = open_event_log({folder, "b", false}).value();
      ASSERT_TRUE(log->begin_epoch());
      for (std::uint64_t i = 0; i < 9; ++i) {
        const std::string key = i % 2 == 0 ? "key " + std::to_string(i) : "";
        append_one(*log, request("s/" + std::string(1, "abc"[i % 3]), i / 3, 1, key));
      }
    }
    rocksdb::DB* opened = nullptr;
    const auto status =
        rocksdb::DB::Open(database_options(rocksdb::Env::Default()), (folder / "db").string(),
                          family_descriptors(), &handles_, &opened);
    ASSERT_TRUE(status.ok()) << status.ToString();
    db_ = opened;
    log_ = std::make_unique<RocksdbReader>(
        std::make_unique<Database>(std::unique_ptr<rocksdb::DB>(opened), handles_, nullptr));
  }

  rocksdb::ColumnFamilyHandle* handle(Family family) {
    return handles_[static_cast<std::size_t>(family)];
  }
  Entries entries(Family family) {
    Entries found;
    rocksdb::ReadOptions options;
    options.total_order_seek = true;
    const std::unique_ptr<rocksdb::Iterator> rows(db_->NewIterator(options, handle(family)));
    for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
      found[rows->key().ToString()] = rows->value().ToString();
    }
    return found;
  }
  void put(Family family, const std::string& key, const std::string& value) {
    ASSERT_TRUE(db_->Put({}, handle(family), key, value).ok());
  }
  void remove(Family family, const std::string& key) {
    ASSERT_TRUE(db_->Delete({}, handle(family), key).ok());
  }
  // As whoever opens the log next would find it.
  Result<Verification> verified() {
    ATLAS_TRYV(log_->load());
    return verify(*log_);
  }
  // The family holds this instead, for as long as verify() runs.
  Result<Verification> verified_with(Family family, const Entries& is, const Entries& instead) {
    const auto make = [&](const Entries& from, const Entries& to) {
      for (const auto& [key, value] : from) {
        if (!to.contains(key)) remove(family, key);
      }
      for (const auto& [key, value] : to) {
        const auto had = from.find(key);
        if (had == from.end() || had->second != value) put(family, key, value);
      }
    };
    make(is, instead);
    auto result = verified();
    make(instead, is);
    return result;
  }

  TemporaryDirectory directory_;
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  rocksdb::DB* db_ = nullptr;  // log_ owns it
  std::unique_ptr<RocksdbReader> log_;
};

std::string flipped(std::string bytes, std::size_t bit) {
  auto& byte = bytes[bit / 8];
  byte = static_cast<char>(static_cast<unsigned char>(byte) ^ (1U << (bit % 8)));
  return bytes;
}

constexpr Family k_tables[] = {Family::events, Family::streams, Family::heads, Family::dedupe};

TEST_F(OpenTables, a_flipped_bit_in_any_entry_of_any_table_is_found) {
  ASSERT_TRUE(verified());
  std::size_t tried = 0;
  for (const Family family : k_tables) {
    const auto whole = entries(family);
    ASSERT_FALSE(whole.empty());
    for (const auto& [key, value] : whole) {
      for (std::size_t bit = 0; bit < 8 * (key.size() + value.size()); ++bit) {
        // An entry whose changed key is another's takes its place, as it would in the table.
        auto damaged_entries = whole;
        damaged_entries.erase(key);
        const bool in_key = bit < 8 * key.size();
        damaged_entries[in_key ? flipped(key, bit) : key] =
            in_key ? value : flipped(value, bit - 8 * key.size());
        const auto result = verified_with(family, whole, damaged_entries);
        ASSERT_FALSE(result) << "table " << static_cast<int>(family) << ", bit " << bit;
        EXPECT_EQ(result.error().code, ErrorCode::corrupt) << to_string(result.error());
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 10'000U);
  EXPECT_TRUE(verified()) << "the test has not put back what it changed";
}

TEST_F(OpenTables, an_entry_that_is_missing_or_too_many_is_found_in_any_table) {
  for (const Family family : k_tables) {
    const auto whole = entries(family);
    for (const auto& [key, value] : whole) {
      auto without = whole;
      without.erase(key);
      EXPECT_FALSE(verified_with(family, whole, without)) << static_cast<int>(family);
    }
    auto more = whole;
    more.emplace(whole.begin()->first + whole.begin()->first, whole.begin()->second);
    if (family != Family::events) {
      EXPECT_FALSE(verified_with(family, whole, more)) << static_cast<int>(family);
    }
  }
  EXPECT_TRUE(verified());
}

TEST_F(OpenTables, the_place_and_the_way_out_are_told) {
  const auto index = entries(Family::streams);
  auto damaged_index = index;
  damaged_index[stream_key(StreamId("s/b"), StreamVersion(2))] = u64_bytes(6);
  EXPECT_THAT(verified_with(Family::streams, index, damaged_index).error().message,
              testing::AllOf(HasSubstr("damaged at position 5"), HasSubstr("stream index"),
                             HasSubstr("log rebuild")));

  const auto heads = entries(Family::heads);
  auto damaged_heads = heads;
  damaged_heads["s/c"] = u64_bytes(2) + u64_bytes(6);
  EXPECT_THAT(
      verified_with(Family::heads, heads, damaged_heads).error().message,
      testing::AllOf(HasSubstr("position 9"), HasSubstr("head of stream s/c says version 2"),
                     HasSubstr("last record is version 3")));

  const auto keys = entries(Family::dedupe);
  auto damaged_keys = keys;
  damaged_keys["key 4"] = u64_bytes(5) + "s/a";
  EXPECT_THAT(verified_with(Family::dedupe, keys, damaged_keys).error().message,
              testing::AllOf(HasSubstr("position 5"), HasSubstr("dedupe key")));
}

TEST_F(OpenTables, an_index_value_that_was_cut_is_made_anew_and_not_restored) {
  for (const Family family : {Family::streams, Family::heads, Family::dedupe}) {
    const auto whole = entries(family);
    auto cut = whole;
    cut.begin()->second.resize(7);
    const auto told = verified_with(family, whole, cut).error().message;
    EXPECT_THAT(told, testing::AllOf(HasSubstr("log rebuild"), Not(HasSubstr("backup")),
                                     Not(HasSubstr("position"))));
    // As an append meets it.
    put(family, whole.begin()->first, cut.begin()->second);
    const auto looked_up = family == Family::streams
                               ? log_->find_version(StreamId("s/a"), StreamVersion(1)).error()
                           : family == Family::heads ? log_->head_of(StreamId("s/a")).error()
                                                     : log_->find_dedupe_key("key 0").error();
    EXPECT_THAT(looked_up.message, HasSubstr("log rebuild"));
    put(family, whole.begin()->first, whole.begin()->second);
  }
  EXPECT_TRUE(verified());
}

// The records and the index of versions tell the same, and it is wrong.
TEST_F(OpenTables, a_gap_that_records_and_indexes_agree_on_is_found) {
  const auto events = entries(Family::events);
  const auto key = u64_bytes(9);
  const std::string stored = events.at(key);
  const std::string before = events.at(u64_bytes(8));
  pb::StoredRecord record;
  ASSERT_TRUE(record.ParseFromString(stored.substr(0, stored.size() - 32)));
  record.set_stream_version(4);
  record.set_event_id("s/c@4");
  const std::string bytes = record.SerializeAsString();
  const Digest chain = Sha256().of(before.substr(before.size() - 32), bytes);
  put(Family::events, key, bytes + std::string(bytes_of(chain)));
  put(Family::meta, "tip", key + std::string(bytes_of(chain)));
  remove(Family::streams, stream_key(StreamId("s/c"), StreamVersion(3)));
  put(Family::streams, stream_key(StreamId("s/c"), StreamVersion(4)), key);
  put(Family::heads, "s/c", u64_bytes(4) + key);
  EXPECT_THAT(verified().error().message, testing::AllOf(HasSubstr("damaged at position 9"),
                                                         HasSubstr("version 4 of stream s/c")));
}

// No writer writes such a record yet; a later one may, for readers of this format.
TEST_F(OpenTables, a_record_with_a_field_that_this_build_does_not_know_is_no_damage) {
  const auto events = entries(Family::events);
  const auto key = u64_bytes(9);
  const std::string stored = events.at(key);
  const std::string before = events.at(u64_bytes(8));
  const std::string bytes = stored.substr(0, stored.size() - 32) + "\x82\x01\x01x";  // field 16
  const Digest chain = Sha256().of(before.substr(before.size() - 32), bytes);
  put(Family::events, key, bytes + std::string(bytes_of(chain)));
  put(Family::meta, "tip", key + std::string(bytes_of(chain)));
  EXPECT_TRUE(verified()) << to_string(verified().error());
}

TEST(Verify, tells_how_far_it_has_come) {
  const auto log = open_memory_event_log();
  ASSERT_TRUE(log->begin_epoch());
  for (std::uint64_t i = 0; i < 40; ++i) append_one(*log, request("node", 1'000 * i, 1'000));
  std::vector<std::uint64_t> told;
  ASSERT_TRUE(verify(*log, [&](std::uint64_t done, std::uint64_t total) {
    EXPECT_EQ(total, 80'000U);
    EXPECT_LE(done, total);
    told.push_back(done);
  }));
  EXPECT_THAT(told, testing::ElementsAre(0U, 65'536U));
}

TEST(Fingerprint, is_of_the_entries_and_not_of_their_order) {
  Fingerprint one;
  one.add("deployment/a", 1, 2);
  one.add("deployment/b", 3, 4);
  Fingerprint other;
  other.add("deployment/b", 3, 4);
  EXPECT_NE(one, other);
  other.add("deployment/a", 1, 2);
  EXPECT_EQ(one, other);
  Fingerprint twice = one;
  twice.add("deployment/a", 1, 2);
  twice.add("deployment/a", 1, 2);
  EXPECT_NE(twice, one);
}

TEST(Fingerprint, tells_apart_what_differs_in_any_bit_or_in_zeros_behind_its_end) {
  const auto of = [](std::string_view text, std::uint64_t first, std::uint64_t second) {
    Fingerprint made;
    made.add(text, first, second);
    return made;
  };
  const std::string text = "deployment/a2omrvgu";
  const auto whole = of(text, 7, 9);
  for (std::size_t bit = 0; bit < 8 * text.size(); ++bit) {
    EXPECT_NE(of(flipped(text, bit), 7, 9), whole) << bit;
  }
  for (unsigned bit = 0; bit < 64; ++bit) {
    EXPECT_NE(of(text, 7 ^ (1ULL << bit), 9), whole) << bit;
    EXPECT_NE(of(text, 7, 9 ^ (1ULL << bit)), whole) << bit;
  }
  EXPECT_NE(of(text, 9, 7), whole);
  EXPECT_NE(of(text + std::string(1, '\0'), 7, 9), whole);
  EXPECT_NE(of("", 0, 0), of(std::string(1, '\0'), 0, 0));
}

}  // namespace
}  // namespace atlasflow::storage
