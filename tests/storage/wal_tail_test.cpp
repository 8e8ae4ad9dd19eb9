// What RocksDB forgives at the end of a write-ahead log, and what we do not: a record whose length
// was damaged looks like a write that was cut short.
#include "storage/log/wal_tail.hpp"

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

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A log of some appends as kill -9 leaves it, with an anchor that has seen the first only.
class WalTail : public testing::Test {
 protected:
  WalTail() {
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

TEST_F(WalTail, a_log_that_is_cut_anywhere_ends_like_a_cut_write) {
  ASSERT_EQ(records_.size(), 7U);  // the epoch and six appends
  for (std::size_t size = 0; size <= bytes_.size(); ++size) {
    EXPECT_TRUE(ends_like_a_cut_write(std::string_view(bytes_).substr(0, size))) << size;
  }
}

TEST_F(WalTail, a_record_whose_length_reaches_beyond_the_end_does_not) {
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

TEST_F(WalTail, nor_does_a_stretch_of_zeros_with_records_behind_it) {
  std::string rotten = bytes_;
  std::fill_n(rotten.begin() + static_cast<std::ptrdiff_t>(records_[2]), 16, '\0');
  EXPECT_FALSE(ends_like_a_cut_write(rotten));
  // But zeros to the end are what a file system may leave that had made the file longer.
  rotten = bytes_.substr(0, records_[2]) + std::string(500, '\0');
  EXPECT_TRUE(ends_like_a_cut_write(rotten));
}

TEST_F(WalTail, acknowledged_events_behind_a_damaged_length_are_not_dropped_silently) {
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

TEST_F(WalTail, a_cut_write_is_still_forgiven) {
  const auto opened = open_with(bytes_.substr(0, bytes_.size() - 5));
  ASSERT_TRUE(opened) << to_string(opened.error());
  EXPECT_EQ((*opened)->last_position(), Position(5));
  EXPECT_TRUE(verify(**opened));
}

}  // namespace
}  // namespace atlasflow::storage
