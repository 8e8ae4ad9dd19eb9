// What RocksDB forgives in a write-ahead log, and what we do not: a record whose length or type was
// damaged looks like a write that was cut short, or like the end. And what it would not survive.
#include "storage/log/wal_check.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "storage/log/rocksdb_event_log.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;

bool ends_like_a_cut_write(std::string_view wal) {
  WalCheck check;
  for (; !wal.empty(); wal.remove_prefix(std::min(wal.size(), k_wal_block_bytes))) {
    check.take(wal.substr(0, k_wal_block_bytes));
  }
  return !check.damage();
}

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// RFC 3720's CRC-32C, as RocksDB's files have it.
std::uint32_t rocksdb_masked_crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x82F63B78U : 0U);
  }
  crc = ~crc;
  return ((crc >> 15U) | (crc << 17U)) + 0xA282EAD8U;
}

// A log of some appends as kill -9 leaves it, with an anchor that has seen the first only.
class WalCheckTest : public testing::Test {
 protected:
  WalCheckTest() {
    const auto log = open_event_log({directory_.path() / "log", "build-a", false});
    EXPECT_TRUE(log && (*log)->begin_epoch());
    fill(**log, "deployment/a", 0, 6);
    fs::copy(directory_.path() / "log", folder_, fs::copy_options::recursive);
    for (const auto& entry : fs::directory_iterator(folder_ / "db")) {
      if (entry.path().extension() == ".log" && entry.file_size() > 0) wal_ = entry.path();
    }
    bytes_ = read(wal_);
    // Each record begins where the one before ends.
    for (std::size_t at = 0; at + 7 <= bytes_.size();) {
      records_.push_back(at);
      at += 7U + static_cast<unsigned char>(bytes_[at + 4]) +
            256U * static_cast<unsigned char>(bytes_[at + 5]);
    }
  }

  Result<std::unique_ptr<EventLog>> open_with(const std::string& wal) {
    std::ofstream(wal_, std::ios::binary | std::ios::trunc) << wal;
    return open_event_log({folder_, "build-b", false});
  }

  TemporaryDirectory directory_;
  const fs::path folder_ = directory_.path() / "killed";
  fs::path wal_;
  std::string bytes_;
  std::vector<std::size_t> records_;
};

TEST_F(WalCheckTest, a_log_that_is_cut_anywhere_ends_like_a_cut_write) {
  ASSERT_EQ(records_.size(), 7U);  // the epoch and six appends
  for (std::size_t size = 0; size <= bytes_.size(); ++size) {
    EXPECT_TRUE(ends_like_a_cut_write(std::string_view(bytes_).substr(0, size))) << size;
  }
}

TEST_F(WalCheckTest, a_record_whose_length_reaches_beyond_the_end_does_not) {
  for (const std::size_t at : records_) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string rotten = bytes_;
      rotten[at + 5] = static_cast<char>(static_cast<unsigned char>(rotten[at + 5]) ^ (1U << bit));
      const auto length = static_cast<unsigned char>(rotten[at + 4]) +
                          256U * static_cast<unsigned char>(rotten[at + 5]);
      if (at + 7 + length <= rotten.size()) continue;  // its checksum tells
      EXPECT_FALSE(ends_like_a_cut_write(rotten)) << "record at " << at << ", bit " << bit;
    }
  }
}

TEST_F(WalCheckTest, nor_does_a_stretch_of_zeros_with_records_behind_it) {
  std::string rotten = bytes_;
  std::fill_n(rotten.begin() + static_cast<std::ptrdiff_t>(records_[2]), 16, '\0');
  EXPECT_FALSE(ends_like_a_cut_write(rotten));
  // But zeros to the end are what a file system may leave that had made the file longer.
  rotten = bytes_.substr(0, records_[2]) + std::string(500, '\0');
  EXPECT_TRUE(ends_like_a_cut_write(rotten));
}

TEST_F(WalCheckTest, acknowledged_events_behind_a_damaged_length_are_not_dropped_silently) {
  std::string rotten = bytes_;
  rotten[records_[3] + 5] = static_cast<char>(rotten[records_[3] + 5] ^ 0x40);
  const auto refused = open_with(rotten);
  ASSERT_FALSE(refused) << "opened with " << (*refused)->last_position().value() << " of 6";
  EXPECT_EQ(refused.error().code, ErrorCode::corrupt);
  // Nothing was changed: with the right bytes the log is whole.
  const auto opened = open_with(bytes_);
  ASSERT_TRUE(opened) << to_string(opened.error());
  EXPECT_EQ((*opened)->last_position(), Position(6));
}

// Bit 2 of the type makes it one of recycled files', which RocksDB takes for the end.
TEST_F(WalCheckTest, a_flipped_bit_of_any_head_never_costs_an_acknowledged_event) {
  for (const std::size_t at : records_) {
    for (std::size_t byte = 0; byte < 7; ++byte) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        SCOPED_TRACE(testing::Message()
                     << "record at " << at << ", byte " << byte << ", bit " << bit);
        std::string rotten = bytes_;
        rotten[at + byte] =
            static_cast<char>(static_cast<unsigned char>(rotten[at + byte]) ^ (1U << bit));
        const auto opened = open_with(rotten);
        EXPECT_TRUE(!opened || (*opened)->last_position() == Position(6));
      }
    }
  }
  const auto opened = open_with(bytes_);
  ASSERT_TRUE(opened) << "the refused starts have changed something: " << to_string(opened.error());
  EXPECT_EQ((*opened)->last_position(), Position(6));
}

