// The event log on a file system that loses what was not synced or stops working, and in a process
// that is killed: what was acknowledged is there, and what is there is a prefix.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include "storage/log/rocksdb_event_log.hpp"
#include "storage/log/rocksdb_options.hpp"
#include "tests/storage/child_process.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;

// Remembers of every file how much of it was synced, and can refuse to sync.
struct DiskState {
  std::mutex mutex;
  std::map<std::string, std::uint64_t> synced;  // bytes per file
  std::atomic<bool> sync_fails{false};
};

class TrackedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  TrackedFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string name,
              std::shared_ptr<DiskState> disk)
      : FSWritableFileOwnerWrapper(std::move(file)),
        name_(std::move(name)),
        disk_(std::move(disk)) {
    note(0);
  }

  rocksdb::IOStatus Append(const rocksdb::Slice& bytes, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    written_ += bytes.size();
    return FSWritableFileOwnerWrapper::Append(bytes, options, debug);
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& bytes, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& info,
                           rocksdb::IODebugContext* debug) override {
    written_ += bytes.size();
    return FSWritableFileOwnerWrapper::Append(bytes, options, info, debug);
  }
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                         rocksdb::IODebugContext* debug) override {
    return synced(FSWritableFileOwnerWrapper::Sync(options, debug));
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                          rocksdb::IODebugContext* debug) override {
    return synced(FSWritableFileOwnerWrapper::Fsync(options, debug));
  }

 private:
  rocksdb::IOStatus synced(rocksdb::IOStatus status) {
    if (disk_->sync_fails) return rocksdb::IOStatus::IOError("injected: the disk does not sync");
    if (status.ok()) note(written_);
    return status;
  }
  void note(std::uint64_t bytes) {
    const std::lock_guard lock(disk_->mutex);
    disk_->synced[name_] = bytes;
  }

  const std::string name_;
  const std::shared_ptr<DiskState> disk_;
  std::uint64_t written_ = 0;
};

class TrackedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit TrackedFileSystem(std::shared_ptr<DiskState> disk)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), disk_(std::move(disk)) {}

  const char* Name() const override { return "TrackedFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    auto status = FileSystemWrapper::NewWritableFile(name, options, result, debug);
    if (status.ok()) *result = std::make_unique<TrackedFile>(std::move(*result), name, disk_);
    return status;
  }
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    auto status = FileSystemWrapper::RenameFile(from, to, options, debug);
    const std::lock_guard lock(disk_->mutex);
    if (const auto moved = disk_->synced.extract(from); status.ok() && !moved.empty()) {
      disk_->synced[to] = moved.mapped();
    }
    return status;
  }

 private:
  const std::shared_ptr<DiskState> disk_;
};

class Durability : public testing::Test {
 protected:
  Result<std::unique_ptr<EventLog>> open_tracked() {
    std::shared_ptr<rocksdb::Env> env =
        rocksdb::NewCompositeEnv(std::make_shared<TrackedFileSystem>(disk_));
    return open_event_log({folder_, "build-a", false}, env, k_noon);
  }

  // The folder as a power cut would leave it: of each file what was synced.
  fs::path after_power_cut(const std::string& name) {
    const fs::path copy = directory_.path() / name;
    fs::copy(folder_, copy, fs::copy_options::recursive);
    const std::lock_guard lock(disk_->mutex);
    for (const auto& [file, bytes] : disk_->synced) {
      const fs::path target = copy / fs::relative(file, folder_);
      if (fs::exists(target) && fs::file_size(target) > bytes) fs::resize_file(target, bytes);
    }
    return copy;
  }

  TemporaryDirectory directory_;
  const fs::path folder_ = directory_.path() / "log";
  const std::shared_ptr<DiskState> disk_ = std::make_shared<DiskState>();
};

