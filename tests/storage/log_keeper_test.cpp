// Bounded logs and their time stamps. A log that is trimmed while it is written and followed loses
// and repeats nothing of what is kept.
#include "storage/instance_logs/log_keeper.hpp"

#include <atomic>
#include <fstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"
#include "storage/instance_logs/instance_log.hpp"
#include "storage/instance_logs/log_times.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr TimestampUs k_second = 1'000'000;
constexpr TimestampUs k_t0 = 1'700'000'000 * k_second;

class Logs : public testing::Test {
 protected:
  void append(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary | std::ios::app) << bytes;
  }
  void written_at(const std::string& name, TimestampUs when) const {
    const timespec time{when / k_second, when % k_second * 1'000};
    const timespec times[2] = {time, time};
    ASSERT_EQ(::utimensat(AT_FDCWD, (folder_ / name).c_str(), times, 0), 0);
  }
  [[nodiscard]] std::uint64_t disk_bytes(const std::string& name) const {
    struct stat status {};
    EXPECT_EQ(::stat((folder_ / name).c_str(), &status), 0);
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  [[nodiscard]] std::string all_of(const std::string& name, LogCursor cursor = {}) const {
    std::string all;
    for (;;) {
      const auto chunk = read_from(folder_ / name, cursor);
      EXPECT_TRUE(chunk) << to_string(chunk.error());
      if (!chunk || chunk->bytes.empty()) return all;
      all += chunk->bytes;
      cursor = chunk->next;
    }
  }
  [[nodiscard]] std::string since(const std::string& name, TimestampUs when) const {
    const auto cursor = cursor_since(folder_ / name, when);
    EXPECT_TRUE(cursor) << to_string(cursor.error());
    return cursor ? all_of(name, *cursor) : "";
  }
  [[nodiscard]] LogFolderConfig config() const {
    LogFolderConfig config;
    config.folder = folder_;
    return config;
  }

  TemporaryDirectory directory_;
  const fs::path folder_ = directory_.path();
};

std::string numbered_lines(int first, int last) {
  std::string lines;
  for (int i = first; i < last; ++i) {
    std::string line = std::to_string(i);
    line.resize(63, '.');
    lines += line + "\n";
  }
  return lines;
}

// ---- trimming ----

TEST_F(Logs, that_grew_too_long_lose_their_head_and_no_byte_of_their_tail) {
  const auto text = numbered_lines(0, 16'384);  // a MiB
  append("a-v1.run.log", text);
  ASSERT_TRUE(trim_log(folder_ / "a-v1.run.log", 256 << 10));
  EXPECT_LE(disk_bytes("a-v1.run.log"), (256U << 10) + (64U << 10));
  EXPECT_EQ(fs::file_size(folder_ / "a-v1.run.log"), text.size());  // offsets stay valid
  const auto left = all_of("a-v1.run.log");
  EXPECT_GE(left.size(), 256U << 10);
  EXPECT_EQ(left, text.substr(text.size() - left.size()));
  const auto last = tail(folder_ / "a-v1.run.log", 2);
  ASSERT_TRUE(last);
  EXPECT_EQ(last->bytes, numbered_lines(16'382, 16'384));
  const auto everything = tail(folder_ / "a-v1.run.log", 1'000'000, 8 << 20);
  ASSERT_TRUE(everything);
  EXPECT_EQ(everything->bytes, left);
}

TEST_F(Logs, that_are_short_enough_are_left_alone) {
  append("a-v1.run.log", "short\n");
  ASSERT_TRUE(trim_log(folder_ / "a-v1.run.log", 256 << 10));
  ASSERT_TRUE(trim_log(folder_ / "a-v1.run.log", 256 << 10, TrimMode::copy));
  EXPECT_EQ(all_of("a-v1.run.log"), "short\n");
  EXPECT_EQ(trim_log(folder_ / "b-v1.run.log", 1).error().code, ErrorCode::not_found);
}

TEST_F(Logs, that_are_trimmed_while_they_are_written_and_followed_lose_and_repeat_nothing_kept) {
  const auto path = folder_ / "a-v1.run.log";
  // As QEMU has it: one descriptor, appending, for the life of the VM.
  const FileDescriptor writer(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  std::atomic<bool> done{false};
  constexpr int k_lines = 60'000;
  std::jthread writing([&] {
    for (int i = 0; i < k_lines; i += 20) {
      ASSERT_TRUE(write_all(writer.get(), numbered_lines(i, i + 20), "log"));
    }
    done = true;
  });
  std::jthread trimming([&] {
    while (!done) ASSERT_TRUE(trim_log(path, 1 << 20));
  });
  // The follower may be slower than the trimmer: then it has gaps, but what it gets is in order.
  LogCursor cursor;
  std::uint64_t expected = 0;
  while (true) {
    const bool last = done;
    const auto chunk = read_from(path, cursor);
    ASSERT_TRUE(chunk);
    ASSERT_FALSE(chunk->restarted);
    const auto start = chunk->next.offset - chunk->bytes.size();
    ASSERT_GE(start, expected);
    expected = chunk->next.offset;
    ASSERT_EQ(chunk->bytes.find('\0'), std::string::npos) << "read a freed byte at " << start;
    // Every byte is what the writer wrote at that offset.
    for (std::size_t i = 0; i < chunk->bytes.size(); i += 997) {
      const auto offset = start + i;
      const auto line =
          numbered_lines(static_cast<int>(offset / 64), static_cast<int>(offset / 64) + 1);
      ASSERT_EQ(chunk->bytes[i], line[offset % 64]);
    }
    cursor = chunk->next;
    if (last && chunk->bytes.empty()) break;
  }
  EXPECT_EQ(cursor.offset, std::uint64_t{k_lines} * 64);
}

TEST_F(Logs, on_a_file_system_without_holes_are_copied_and_the_writer_goes_on_behind) {
  const auto path = folder_ / "a-v1.run.log";
  const FileDescriptor writer(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  const auto text = numbered_lines(0, 1'000);
  ASSERT_TRUE(write_all(writer.get(), text, "log"));
  ASSERT_TRUE(append_log_time(path, {k_t0, 64}));
  ASSERT_TRUE(append_log_time(path, {k_t0 + k_second, 63'936}));
  ASSERT_TRUE(trim_log(path, 640, TrimMode::copy));
  ASSERT_TRUE(write_all(writer.get(), numbered_lines(1'000, 1'001), "log"));
  EXPECT_EQ(all_of("a-v1.run.log"), numbered_lines(990, 1'001));
  EXPECT_THAT(read_log_times(path), ElementsAre(LogTime{k_t0 + k_second, 576}));
}

TEST_F(Logs, are_trimmed_by_the_keeper_once_they_are_past_their_limit) {
  auto limited = config();
  limited.run_log_bytes = 256 << 10;
  LogFolder logs(limited);
  append("a-v1.run.log", numbered_lines(0, 8'192));
  append("a-v2.build.log", numbered_lines(0, 8'192));
  logs.sample();
  EXPECT_LE(disk_bytes("a-v1.run.log"), 320U << 10);
  EXPECT_GE(disk_bytes("a-v2.build.log"), 512U << 10);  // a build's log bounds itself
}

// ---- time stamps ----

TEST_F(Logs, since_a_time_are_what_was_written_from_then_on) {
  LogFolder logs(config());
  for (int i = 0; i < 5; ++i) {
    append("a-v1.run.log", "line " + std::to_string(i) + "\n");
    written_at("a-v1.run.log", k_t0 + 10 * k_second * i);
    logs.sample();
  }
  EXPECT_EQ(since("a-v1.run.log", k_t0 + 35 * k_second), "line 4\n");
  EXPECT_EQ(since("a-v1.run.log", k_t0 + 30 * k_second), "line 3\nline 4\n");
  EXPECT_EQ(since("a-v1.run.log", k_t0 + 11 * k_second), "line 2\nline 3\nline 4\n");
  EXPECT_EQ(since("a-v1.run.log", k_t0 - k_second), "line 0\nline 1\nline 2\nline 3\nline 4\n");
  EXPECT_EQ(since("a-v1.run.log", k_t0 + 41 * k_second), "");
}

TEST_F(Logs, since_a_time_go_on_over_a_restart_of_the_server) {
  append("a-v1.run.log", "before\n");
  written_at("a-v1.run.log", k_t0);
  LogFolder(config()).sample();
  append("a-v1.run.log", "while it was away\n");
  written_at("a-v1.run.log", k_t0 + 100 * k_second);
  LogFolder(config()).sample();
  EXPECT_THAT(read_log_times(folder_ / "a-v1.run.log"),
              ElementsAre(LogTime{k_t0, 7}, LogTime{k_t0 + 100 * k_second, 25}));
  EXPECT_EQ(since("a-v1.run.log", k_t0 + 50 * k_second), "while it was away\n");
}

TEST_F(Logs, without_time_stamps_are_read_whole_or_not_at_all) {
  append("a-v1.run.log", "one\ntwo\n");
  written_at("a-v1.run.log", k_t0);
  EXPECT_EQ(since("a-v1.run.log", k_t0 - k_second), "one\ntwo\n");
  EXPECT_EQ(since("a-v1.run.log", k_t0 + k_second), "");
  EXPECT_EQ(since("no-v1.run.log", k_t0), "");
}

TEST_F(Logs, with_damaged_time_stamps_are_read_from_further_back) {
  append("a-v1.run.log", "one\ntwo\n");
  written_at("a-v1.run.log", k_t0 + 10 * k_second);
  ASSERT_TRUE(append_log_time(folder_ / "a-v1.run.log", {k_t0, 4}));
  append("a-v1.run.log.times", "torn");
  EXPECT_EQ(since("a-v1.run.log", k_t0 + k_second), "two\n");
  ASSERT_TRUE(append_log_time(folder_ / "a-v1.run.log", {k_t0 + 10 * k_second, 8}));
  EXPECT_THAT(read_log_times(folder_ / "a-v1.run.log"),
              ElementsAre(LogTime{k_t0, 4}, LogTime{k_t0 + 10 * k_second, 8}));
  // Of a file that was longer once.
  ASSERT_TRUE(write_log_times(folder_ / "a-v1.run.log", {{k_t0, 4'000}}));
  EXPECT_EQ(since("a-v1.run.log", k_t0 + k_second), "one\ntwo\n");
}

TEST_F(Logs, whose_clock_was_set_back_give_more_rather_than_less) {
  const std::vector<LogTime> times = {{100, 10}, {110, 20}, {50, 30}, {60, 40}};
  EXPECT_EQ(offset_at(times, 105), 10U);
  EXPECT_EQ(offset_at(times, 55), 0U);
}

TEST_F(Logs, begin_with_a_whole_line_where_a_time_stamp_fell_into_one) {
  append("a-v1.run.log", "old\nhalf of a line");
  ASSERT_TRUE(append_log_time(folder_ / "a-v1.run.log", {k_t0, 9}));
  EXPECT_EQ(since("a-v1.run.log", k_t0 + k_second), "half of a line");
}

TEST_F(Logs, keep_few_time_stamps_of_long_ago) {
  const auto kept = thinned({{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}, {5, 5}, {6, 6}, {7, 7}});
  EXPECT_THAT(kept, ElementsAre(LogTime{1, 1}, LogTime{3, 3}, LogTime{4, 4}, LogTime{5, 5},
                                LogTime{6, 6}, LogTime{7, 7}));
}

// ---- the total ----

class Total : public Logs {
 protected:
  void log_of(const std::string& name, int age_minutes) const {
    append(name, numbered_lines(0, 1'024));  // 64 KiB
    written_at(name, k_t0 - 60 * k_second * age_minutes);
  }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
};

TEST_F(Total, is_kept_by_removing_the_oldest_logs_of_deployments_that_are_not_retained) {
  log_of("old-v4.run.log", 50);
  ASSERT_TRUE(append_log_time(folder_ / "old-v4.run.log", {k_t0, 4}));
  log_of("new-v4.run.log", 40);
  log_of("live-v4.run.log", 90);
  auto limited = config();
  limited.total_bytes = 130 << 10;
  limited.kept = [] { return std::set<DeploymentId>{DeploymentId("live")}; };
  EXPECT_THAT(LogFolder(limited).enforce_total(k_t0), ElementsAre("old-v4.run.log"));
  EXPECT_THAT(names(), UnorderedElementsAre("new-v4.run.log", "live-v4.run.log"));
}

TEST_F(Total, that_is_not_reached_removes_nothing_and_asks_nobody) {
  log_of("old-v4.run.log", 50);
  auto limited = config();
  limited.kept = []() -> std::set<DeploymentId> {
    ADD_FAILURE() << "asked";
    return {};
  };
  EXPECT_THAT(LogFolder(limited).enforce_total(k_t0), IsEmpty());
}

TEST_F(Total, never_takes_the_newest_logs_of_a_retained_deployment_nor_of_a_running_vm) {
  for (int i = 1; i <= 6; ++i) log_of("loop-v" + std::to_string(i) + ".run.log", 60 - i);
  auto limited = config();
  limited.total_bytes = 0;
  limited.kept = [] { return std::set<DeploymentId>{DeploymentId("loop")}; };
  limited.running = [] { return std::set<std::string>{"loop-v2"}; };
  EXPECT_THAT(LogFolder(limited).enforce_total(k_t0),
              ElementsAre("loop-v1.run.log", "loop-v3.run.log"));
}

TEST_F(Total, leaves_a_log_that_is_just_being_written_to_the_next_time) {
  log_of("new-v4.build.log", 0);
  auto limited = config();
  limited.total_bytes = 0;
  EXPECT_THAT(LogFolder(limited).enforce_total(k_t0), IsEmpty());
  EXPECT_THAT(LogFolder(limited).enforce_total(k_t0 + 120 * k_second),
              ElementsAre("new-v4.build.log"));
}

TEST_F(Total, takes_time_stamps_whose_log_is_gone_and_no_other_file) {
  append("gone-v4.run.log.times", "x");
  append("here-v4.run.log", "x");
  append("here-v4.run.log.times", "x");
  append("notes.txt", "x");
  static_cast<void>(LogFolder(config()).enforce_total(k_t0));
  EXPECT_THAT(names(),
              UnorderedElementsAre("here-v4.run.log", "here-v4.run.log.times", "notes.txt"));
}

// A release command's log is a VM's, and the oldest of its deployment.
TEST_F(Total, counts_the_logs_of_release_commands_and_all_instances_as_their_deployments) {
  for (const int number : {3, 5, 7, 9}) {
    log_of("kept-v" + std::to_string(number) + ".run.log", 90 - number);
    log_of("gone-v" + std::to_string(number) + ".run.log", 90 - number);
  }
  auto tight = config();
  tight.total_bytes = 0;
  tight.kept = [] { return std::set<DeploymentId>{DeploymentId("kept")}; };
  tight.running = [] { return std::set<std::string>{"kept-v3"}; };
  static_cast<void>(LogFolder(tight).enforce_total(k_t0));
  EXPECT_THAT(names(), UnorderedElementsAre("kept-v3.run.log", "kept-v5.run.log", "kept-v7.run.log",
                                            "kept-v9.run.log"));
  tight.running = {};
  static_cast<void>(LogFolder(tight).enforce_total(k_t0));
  EXPECT_THAT(names(),
              UnorderedElementsAre("kept-v5.run.log", "kept-v7.run.log", "kept-v9.run.log"));
}

TEST_F(Logs, are_stamped_by_a_thread_that_stops_at_once) {
  append("a-v1.run.log", "x\n");
  const auto began = std::chrono::steady_clock::now();
  {
    std::atomic<int> looks{0};
    auto counting = config();
    counting.at_each_look = [&] { ++looks; };
    const LogKeeper keeper(counting, std::chrono::hours(1));
    while (read_log_times(folder_ / "a-v1.run.log").empty()) std::this_thread::yield();
    EXPECT_EQ(looks, 1);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(30));
}

TEST_F(Logs, are_looked_after_although_a_callback_throws) {
  std::atomic<int> looks{0};
  auto failing = config();
  failing.at_each_look = [&] {
    if (++looks == 1) throw std::runtime_error("the folder cannot be read");
  };
  append("a-v1.run.log", "x\n");
  const LogKeeper keeper(failing, std::chrono::milliseconds(1));
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (read_log_times(folder_ / "a-v1.run.log").empty()) {
    ASSERT_LT(std::chrono::steady_clock::now(), limit);
    std::this_thread::yield();
  }
}

}  // namespace
}  // namespace atlasflow::storage
