// The event log on a disk that is full: a tmpfs of a few MiB in a mount namespace of this process,
// which an executable of its own has from its beginning.
#include <atomic>
#include <cstdio>
#include <fstream>
#include <set>
#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file_descriptor.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/secrets/secrets.hpp"
#include "tests/storage/child_process.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t k_mib = 1ULL << 20U;

void write_to(const char* file, const std::string& text) { std::ofstream(file) << text; }

// Mounts made from now on are this process's alone.
void leave_the_mount_namespace() {
  if (::geteuid() == 0) {
    ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
  } else {
    const auto user = std::to_string(::geteuid());
    ASSERT_EQ(::unshare(CLONE_NEWUSER | CLONE_NEWNS), 0) << "needs root or user namespaces";
    write_to("/proc/self/setgroups", "deny");
    write_to("/proc/self/uid_map", "0 " + user + " 1");
  }
  ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
}

std::string noise(std::size_t size, std::uint64_t seed) {
  std::string bytes(size, '\0');
  for (auto& byte : bytes) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    byte = static_cast<char>('!' + (seed >> 33U) % 94);  // text, and no codec makes it much smaller
  }
  return bytes;
}

class FullDisk : public testing::Test {
 protected:
  static void SetUpTestSuite() { leave_the_mount_namespace(); }

  void SetUp() override { mount_disk(48); }
  void TearDown() override { unmount(); }

  void mount_disk(int mib) {
    ASSERT_EQ(::mount("tmpfs", disk_.path().c_str(), "tmpfs", 0,
                      ("size=" + std::to_string(mib) + "m").c_str()),
              0);
    mounted_ = true;
  }
  void unmount() {
    if (mounted_) ::umount2(disk_.path().c_str(), MNT_DETACH);
    mounted_ = false;
  }