TEST_F(Durability, what_was_acknowledged_survives_a_power_cut_after_any_append) {
  auto log = open_tracked();
  ASSERT_TRUE(log) << to_string(log.error());
  ASSERT_TRUE((*log)->begin_epoch());
  for (std::uint64_t i = 0; i < 12; ++i) {
    append(**log,
           {request("deployment/a", i * 2, 2, "key " + std::to_string(i)), request("node", i)},
           k_noon + static_cast<TimestampUs>(i) * 400'000);
    const fs::path copy = after_power_cut("cut-" + std::to_string(i));
    const auto recovered = open_event_log({copy, "build-b", false});
    ASSERT_TRUE(recovered) << i << ": " << to_string(recovered.error());
    EXPECT_EQ((*recovered)->last_position(), (*log)->last_position());
    EXPECT_EQ((*recovered)->begin_epoch().value(), Epoch(2));
    EXPECT_TRUE(verify(**recovered));
  }
}

TEST_F(Durability, a_failed_sync_is_the_last_word_of_the_log_object) {
  std::uint64_t acknowledged = 0;
  {
    auto log = open_tracked();
    ASSERT_TRUE(log) << to_string(log.error());
    ASSERT_TRUE((*log)->begin_epoch());
    fill(**log, "deployment/a", 0, 5);
    acknowledged = (*log)->last_position().value();
    disk_->sync_fails = true;
    const auto failed = (*log)->append({request("deployment/a", 5)}, k_noon);
    ASSERT_FALSE(failed);
    EXPECT_THAT(failed.error().message, testing::HasSubstr("the disk failed"));
    EXPECT_EQ((*log)->last_position(), Position(acknowledged));
    // The disk answers again, but nobody knows what it kept.
    disk_->sync_fails = false;
    EXPECT_FALSE((*log)->append({request("deployment/a", 5)}, k_noon));
    EXPECT_FALSE((*log)->begin_epoch());
    EXPECT_EQ(all_records(**log).size(), acknowledged);
  }
  const auto again = open_event_log({folder_, "build-a", false});
  ASSERT_TRUE(again) << to_string(again.error());
  // The failed append may have reached the disk or not; nothing else may differ.
  EXPECT_GE((*again)->last_position(), Position(acknowledged));
  EXPECT_LE((*again)->last_position(), Position(acknowledged + 1));
  EXPECT_TRUE(verify(**again));
}

TEST(KilledProcess, loses_nothing_that_it_acknowledged_and_tears_no_batch) {
  const TemporaryDirectory directory;
  const fs::path folder = directory.path() / "log";
  std::uint64_t before = 0;
  for (int round = 0; round < 8; ++round) {
    std::uint64_t acknowledged = before;
    {
      ChildProcess child({LOG_WRITER_PROCESS, folder.string()});
      child.say("100000");
      for (int i = 0; i < 30 + 17 * round; ++i) {
        const auto line = child.read_line();
        ASSERT_TRUE(line) << "the writer died by itself";
        acknowledged = std::stoull(*line);
      }
      child.kill();
      // What it still managed to print was acknowledged as well.
      while (const auto line = child.read_line()) acknowledged = std::stoull(*line);
    }
    const auto log = open_event_log({folder, "build-a", false});
    ASSERT_TRUE(log) << to_string(log.error());
    const auto verified = verify(**log);
    ASSERT_TRUE(verified) << to_string(verified.error());
    EXPECT_GE((*log)->last_position(), Position(acknowledged));
    // At most the one append that was under way is there as well, and then all of it.
    EXPECT_LE((*log)->last_position(), Position(acknowledged + 3));
    before = (*log)->last_position().value();
    EXPECT_EQ((*log)->begin_epoch().value(), Epoch(static_cast<std::uint64_t>(2 * round + 2)));
  }
}

// Whoever opens it, to write or only to look, reads the write-ahead logs first.
TEST(OpenAgain, what_an_open_has_to_read_again_does_not_grow_with_the_log) {
  const TemporaryDirectory directory;
  const fs::path folder = directory.path() / "log";
  constexpr std::uint64_t k_appends = 60;
  constexpr std::size_t k_bytes = 512 << 10U;  // of each: 30 MiB in all
  {
    const auto log = open_event_log({folder, "build-a", false});
    ASSERT_TRUE(log) << to_string(log.error());
    ASSERT_TRUE((*log)->begin_epoch());
    for (std::uint64_t i = 0; i < k_appends; ++i) {
      auto one = request("deployment/a", i);
      one.events = {cloned(std::string(k_bytes, 'x'))};
      append_one(**log, one);
    }
  }
  std::uintmax_t bytes = 0;
  for (const auto& file : fs::directory_iterator(folder / "db")) {
    if (file.path().extension() == ".log") bytes += file.file_size();
  }
  EXPECT_GT(bytes, 0U);
  EXPECT_LT(bytes, 25U << 20U) << "one that is full, and what is just being made tables of";
  const auto log = open_event_log_for_reading(folder);
  ASSERT_TRUE(log) << to_string(log.error());
  EXPECT_EQ((*log)->last_position(), Position{k_appends});
  EXPECT_TRUE(verify(**log));
}

}  // namespace
}  // namespace atlasflow::storage
