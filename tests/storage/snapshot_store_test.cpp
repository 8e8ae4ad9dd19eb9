// Snapshots as files: what is read is what was written, of this log and of this build, or nothing.
#include "storage/snapshots/snapshot_store.hpp"

#include <fstream>
#include <iterator>

#include <gmock/gmock.h>

#include "storage/log/memory_event_log.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class Snapshots : public testing::Test {
 protected:
  Snapshots() { fill(*log_, "node", 0, 5); }

  [[nodiscard]] Snapshot snapshot_at(std::uint64_t position, std::string state = "state") const {
    const auto record = log_->read_at(Position(position));
    return {Position(position), (*record)->chain, std::move(state), {}, {}};
  }
  void write(std::uint64_t position) const {
    const auto written = store_.write(snapshot_at(position));
    EXPECT_TRUE(written) << to_string(written.error());
  }
  [[nodiscard]] fs::path file_of(std::uint64_t position) const {
    return folder() / ("0000000000000000000" + std::to_string(position) + ".snapshot");
  }
  [[nodiscard]] fs::path folder() const { return directory_.path() / "snapshots"; }
  // Why it is not read.
  [[nodiscard]] std::string refusal(std::uint64_t position) const {
    const auto read = store_.read(Position(position), *log_);
    return read ? "it is read" : to_string(read.error());
  }

  TemporaryDirectory directory_;
  std::unique_ptr<EventLog> log_ = open_memory_event_log();
  SnapshotStore store_{folder(), {"build-1", "example.test"}};
};

std::string bytes_in(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void put(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

TEST_F(Snapshots, one_that_was_written_is_read_as_it_was) {
  const std::string large(3'000'000, '\7');
  ASSERT_TRUE(store_.write(snapshot_at(3, large)));
  EXPECT_THAT(store_.positions(), ElementsAre(Position(3)));
  const auto read = store_.read(Position(3), *log_);
  ASSERT_TRUE(read) << to_string(read.error());
  EXPECT_EQ(read->position, Position(3));
  EXPECT_EQ(read->chain, snapshot_at(3).chain);
  EXPECT_TRUE(read->state == large);
}

TEST_F(Snapshots, a_folder_that_is_not_there_has_none) {
  EXPECT_THAT(store_.positions(), testing::IsEmpty());
}

TEST_F(Snapshots, the_newest_two_are_kept_and_nothing_half_made) {
  fs::create_directories(folder());
  put(folder() / "00000000000000000009.snapshot.tmp", "half");
  put(folder() / "notes.snapshot", "somebody's");
  for (std::uint64_t position = 1; position <= 4; ++position) write(position);
  EXPECT_THAT(store_.positions(), ElementsAre(Position(4), Position(3)));
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& file : fs::directory_iterator(folder())) ++files;
  EXPECT_EQ(files, 3U) << "the third is somebody's";
}

TEST_F(Snapshots, one_with_a_flipped_bit_anywhere_or_cut_anywhere_is_refused) {
  write(2);
  const auto good = bytes_in(file_of(2));
  ASSERT_GT(good.size(), 64U);
  for (std::size_t at = 0; at < good.size(); ++at) {
    auto flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    put(file_of(2), flipped);
    EXPECT_THAT(refusal(2), HasSubstr("damaged")) << at;
    put(file_of(2), good.substr(0, at));
    EXPECT_THAT(refusal(2), HasSubstr("damaged")) << at;
  }
  put(file_of(2), good);
  EXPECT_EQ(refusal(2), "it is read");
}

TEST_F(Snapshots, one_under_the_name_of_another_is_refused) {
  write(2);
  fs::rename(file_of(2), file_of(3));
  EXPECT_THAT(refusal(3), HasSubstr("damaged"));
}

TEST_F(Snapshots, another_build_or_another_domain_reads_none) {
  write(2);
  const SnapshotStore other(folder(), {"build-2", "example.test"});
  const auto read = other.read(Position(2), *log_);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message, HasSubstr("another build"));
}

// A log that lost its end, as after --accept-loss, or an older backup.
TEST_F(Snapshots, one_of_a_position_that_the_log_has_not_is_refused) {
  write(5);
  log_ = open_memory_event_log();
  fill(*log_, "node", 0, 4);
  EXPECT_THAT(refusal(5), HasSubstr("ends before"));
}

// Restored and gone on otherwise: the same length says nothing.
TEST_F(Snapshots, one_of_another_log_is_refused) {
  write(5);
  log_ = open_memory_event_log();
  fill(*log_, "node", 0, 4);
  fill(*log_, "project/pabc2345", 0, 1);
  EXPECT_THAT(refusal(5), HasSubstr("another log"));
}

TEST_F(Snapshots, a_dropped_one_is_gone) {
  write(2);
  write(3);
  store_.drop(Position(3), "a test says so");
  EXPECT_THAT(store_.positions(), ElementsAre(Position(2)));
  store_.drop(Position(3), "twice");
}

TEST_F(Snapshots, where_no_folder_can_be_nothing_is_written_and_that_is_said) {
  put(folder(), "a file");
  const auto written = store_.write(snapshot_at(1));
  ASSERT_FALSE(written);
  EXPECT_THAT(to_string(written.error()), HasSubstr("snapshots"));
}

}  // namespace
}  // namespace atlasflow::storage
