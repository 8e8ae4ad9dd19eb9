// The production event log on the lossy disk: what was acknowledged is there after any crash, what
// was not is there whole or not at all, and damage is refused, never dropped.
#include "sim/disk/lossy_log.hpp"

#include <array>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/run/random.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::sim {
namespace {

using storage::k_noon;
using storage::request;
using testing::HasSubstr;

const std::filesystem::path k_folder = "/data/log";

std::uint64_t least_harm(std::uint64_t /*n*/) { return 0; }
std::uint64_t most_harm(std::uint64_t n) { return n - 1; }

Result<LossyLog> open(const std::shared_ptr<LossyDisk>& disk, bool accept_loss = false) {
  return open_lossy_log(disk, {k_folder, "build-a", accept_loss}, k_noon);
}

// Appends to one stream until the count is reached or something fails; answers the last position
// that was acknowledged.
std::uint64_t append_up_to(LossyLog& life, std::uint64_t count, TimestampUs step_us = 100'000) {
  auto& log = *life.log;
  auto acknowledged = log.last_position().value();
  const auto version = log.version_of(StreamId("deployment/a"));
  if (!version) return acknowledged;
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto appended = log.append({request("deployment/a", version->value() + i)},
                                     k_noon + static_cast<TimestampUs>(i) * step_us);
    if (!appended) break;
    EXPECT_TRUE(std::holds_alternative<storage::Appended>(appended->front()));
    acknowledged = log.last_position().value();
    life.env->run_background();
  }
  return acknowledged;
}

std::size_t empty_files(const LossyDisk& disk) {
  std::size_t count = 0;
  for (const auto& path : disk.files()) count += disk.read(path)->empty() ? 1 : 0;
  return count;
}

std::string path_of_newest(const LossyDisk& disk, const std::string& suffix) {
  std::string newest;
  for (const auto& path : disk.files()) {
    if (path.ends_with(suffix) && !disk.read(path)->empty()) newest = path;
  }
  return newest;
}

// One history of a log: lives that end at drawn operations, by a kill or a power cut.
class History {
 public:
  explicit History(std::uint64_t seed) : random_(seed) {}