  [[nodiscard]] std::uint64_t free_bytes() const {
    struct statvfs status {};
    EXPECT_EQ(::statvfs(disk_.path().c_str(), &status), 0);
    return status.f_bavail * status.f_frsize;
  }
  // Another one's file takes all but so much.
  void fill_but(std::uint64_t left) const {
    const FileDescriptor hog(
        ::open((disk_.path() / "hog").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    const std::string block(4096, 'x');
    while (free_bytes() > left && ::write(hog.get(), block.data(), block.size()) > 0) {
    }
  }
  void make_room() const { std::filesystem::remove(disk_.path() / "hog"); }

  [[nodiscard]] Result<std::unique_ptr<EventLog>> open(std::uint64_t reserve_bytes = 0) const {
    EventLogConfig config{folder(), "build-a", false};
    config.reserve_bytes = reserve_bytes;
    return open_event_log(config);
  }
  [[nodiscard]] std::filesystem::path folder() const { return disk_.path() / "events"; }
  [[nodiscard]] std::filesystem::path reserve() const { return folder() / "reserve"; }

  // A batch of about that size; whether it was acknowledged. Another failure than a full disk fails
  // the test.
  bool try_append(EventLog& log, std::size_t bytes = 100) {
    AppendRequest one =
        request("deployment/a", log.version_of(StreamId("deployment/a")).value().value(), 0);
    one.events.push_back(cloned(noise(std::min<std::size_t>(bytes, 64 * 1024), ++seed_)));
    while (one.events.size() * 64 * 1024 < bytes) {
      one.events.push_back(cloned(noise(64 * 1024, ++seed_)));
    }
    now_ += 1'000'000;
    const auto outcomes = log.append({one}, now_);
    if (!outcomes) {
      EXPECT_EQ(outcomes.error().code, ErrorCode::disk_full) << to_string(outcomes.error());
      return false;
    }
    EXPECT_TRUE(std::holds_alternative<Appended>(outcomes->front()));
    if (const auto* appended = std::get_if<Appended>(&outcomes->front())) {
      for (const auto& record : appended->records) acknowledged_.insert(to_hex_of(record));
    }
    return true;
  }
  static std::string to_hex_of(const Record& record) {
    return std::to_string(record.position.value()) + " " +
           std::string(record.chain.begin(), record.chain.end());
  }
  void expect_nothing_lost(const EventLog& log) const {
    std::set<std::string> found;
    for (const auto& record : all_records(log)) found.insert(to_hex_of(record));
    EXPECT_TRUE(std::ranges::includes(found, acknowledged_));
    EXPECT_TRUE(verify(log));
  }

  const TemporaryDirectory disk_;
  bool mounted_ = false;
  std::set<std::string> acknowledged_;
  std::uint64_t seed_ = 0;
  TimestampUs now_ = k_noon;
};

TEST_F(FullDisk, takes_the_reserve_and_gives_it_back_when_there_is_room_again) {
  auto log = open(8 * k_mib);
  ASSERT_TRUE(log && (*log)->begin_epoch());
  EXPECT_EQ(std::filesystem::file_size(reserve()), 8 * k_mib);
  fill_but(0);
  ASSERT_EQ(free_bytes(), 0U);
  EXPECT_TRUE(try_append(**log)) << "the reserve is for this";
  EXPECT_FALSE(std::filesystem::exists(reserve()));
  make_room();
  now_ += 20'000'000;
  EXPECT_TRUE(try_append(**log));
  EXPECT_EQ(std::filesystem::file_size(reserve()), 8 * k_mib);
  EXPECT_GT(free_bytes(), 8 * k_mib);
}

TEST_F(FullDisk, refuses_appends_reads_on_and_goes_on_by_itself) {
  auto log = open(4 * k_mib);
  ASSERT_TRUE(log && (*log)->begin_epoch());
  EXPECT_TRUE(try_append(**log));
  fill_but(0);
  static_cast<void>(try_append(**log));
  fill_but(0);  // the reserve's room too
  EXPECT_FALSE(try_append(**log));
  ASSERT_FALSE((*log)->has_room());
  EXPECT_THAT((*log)->has_room().error().message, HasSubstr("is full"));
  expect_nothing_lost(**log);
  make_room();
  EXPECT_TRUE((*log)->has_room());
  EXPECT_TRUE(try_append(**log));
  expect_nothing_lost(**log);
}

// What was looked for is there, and gone when it is written to: the batch is larger than what the
// log asks for.
TEST_F(FullDisk, in_the_middle_of_a_batch_loses_nothing_and_the_log_goes_on) {
  auto log = open();
  ASSERT_TRUE(log && (*log)->begin_epoch());
  for (int round = 0; round < 4; ++round) {
    EXPECT_TRUE(try_append(**log, 100'000));
    fill_but(2 * k_mib + 300'000);
    EXPECT_FALSE(try_append(**log, 4 * k_mib));
    expect_nothing_lost(**log);
    EXPECT_FALSE(try_append(**log)) << "the database takes nothing until it is opened again";
    make_room();
    EXPECT_TRUE(try_append(**log));
    expect_nothing_lost(**log);
  }
  log->reset();
  log = open();
  ASSERT_TRUE(log) << to_string(log.error());
  expect_nothing_lost(**log);
}

// Tables are written in the background, whenever the write-ahead logs have come to 8 MiB; there is
// room for some ten times that.
TEST_F(FullDisk, of_tables_and_write_ahead_logs_loses_nothing) {
  unmount();
  mount_disk(150);
  auto log = open(8 * k_mib);
  ASSERT_TRUE(log && (*log)->begin_epoch());
  fill_but(90 * k_mib);
  while (try_append(**log, k_mib)) {
  }
  EXPECT_GT(acknowledged_.size(), 100U);
  expect_nothing_lost(**log);
  log->reset();
  log = open(8 * k_mib);
  EXPECT_TRUE(log || log.error().code == ErrorCode::disk_full) << to_string(log.error());
  if (log) log->reset();
  make_room();
  log = open(8 * k_mib);
  ASSERT_TRUE(log) << to_string(log.error());
  expect_nothing_lost(**log);
  ASSERT_TRUE((*log)->begin_epoch());
  EXPECT_TRUE(try_append(**log));
}

TEST_F(FullDisk, while_others_fill_and_empty_it_loses_nothing) {
  auto log = open(4 * k_mib);
  ASSERT_TRUE(log && (*log)->begin_epoch());
  std::atomic<bool> done = false;
  std::thread others([&] {
    while (!done) {
      fill_but(0);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      make_room();
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  for (int i = 0; i < 300; ++i) static_cast<void>(try_append(**log, i % 10 == 0 ? 50'000 : 500));
  done = true;
  others.join();
  make_room();
  EXPECT_GT(acknowledged_.size(), 10U);
  EXPECT_TRUE(try_append(**log));
  expect_nothing_lost(**log);
}

// RocksDB 7.8 aborts when it finds no room while it opens.
TEST_F(FullDisk, at_any_degree_is_told_at_the_start_and_never_aborts) {
  {
    auto log = open();
    ASSERT_TRUE(log && (*log)->begin_epoch());
    EXPECT_TRUE(try_append(**log, 3 * k_mib));
  }
  int opened = 0;
  int refused = 0;
  for (std::uint64_t left = 0; left < 12 * k_mib; left += 300'000) {
    SCOPED_TRACE(left);
    make_room();
    fill_but(left);
    auto log = open();
    log ? ++opened : ++refused;
    if (!log) {
      EXPECT_EQ(log.error().code, ErrorCode::disk_full) << to_string(log.error());
      EXPECT_THAT(log.error().message, HasSubstr("free some room"));
      continue;
    }
    expect_nothing_lost(**log);
    if ((*log)->begin_epoch()) static_cast<void>(try_append(**log, 500'000));
  }
  EXPECT_GT(opened, 3);
  EXPECT_GT(refused, 3);
}

// kill -9 at the fullest moment; a start on the full disk; then there is room.
TEST_F(FullDisk, and_a_kill_lose_nothing_that_was_acknowledged) {
  for (int round = 0; round < 3; ++round) {
    make_room();
    std::uint64_t last = 0;
    {
      ChildProcess writer({LOG_WRITER_PROCESS, folder().string()});
      writer.say("20");
      for (int i = 0; i < 20; ++i) {
        if (const auto line = writer.read_line()) last = std::stoull(*line);
      }
      fill_but(round % 2 == 0 ? 0 : 2 * k_mib + 1000);
      writer.say("100000");
      while (const auto line = writer.read_line()) {
        if (*line == "full") break;
        last = std::stoull(*line);
        if (round % 2 == 1) fill_but(0);
      }
      writer.kill();
    }
    ASSERT_GE(last, 20U);
    fill_but(0);
    const auto refused = open();
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::disk_full);
    make_room();
    const auto log = open();
    ASSERT_TRUE(log) << to_string(log.error());
    EXPECT_GE((*log)->last_position().value(), last);
    EXPECT_TRUE(verify(**log));
  }
}

// The log may have room yet, out of its reserve: who seals is told the same as who records.
TEST_F(FullDisk, a_value_that_finds_no_room_is_refused_for_it_and_leaves_nothing_half_made) {
  auto store = open_secret_store(disk_.path() / "secrets", disk_.path() / "key");
  ASSERT_TRUE(store) << to_string(store.error());
  const auto before = (*store)->seal("p/A", "s3cret");
  ASSERT_TRUE(before);
  fill_but(0);
  const auto refused = (*store)->seal("p/B", "s3cret");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::disk_full);
  EXPECT_THAT(refused.error().message, HasSubstr("is full"));
  EXPECT_EQ((*store)->open("p/A", before->ref).value(), "s3cret");
  make_room();
  EXPECT_TRUE((*store)->seal("p/B", "s3cret"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(disk_.path() / "secrets"), {}), 2);
}

}  // namespace
}  // namespace atlasflow::storage
