#include "storage/instance_logs/instance_log.hpp"

#include <atomic>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;

class InstanceLogFile : public testing::Test {
 protected:
  void append(const std::string& bytes) const {
    std::ofstream(path_, std::ios::binary | std::ios::app) << bytes;
  }
  std::string tail_of(std::size_t lines, std::size_t bytes_max = k_tail_bytes_max) const {
    const auto chunk = tail(path_, lines, bytes_max);
    EXPECT_TRUE(chunk) << to_string(chunk.error());
    return chunk ? chunk->bytes : std::string();
  }
  LogChunk read(const LogCursor& cursor, std::size_t bytes_max = k_chunk_bytes_max) const {
    auto chunk = read_from(path_, cursor, bytes_max);
    EXPECT_TRUE(chunk) << to_string(chunk.error());
    return chunk ? *chunk : LogChunk{};
  }

  TemporaryDirectory directory_;
  const fs::path path_ = directory_.path() / "k3v5q2ab.build.log";
};

TEST_F(InstanceLogFile, that_is_not_there_yet_is_empty_and_is_followed_from_its_first_byte) {
  const auto chunk = tail(path_, 10);
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->bytes, "");
  EXPECT_EQ(read(chunk->next).bytes, "");
  append("first\n");
  EXPECT_EQ(read(read(chunk->next).next).bytes, "");
  EXPECT_EQ(read(chunk->next).bytes, "first\n");
}

TEST_F(InstanceLogFile, its_tail_is_its_last_lines) {
  append("one\ntwo\nthree\n");
  EXPECT_EQ(tail_of(0), "");
  EXPECT_EQ(tail_of(1), "three\n");
  EXPECT_EQ(tail_of(2), "two\nthree\n");
  EXPECT_EQ(tail_of(3), "one\ntwo\nthree\n");
  EXPECT_EQ(tail_of(4), "one\ntwo\nthree\n");
  append("half");  // a line that is still being written counts
  EXPECT_EQ(tail_of(1), "half");
  EXPECT_EQ(tail_of(2), "three\nhalf");
}

TEST_F(InstanceLogFile, of_empty_lines_has_as_many_as_asked_for) {
  append("\n\n\nx\n\n");
  EXPECT_EQ(tail_of(1), "\n");
  EXPECT_EQ(tail_of(2), "x\n\n");
  EXPECT_EQ(tail_of(5), "\n\n\nx\n\n");
  EXPECT_EQ(tail_of(9), "\n\n\nx\n\n");
}

TEST_F(InstanceLogFile, that_is_long_gives_the_same_tail_wherever_its_blocks_end) {
  std::string expected;
  for (int i = 0; i < 40'000; ++i) {
    const std::string line = std::to_string(i) + std::string(static_cast<std::size_t>(i % 7), '.');
    append(line + "\n");
    if (i >= 25'000) expected += line + "\n";
  }
  ASSERT_GT(expected.size(), 100'000U);
  EXPECT_EQ(tail_of(15'000), expected);
}

TEST_F(InstanceLogFile, without_newlines_is_bounded_in_memory) {
  append(std::string(300'000, 'x'));
  append("end");
  const std::string bytes = tail_of(5, 100'000);
  EXPECT_EQ(bytes.size(), 100'000U);
  EXPECT_TRUE(bytes.ends_with("xend"));
}

TEST_F(InstanceLogFile, gives_its_bytes_as_they_are) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  bytes += "\x1B[31m\xFF\n";
  append(bytes);
  EXPECT_EQ(tail_of(100), bytes);
  EXPECT_EQ(read({}).bytes, bytes);
}

TEST_F(InstanceLogFile, is_followed_without_a_gap_and_without_a_repeat) {
  append("one\ntwo\n");
  auto chunk = tail(path_, 1).value();
  std::string seen = chunk.bytes;
  for (int i = 0; i < 50; ++i) {
    append("line " + std::to_string(i) + "\n");
    chunk = read(chunk.next, 7);  // fewer bytes than a line has
    seen += chunk.bytes;
    EXPECT_FALSE(chunk.restarted);
  }
  while (!(chunk = read(chunk.next, 7)).bytes.empty()) seen += chunk.bytes;
  std::string expected = "two\n";
  for (int i = 0; i < 50; ++i) expected += "line " + std::to_string(i) + "\n";
  EXPECT_EQ(seen, expected);
}

TEST_F(InstanceLogFile, that_was_cut_is_read_from_its_beginning) {
  append("a long first life\n");
  const LogCursor cursor = read({}).next;
  fs::resize_file(path_, 0);
  EXPECT_TRUE(read(cursor).restarted);
  append("second\n");
  const LogChunk chunk = read(cursor);
  EXPECT_TRUE(chunk.restarted);
  EXPECT_EQ(chunk.bytes, "second\n");
  EXPECT_FALSE(read(chunk.next).restarted);
}

TEST_F(InstanceLogFile, that_was_replaced_by_a_longer_one_is_read_from_its_beginning) {
  append("short\n");
  const LogCursor cursor = read({}).next;
  fs::rename(path_, directory_.path() / "k3v5q2ab.build.log.1");
  EXPECT_EQ(read(cursor).bytes, "");  // between the rename and the new file
  append("the new file is longer\n");
  const LogChunk chunk = read(cursor);
  EXPECT_TRUE(chunk.restarted);
  EXPECT_EQ(chunk.bytes, "the new file is longer\n");
}

TEST_F(InstanceLogFile, is_followed_by_several_threads_while_it_grows) {
  constexpr int k_lines = 2000;
  std::atomic<bool> done{false};
  std::vector<std::string> seen(3);
  std::vector<std::thread> followers;
  for (auto& bytes : seen) {
    followers.emplace_back([&] {
      LogCursor cursor;
      bool last_round = false;
      while (true) {
        const LogChunk chunk = read(cursor, 100);
        bytes += chunk.bytes;
        cursor = chunk.next;
        if (!chunk.bytes.empty()) continue;
        if (last_round) break;
        last_round = done;
      }
    });
  }
  std::string expected;
  for (int i = 0; i < k_lines; ++i) {
    append(std::to_string(i) + "\n");
    expected += std::to_string(i) + "\n";
  }
  done = true;
  for (auto& follower : followers) follower.join();
  for (const auto& bytes : seen) EXPECT_EQ(bytes, expected);
}

TEST_F(InstanceLogFile, that_is_no_file_is_refused) {
  EXPECT_FALSE(tail(directory_.path(), 1));
  fs::create_symlink("/etc/hostname", path_);
  EXPECT_FALSE(tail(path_, 1)) << "a link could lead anywhere";
  EXPECT_FALSE(read_from(path_, {}));
}

TEST(InstanceLogPath, is_made_of_an_id_that_cannot_leave_the_folder) {
  EXPECT_EQ(instance_log_path("/logs", "k3v5q2ab", InstanceLog::build).value(),
            "/logs/k3v5q2ab.build.log");
  EXPECT_EQ(instance_log_path("/logs", "k3v5q2ab-v7", InstanceLog::run).value(),
            "/logs/k3v5q2ab-v7.run.log");
  for (const char* id : {"", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n"}) {
    const auto path = instance_log_path("/logs", id, InstanceLog::run);
    ASSERT_FALSE(path) << id;
    EXPECT_EQ(path.error().code, ErrorCode::invalid_argument);
  }
}

}  // namespace
}  // namespace atlasflow::storage
