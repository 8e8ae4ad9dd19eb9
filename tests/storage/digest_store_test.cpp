// Digests of states as files: what is read is what was written, of this log, or nothing.
#include "storage/snapshots/digest_store.hpp"

#include <fstream>
#include <iomanip>
#include <iterator>
#include <sstream>

#include <gmock/gmock.h>

#include "storage/log/memory_event_log.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Digests : public testing::Test {
 protected:
  Digests() { fill(*log_, "node", 0, 40); }

  [[nodiscard]] RecordedDigests digests_at(std::uint64_t position) const {
    const auto record = log_->read_at(Position(position));
    return {{"build-1", "example.test"},
            Position(position),
            (*record)->chain,
            {{"a text", {1, 2, 3}}, {"b[].c integer", {4, ~std::uint64_t{0}, 6}}}};
  }
  void write(std::uint64_t position) const {
    const auto written = store_.write(digests_at(position));
    EXPECT_TRUE(written) << to_string(written.error());
  }
  [[nodiscard]] fs::path file_of(std::uint64_t position) const {
    std::ostringstream name;
    name << std::setfill('0') << std::setw(20) << position << ".digests";
    return directory_.path() / name.str();
  }
  [[nodiscard]] std::string refusal(std::uint64_t position) const {
    const auto read = store_.read(Position(position), *log_);
    return read ? "it is read" : to_string(read.error());
  }

  TemporaryDirectory directory_;
  std::unique_ptr<EventLog> log_ = open_memory_event_log();
  DigestStore store_{directory_.path().string(),
                     {rocksdb::Env::Default(), [](rocksdb::Env* /*of the process*/) {}}};
};

TEST_F(Digests, that_were_written_are_read_as_they_were) {
  write(7);
  const auto read = store_.read(Position(7), *log_);
  ASSERT_TRUE(read) << to_string(read.error());
  EXPECT_EQ(read->digests, digests_at(7).digests);
  EXPECT_EQ(read->made_by, digests_at(7).made_by);
  EXPECT_EQ(store_.maker_of(Position(7))->build, "build-1");
  EXPECT_FALSE(store_.maker_of(Position(8)));
}

TEST_F(Digests, with_a_flipped_bit_anywhere_or_cut_anywhere_are_refused) {
  write(2);
  std::ifstream stream(file_of(2), std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(stream), {}};
  const auto put = [&](const std::string& bytes) {
    std::ofstream(file_of(2), std::ios::binary) << bytes;
  };
  for (std::size_t at = 0; at < good.size(); ++at) {
    auto flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    put(flipped);
    EXPECT_THAT(refusal(2), HasSubstr("damaged")) << at;
    static_cast<void>(store_.maker_of(Position(2)));
    put(good.substr(0, at));
    EXPECT_THAT(refusal(2), HasSubstr("damaged")) << at;
    static_cast<void>(store_.maker_of(Position(2)));
  }
}

TEST_F(Digests, of_another_log_are_refused) {
  write(5);
  write(40);
  log_ = open_memory_event_log();
  fill(*log_, "node", 0, 4);
  fill(*log_, "project/pabc2345", 0, 1);
  EXPECT_THAT(refusal(5), HasSubstr("another log"));
  EXPECT_THAT(refusal(40), HasSubstr("ends before"));
}

TEST_F(Digests, of_many_the_newest_and_the_oldest_stay_and_the_rest_lies_apart) {
  for (std::uint64_t position = 1; position <= 40; ++position) write(position);
  const auto kept = store_.positions();
  ASSERT_EQ(kept.size(), DigestStore::k_kept);
  EXPECT_EQ(kept.front(), Position(40));
  EXPECT_EQ(kept.back(), Position(1));
  for (std::size_t i = 1; i < kept.size(); ++i) {
    EXPECT_LE(kept[i - 1].value() - kept[i].value(), 8U) << "no large part of the log is without";
  }
}

}  // namespace
}  // namespace atlasflow::storage