  void live_once() {
    // In some lives the end comes while the log is being opened.
    const bool early = random_.chance(1, 4);
    if (early) disk_->kill_after(random_.below(40));
    auto life = open(disk_);
    if (!life) {
      ASSERT_TRUE(early) << to_string(life.error());
      ASSERT_FALSE(disk_->kill_is_pending()) << to_string(life.error());
    } else {
      check(*life);
      if (!early) disk_->kill_after(random_.below(200));
      if (const auto epoch = life->log->begin_epoch()) {
        ASSERT_GT(*epoch, newest_epoch_) << "an epoch was given out twice";
        newest_epoch_ = *epoch;
        acknowledged_ = append_up_to(*life, random_.below(60), 300'000);
      }
    }
    if (random_.chance(1, 4)) {
      disk_->process_crash();
    } else {
      disk_->crash([this](std::uint64_t n) { return random_.below(n); });
    }
    // The dead process is destroyed after the crash, as in the simulator.
    const auto digest = disk_->digest();
    life = fail(ErrorCode::cancelled, "the process is gone");
    ASSERT_EQ(disk_->digest(), digest);
  }

  void check(const LossyLog& life) {
    const auto verified = storage::verify(*life.log);
    ASSERT_TRUE(verified) << to_string(verified.error());
    const auto last = life.log->last_position().value();
    ASSERT_GE(last, acknowledged_);
    ASSERT_LE(last, acknowledged_ + 1);
    acknowledged_ = last;
  }

  LossyDisk& disk() { return *disk_; }

 private:
  Random random_;
  std::shared_ptr<LossyDisk> disk_ = formatted_disk(k_folder);
  std::uint64_t acknowledged_ = 0;
  Epoch newest_epoch_;
};

TEST(LossyLog, what_was_acknowledged_survives_any_crash_and_a_torn_tail_is_forgiven) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    History history(seed);
    for (int life = 0; life < 6 && !testing::Test::HasFatalFailure(); ++life) history.live_once();
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(LossyLog, the_same_operations_leave_the_same_disk) {
  const auto run = [](std::uint64_t seed) {
    History history(seed);
    std::vector<std::string> digests;
    for (int life = 0; life < 8; ++life) {
      history.live_once();
      digests.push_back(history.disk().digest());
    }
    return digests;
  };
  for (std::uint64_t seed = 1; seed <= 20; ++seed) EXPECT_EQ(run(seed), run(seed)) << seed;
  EXPECT_NE(run(1), run(2));
}

// Each change of the disk in a first start and some appends is once the last one.
TEST(LossyLog, a_first_start_that_is_cut_anywhere_can_be_repeated) {
  std::uint64_t operation = 0;
  for (bool lived_on = false; !lived_on; ++operation) {
    for (const auto& choose : {Chooser(least_harm), Chooser(most_harm)}) {
      auto disk = std::make_shared<LossyDisk>();
      disk->kill_after(operation);
      std::uint64_t acknowledged = 0;
      {
        auto life = open(disk);
        if (life && life->log->begin_epoch()) acknowledged = append_up_to(*life, 3);
        lived_on = disk->kill_is_pending();
        disk->crash(choose);
      }
      auto again = open(disk);
      ASSERT_TRUE(again) << operation << ": " << to_string(again.error());
      EXPECT_GE(again->log->last_position().value(), acknowledged) << operation;
      EXPECT_TRUE(storage::verify(*again->log)) << operation;
    }
  }
  EXPECT_GT(operation, 50U);
}

TEST(LossyLog, flushes_and_compactions_happen_on_the_callers_thread_and_survive_crashes) {
  auto disk = formatted_disk(k_folder);
  std::uint64_t acknowledged = 0;
  std::set<std::string> tables;
  for (int life = 0; life < 4; ++life) {
    auto opened = open(disk);
    ASSERT_TRUE(opened) << to_string(opened.error());
    ASSERT_EQ(opened->log->last_position().value(), acknowledged);
    ASSERT_TRUE(opened->log->begin_epoch());
    acknowledged = append_up_to(*opened, 500, 1000);
    ASSERT_EQ(acknowledged, static_cast<std::uint64_t>(life + 1) * 500);
    for (const auto& path : disk->files()) {
      if (path.ends_with(".sst")) tables.insert(path);
    }
    disk->crash(most_harm);
  }
  const auto last = open(disk);
  ASSERT_TRUE(last) << to_string(last.error());
  EXPECT_TRUE(storage::verify(*last->log));
  std::size_t left = 0;
  for (const auto& path : disk->files()) left += path.ends_with(".sst") ? 1 : 0;
  EXPECT_GT(tables.size(), left + 5) << "no compaction took files away";
}

TEST(LossyLog, an_append_whose_sync_failed_is_not_acknowledged_and_is_the_last) {
  auto disk = formatted_disk(k_folder);
  {
    auto life = open(disk);
    ASSERT_TRUE(life && life->log->begin_epoch());
    ASSERT_EQ(append_up_to(*life, 5), 5U);
    disk->fail_next_sync();
    const auto failed = life->log->append({request("deployment/a", 5)}, k_noon);
    ASSERT_FALSE(failed);
    EXPECT_THAT(failed.error().cause, HasSubstr("injected"));
    // The disk syncs again, but this object has had its last word.
    EXPECT_FALSE(life->log->append({request("deployment/a", 5)}, k_noon));
    EXPECT_FALSE(life->log->begin_epoch());
    EXPECT_EQ(life->log->last_position(), Position(5));
    disk->crash(most_harm);
  }
  const auto again = open(disk);
  ASSERT_TRUE(again) << to_string(again.error());
  EXPECT_EQ(again->log->last_position(), Position(5));
}

TEST(LossyLog, a_full_disk_refuses_appends_loses_nothing_and_goes_on_when_there_is_space) {
  for (std::uint64_t room = 0; room < 3000; room += 37) {
    constexpr std::array k_kinds{FullDisk::known, FullDisk::racing, FullDisk::deferred};
    const auto kind = k_kinds.at(room % k_kinds.size());
    SCOPED_TRACE("room " + std::to_string(room) + " kind " + std::to_string(room % 3));
    auto disk = formatted_disk(k_folder);
    std::uint64_t acknowledged = 0;
    {
      auto life = open(disk);
      ASSERT_TRUE(life && life->log->begin_epoch());
      disk->set_capacity(disk->used_bytes() + room, kind);
      acknowledged = append_up_to(*life, 100);
      ASSERT_LT(acknowledged, 100U);
      EXPECT_EQ(life->log->last_position().value(), acknowledged);
      const auto failed = life->log->append({request("deployment/a", acknowledged)}, k_noon);
      ASSERT_FALSE(failed);
      EXPECT_EQ(failed.error().code, ErrorCode::disk_full);
      EXPECT_FALSE(life->log->has_room());
      if (room % 2 == 0) {
        disk->set_capacity(std::nullopt);
        EXPECT_TRUE(life->log->has_room());
        // The batch that was refused may be there by now, as after a crash.
        const auto refused = life->log->append({request("deployment/b", 0)}, k_noon);
        ASSERT_TRUE(refused) << to_string(refused.error());
        acknowledged = life->log->last_position().value();
        EXPECT_TRUE(storage::verify(*life->log));
        if (room % 4 == 0) disk->crash(most_harm);
      }
    }  // an orderly end on the full disk
    disk->set_capacity(std::nullopt);
    auto again = open(disk);
    ASSERT_TRUE(again) << to_string(again.error());
    EXPECT_TRUE(storage::verify(*again->log));
    const auto last = again->log->last_position().value();
    EXPECT_GE(last, acknowledged);
    EXPECT_LE(last, acknowledged + 1);
    ASSERT_TRUE(again->log->begin_epoch());
    EXPECT_EQ(append_up_to(*again, 10), last + 10);
  }
}

// The anchor has seen the first event only, as it may within its second: it cannot tell.
TEST(LossyLog, a_flipped_byte_anywhere_in_the_write_ahead_log_is_refused) {
  auto disk = formatted_disk(k_folder);
  {
    auto life = open(disk);
    ASSERT_TRUE(life && life->log->begin_epoch());
    ASSERT_EQ(append_up_to(*life, 12, 0), 12U);
    disk->process_crash();
  }
  const auto wal = path_of_newest(*disk, ".log");
  ASSERT_FALSE(wal.empty());
  const auto size = disk->read(wal)->size();
  for (std::uint64_t offset = 0; offset < size; ++offset) {
    auto rotten = std::make_shared<LossyDisk>(*disk);
    ASSERT_TRUE(rotten->flip(wal, offset));
    const auto opened = open(rotten);
    ASSERT_FALSE(opened) << "offset " << offset << ": opened with "
                         << opened->log->last_position().value() << " of 12";
    EXPECT_EQ(opened.error().code, ErrorCode::corrupt) << to_string(opened.error());
  }
}

// Not only of the write-ahead log, and after lives that left tables behind.
TEST(LossyLog, a_flipped_byte_in_any_file_is_refused_or_harms_nothing) {
  auto disk = formatted_disk(k_folder);
  for (int life = 0; life < 3; ++life) {
    auto opened = open(disk);
    ASSERT_TRUE(opened && opened->log->begin_epoch());
    append_up_to(*opened, 20, 300'000);
  }
  Random random(5);
  std::set<std::string> touched;
  for (int i = 0; i < 600; ++i) {
    auto rotten = std::make_shared<LossyDisk>(*disk);
    const auto flipped = rotten->flip([&](std::uint64_t n) { return random.below(n); });
    ASSERT_TRUE(flipped);
    touched.insert(flipped->first);
    const auto opened = open(rotten);
    if (!opened) {
      EXPECT_EQ(opened.error().code, ErrorCode::corrupt) << to_string(opened.error());
      continue;
    }
    const auto verified = storage::verify(*opened->log);
    if (verified) {
      EXPECT_EQ(verified->last_position, Position(60)) << flipped->first << " " << flipped->second;
    }
  }
  EXPECT_EQ(touched.size(), disk->files().size() - empty_files(*disk));
}

// A power cut that leaves a whole record's length with wrong bytes in it cannot be told from rot,
// so the log may refuse it, though nothing acknowledged is gone. It never takes such bytes for a
// record.
TEST(LossyLog, garbage_in_a_torn_sector_is_cut_or_refused_and_never_read) {
  Random random(3);
  int refused = 0;
  int cut = 0;
  for (int i = 0; i < 100; ++i) {
    auto disk = formatted_disk(k_folder);
    {
      auto life = open(disk);
      ASSERT_TRUE(life && life->log->begin_epoch());
      ASSERT_EQ(append_up_to(*life, 2, 0), 2U);
      disk->kill_after(1);  // between the write and its sync
      ASSERT_FALSE(life->log->append({request("deployment/a", 2)}, k_noon));
      disk->crash([&](std::uint64_t n) { return n == 4 ? 2 : random.below(n); },
                  TornSector::garbage);
    }
    const auto again = open(disk);
    if (!again) {
      EXPECT_EQ(again.error().code, ErrorCode::corrupt) << to_string(again.error());
      ++refused;
      continue;
    }
    EXPECT_EQ(again->log->last_position(), Position(2));
    EXPECT_TRUE(storage::verify(*again->log));
    ++cut;
  }
  EXPECT_GT(cut, 0);
  EXPECT_GT(refused, 0) << "the log has become more forgiving: say so here";
}

TEST(LossyLog, a_log_behind_its_anchor_is_refused_and_one_ahead_of_it_is_not) {
  auto disk = formatted_disk(k_folder);
  auto life = open(disk);
  ASSERT_TRUE(life && life->log->begin_epoch());
  ASSERT_EQ(append_up_to(*life, 3, 0), 3U);  // the anchor was written with the first only
  const LossyDisk ahead(*disk);
  ASSERT_EQ(append_up_to(*life, 3, 2'000'000), 6U);
  life = fail(ErrorCode::cancelled, "closed");
  const auto anchor = disk->read((k_folder / "anchor").string());
  ASSERT_TRUE(anchor);

  auto fine = std::make_shared<LossyDisk>(ahead);
  const auto opened = open(fine);
  ASSERT_TRUE(opened) << to_string(opened.error());
  EXPECT_EQ(opened->log->last_position(), Position(3));

  auto behind = std::make_shared<LossyDisk>(ahead);
  const auto process = behind->start_process();
  DiskFilePtr file;
  ASSERT_EQ(behind->open_for_writing(process, (k_folder / "anchor").string(), file),
            DiskStatus::ok);
  behind->append(process, *file, *anchor);
  behind->end_process(process);
  const auto refused = open(behind);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::corrupt);
  EXPECT_THAT(refused.error().message, HasSubstr("its anchor had seen position 6"));
  EXPECT_TRUE(open(behind, true));
}

TEST(LossyLog, a_dead_process_acknowledges_nothing_and_closes_without_a_trace) {
  auto disk = formatted_disk(k_folder);
  auto dead = open(disk);
  ASSERT_TRUE(dead && dead->log->begin_epoch());
  ASSERT_EQ(append_up_to(*dead, 5), 5U);
  dead->env->revoke();
  auto next = open(disk);  // its lock is free
  ASSERT_TRUE(next) << to_string(next.error());
  ASSERT_TRUE(next->log->begin_epoch());
  ASSERT_EQ(append_up_to(*next, 5), 10U);
  const auto digest = disk->digest();
  EXPECT_FALSE(dead->log->append({request("deployment/a", 5)}, k_noon));
  EXPECT_EQ(dead->env->run_background(), 0U);
  dead = fail(ErrorCode::cancelled, "destroyed");
  EXPECT_EQ(disk->digest(), digest);
  EXPECT_EQ(append_up_to(*next, 5), 15U);
}

TEST(LossyLog, a_log_with_jobs_that_nobody_ran_closes) {
  auto disk = formatted_disk(k_folder);
  {
    auto life = open(disk);
    ASSERT_TRUE(life && life->log->begin_epoch());
    // Until the first memtable is full and a flush is queued; run_background() is not called.
    std::uint64_t version = 0;
    while (life->env->GetThreadPoolQueueLen(rocksdb::Env::HIGH) == 0) {
      ASSERT_LT(version, 5000U);
      storage::append_one(*life->log, request("deployment/a", version++));
    }
  }
  const auto again = open(disk);
  ASSERT_TRUE(again) << to_string(again.error());
  EXPECT_TRUE(storage::verify(*again->log));
}

TEST(LossyLog, an_unreadable_disk_is_an_error_that_says_so) {
  auto disk = formatted_disk(k_folder);
  disk->fail_reads(true);
  const auto refused = open(disk);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().cause, HasSubstr("injected"));
  disk->heal();
  EXPECT_TRUE(open(disk));
}

}  // namespace
}  // namespace atlasflow::sim