TEST_F(WalCheckTest, the_anchor_or_the_database_that_is_gone_is_no_first_start) {
  fs::rename(folder_ / "anchor", folder_ / "kept");
  auto refused = open_event_log({folder_, "build-b", false});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::corrupt);
  EXPECT_NE(refused.error().message.find("--accept-loss"), std::string::npos);
  EXPECT_FALSE(verify_folder(folder_));
  fs::rename(folder_ / "kept", folder_ / "anchor");
  fs::rename(folder_ / "db" / "CURRENT", directory_.path() / "CURRENT");
  const auto files = [&] {
    std::vector<fs::path> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder_)) all.push_back(entry.path());
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto before = files();
  for (int again = 0; again < 2; ++again) {
    refused = open_event_log({folder_, "build-b", false});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::corrupt);
    EXPECT_EQ(files(), before) << "evidence was made or destroyed";
  }
  fs::rename(directory_.path() / "CURRENT", folder_ / "db" / "CURRENT");
  const auto verified = verify_folder(folder_);
  ASSERT_TRUE(verified) << to_string(verified.error());
  EXPECT_EQ(verified->last_position, Position(6));
}

// RocksDB would abort, for whoever opens it.
TEST_F(WalCheckTest, a_manifest_that_begins_anew_in_its_middle_is_refused) {
  const auto current = read(folder_ / "db" / "CURRENT");
  const auto manifest = folder_ / "db" / current.substr(0, current.find('\n'));
  const auto whole = read(manifest);
  std::ofstream(manifest, std::ios::binary | std::ios::app) << whole;
  const auto expect_refused = [](const char* which, const auto& opened) {
    ASSERT_FALSE(opened) << which;
    EXPECT_EQ(opened.error().code, ErrorCode::corrupt) << which;
    EXPECT_NE(opened.error().message.find("holds its own beginning twice"), std::string::npos)
        << which << ": " << opened.error().message;
  };
  expect_refused("for writing", open_event_log({folder_, "build-b", false}));
  expect_refused("though a loss is accepted", open_event_log({folder_, "build-b", true}));
  expect_refused("for reading", open_event_log_for_reading(folder_));
  expect_refused("checked", open_checked_event_log(folder_));
  expect_refused("to be verified", verify_folder(folder_));
  std::ofstream(manifest, std::ios::binary | std::ios::trunc) << whole;
  const auto opened = open_event_log_for_reading(folder_);
  ASSERT_TRUE(opened) << to_string(opened.error());
  EXPECT_EQ((*opened)->last_position(), Position(6));
}

TEST_F(WalCheckTest, a_log_without_its_anchor_is_taken_as_it_is_when_the_loss_is_accepted) {
  for (const bool damaged : {false, true}) {
    if (damaged) std::ofstream(folder_ / "anchor") << "nonsense";
    if (!damaged) fs::remove(folder_ / "anchor");
    EXPECT_FALSE(open_event_log({folder_, "build-b", false}));
    const auto opened = open_event_log({folder_, "build-b", true});
    ASSERT_TRUE(opened) << to_string(opened.error());
    EXPECT_EQ((*opened)->last_position(), Position(6));
    ASSERT_TRUE((*opened)->begin_epoch());
  }
  EXPECT_TRUE(open_event_log({folder_, "build-b", false}));
}

// A batch of several blocks that a power cut left in pieces: its pages reach the disk in any order.
TEST_F(WalCheckTest, pieces_of_one_batch_are_a_cut_write_and_a_batch_behind_them_is_damage) {
  const auto record = [](std::uint8_t type, const std::string& payload) {
    std::string bytes(7, '\0');
    bytes[4] = static_cast<char>(payload.size() & 0xFFU);
    bytes[5] = static_cast<char>(payload.size() >> 8U);
    bytes[6] = static_cast<char>(type);
    const std::string covered = std::string(1, static_cast<char>(type)) + payload;
    std::uint32_t crc = rocksdb_masked_crc32c(covered);
    for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<char>(crc >> (8 * i));
    return bytes + payload;
  };
  const std::string first = record(2, std::string(k_wal_block_bytes - 7, 'a'));
  const std::string middle = record(3, std::string(k_wal_block_bytes - 7, 'b'));
  const std::string last = record(4, "c");
  const std::string hole(k_wal_block_bytes, '\0');
  EXPECT_TRUE(ends_like_a_cut_write(first + middle + last));
  EXPECT_TRUE(ends_like_a_cut_write(hole + middle + last));
  EXPECT_TRUE(ends_like_a_cut_write(first + hole + last));
  EXPECT_FALSE(ends_like_a_cut_write(first + hole + record(1, "the next batch")));
  EXPECT_FALSE(ends_like_a_cut_write(hole + middle + last + record(1, "the next batch")));
}

TEST_F(WalCheckTest, a_cut_write_is_still_forgiven) {
  const auto opened = open_with(bytes_.substr(0, bytes_.size() - 5));
  ASSERT_TRUE(opened) << to_string(opened.error());
  EXPECT_EQ((*opened)->last_position(), Position(5));
  EXPECT_TRUE(verify(**opened));
}

}  // namespace
}  // namespace atlasflow::storage
