// The disk by itself: what a power cut may take, what it may not, and what each fault does.
#include "sim/disk/lossy_disk.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/run/random.hpp"

namespace atlasflow::sim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Chooser drawn_from(Random& random) {
  return [&random](std::uint64_t n) { return random.below(n); };
}
std::uint64_t least_harm(std::uint64_t /*n*/) { return 0; }
std::uint64_t most_harm(std::uint64_t n) { return n - 1; }

class OnADisk : public testing::Test {
 protected:
  OnADisk() {
    EXPECT_EQ(disk_.make_folder(process_, "/d"), DiskStatus::ok);
    EXPECT_EQ(disk_.sync_folder(process_, "/"), DiskStatus::ok);
  }

  DiskFilePtr make(const std::string& path, const std::string& bytes) {
    DiskFilePtr file;
    EXPECT_EQ(disk_.open_for_writing(process_, path, file), DiskStatus::ok);
    EXPECT_EQ(disk_.append(process_, *file, bytes), DiskStatus::ok);
    return file;
  }
  DiskFilePtr make_durable(const std::string& path, const std::string& bytes) {
    auto file = make(path, bytes);
    EXPECT_EQ(disk_.sync(process_, *file), DiskStatus::ok);
    EXPECT_EQ(disk_.sync_folder(process_, "/d"), DiskStatus::ok);
    return file;
  }

  LossyDisk disk_;
  LossyDisk::Process process_ = disk_.start_process();
};

TEST_F(OnADisk, bytes_that_were_not_synced_can_be_lost_and_those_that_were_cannot) {
  const auto file = make_durable("/d/a", "synced ");
  disk_.append(process_, *file, "not synced");
  LossyDisk calm(disk_);
  disk_.crash(most_harm);
  EXPECT_EQ(disk_.read("/d/a"), "synced ");
  calm.crash(least_harm);
  EXPECT_EQ(calm.read("/d/a"), "synced not synced");
}

TEST_F(OnADisk, a_torn_write_ends_at_any_byte_and_every_end_occurs) {
  const auto file = make_durable("/d/a", "12345");
  disk_.append(process_, *file, "67890");
  Random random(7);
  std::vector<std::string> ends;
  for (int i = 0; i < 300; ++i) {
    LossyDisk cut(disk_);
    cut.crash(drawn_from(random));
    ends.push_back(cut.read("/d/a").value_or("gone"));
  }
  std::ranges::sort(ends);
  ends.erase(std::ranges::unique(ends).begin(), ends.end());
  EXPECT_THAT(ends,
              ElementsAre("12345", "123456", "1234567", "12345678", "123456789", "1234567890"));
}

TEST_F(OnADisk, garbage_stays_in_the_torn_sector_and_behind_what_was_synced) {
  const std::string head(700, 's');
  const auto file = make_durable("/d/a", head);
  disk_.append(process_, *file, std::string(3000, 'u'));
  Random random(11);
  bool seen = false;
  for (int i = 0; i < 200; ++i) {
    LossyDisk cut(disk_);
    cut.crash(drawn_from(random), TornSector::garbage);
    const auto left = cut.read("/d/a").value_or("");
    ASSERT_EQ(left.substr(0, head.size()), head);
    const auto garbage = left.find_first_not_of('u', head.size());
    if (garbage == std::string::npos) continue;
    seen = true;
    EXPECT_EQ(left.size() % 512 == 0 || left.size() == 3700, true) << left.size();
    EXPECT_EQ(garbage / 512, (left.size() - 1) / 512);
  }
  EXPECT_TRUE(seen);
}

TEST_F(OnADisk, a_file_that_was_emptied_can_have_its_old_bytes_again_until_it_is_synced) {
  make_durable("/d/a", "old");
  const auto file = make("/d/a", "new");
  LossyDisk before(disk_);
  before.crash(most_harm);
  EXPECT_EQ(before.read("/d/a"), "old");
  disk_.sync(process_, *file);
  disk_.crash(most_harm);
  EXPECT_EQ(disk_.read("/d/a"), "new");
}

TEST_F(OnADisk, a_name_is_durable_when_its_folder_was_synced_not_when_the_file_was) {
  const auto file = make("/d/a", "bytes");
  disk_.sync(process_, *file);
  LossyDisk before(disk_);
  before.crash(most_harm);
  EXPECT_THAT(before.files(), IsEmpty());
  disk_.sync_folder(process_, "/d");
  disk_.crash(most_harm);
  EXPECT_THAT(disk_.files(), ElementsAre("/d/a"));
}

TEST_F(OnADisk, a_crash_keeps_the_first_changes_of_a_folder_in_their_order) {
  make_durable("/d/current", "1");
  disk_.sync(process_, *make("/d/new", "2"));
  disk_.rename(process_, "/d/new", "/d/current");
  disk_.remove(process_, "/d/current");
  const auto after = [&](std::uint64_t lost) {
    LossyDisk cut(disk_);
    cut.crash([lost](std::uint64_t n) { return n == 4 ? lost : 0; });
    std::string names;
    for (const auto& path : cut.files()) names += path + "=" + *cut.read(path) + " ";
    return names;
  };
  EXPECT_EQ(after(0), "");
  EXPECT_EQ(after(1), "/d/current=2 ");
  EXPECT_EQ(after(2), "/d/current=1 /d/new=2 ");
  EXPECT_EQ(after(3), "/d/current=1 ");
}

TEST_F(OnADisk, a_folder_that_was_not_synced_takes_its_files_with_it) {
  disk_.make_folder(process_, "/d/e");
  disk_.sync(process_, *make("/d/e/a", "bytes"));
  disk_.sync_folder(process_, "/d/e");
  disk_.crash(most_harm);
  EXPECT_THAT(disk_.files(), IsEmpty());
  EXPECT_FALSE(disk_.is_folder("/d/e"));
  EXPECT_TRUE(disk_.is_folder("/d"));
}

TEST_F(OnADisk, a_killed_process_loses_nothing_that_it_wrote) {
  make("/d/a", "not synced");
  disk_.process_crash();
  EXPECT_EQ(disk_.read("/d/a"), "not synced");
  // But the power can still fail after it.
  disk_.crash(most_harm);
  EXPECT_THAT(disk_.files(), IsEmpty());
}

TEST_F(OnADisk, a_dead_process_changes_nothing_and_its_lock_is_free) {
  const auto file = make_durable("/d/a", "bytes");
  ASSERT_EQ(disk_.lock(process_, "/d/LOCK"), DiskStatus::ok);
  const auto next = disk_.start_process();
  EXPECT_EQ(disk_.lock(next, "/d/LOCK"), DiskStatus::exists);
  const auto digest = disk_.digest();
  disk_.end_process(process_);
  DiskFilePtr other;
  EXPECT_EQ(disk_.append(process_, *file, "more"), DiskStatus::dead);
  EXPECT_EQ(disk_.sync(process_, *file), DiskStatus::dead);
  EXPECT_EQ(disk_.truncate(process_, *file, 0), DiskStatus::dead);
  EXPECT_EQ(disk_.open_for_writing(process_, "/d/a", other), DiskStatus::dead);
  EXPECT_EQ(disk_.remove(process_, "/d/a"), DiskStatus::dead);
  EXPECT_EQ(disk_.rename(process_, "/d/a", "/d/b"), DiskStatus::dead);
  EXPECT_EQ(disk_.make_folder(process_, "/d/e"), DiskStatus::dead);
  EXPECT_EQ(disk_.sync_folder(process_, "/d"), DiskStatus::dead);
  EXPECT_EQ(disk_.digest(), digest);
  EXPECT_EQ(disk_.lock(next, "/d/LOCK"), DiskStatus::ok);
}

TEST_F(OnADisk, kill_after_n_lets_exactly_n_changes_through) {
  const auto file = make_durable("/d/a", "");
  disk_.kill_after(2);
  EXPECT_EQ(disk_.append(process_, *file, "1"), DiskStatus::ok);
  EXPECT_EQ(disk_.append(process_, *file, "2"), DiskStatus::ok);
  EXPECT_EQ(disk_.append(process_, *file, "3"), DiskStatus::dead);
  EXPECT_FALSE(disk_.has_living_process());
  EXPECT_EQ(disk_.read("/d/a"), "12");
}

TEST_F(OnADisk, what_a_failed_sync_was_for_is_lost_although_the_next_one_succeeds) {
  const auto file = make_durable("/d/a", "1");
  disk_.append(process_, *file, "2");
  disk_.fail_next_sync();
  EXPECT_EQ(disk_.sync(process_, *file), DiskStatus::failed);
  EXPECT_EQ(disk_.sync(process_, *file), DiskStatus::ok);
  disk_.crash(most_harm);
  EXPECT_EQ(disk_.read("/d/a"), "1");
}

TEST_F(OnADisk, a_full_disk_takes_what_fits) {
  const auto file = make("/d/a", "12345");
  disk_.set_capacity(8);
  EXPECT_EQ(disk_.append(process_, *file, "67890"), DiskStatus::full);
  EXPECT_EQ(disk_.used_bytes(), 8U);
  disk_.heal();
  EXPECT_EQ(disk_.append(process_, *file, "9"), DiskStatus::ok);
  EXPECT_EQ(disk_.read("/d/a"), "123456789");
}

TEST_F(OnADisk, a_flipped_byte_is_one_bit_of_a_chosen_file) {
  make_durable("/d/a", "aaaa");
  make_durable("/d/b.log", "bbbb");
  const auto flipped = disk_.flip(most_harm, ".log");
  ASSERT_TRUE(flipped);
  EXPECT_EQ(flipped->first, "/d/b.log");
  EXPECT_EQ(flipped->second, 3U);
  EXPECT_EQ(disk_.read("/d/a"), "aaaa");
  EXPECT_EQ(disk_.read("/d/b.log"), "bbbr");
  EXPECT_FALSE(disk_.flip(most_harm, ".sst"));
  EXPECT_FALSE(disk_.flip("/d/a", 4));
}

TEST_F(OnADisk, a_copy_is_another_disk_and_keeps_what_can_be_undone) {
  make("/d/a", "bytes");
  LossyDisk copy(disk_);
  EXPECT_EQ(copy.digest(), disk_.digest());
  disk_.crash(most_harm);
  EXPECT_EQ(copy.read("/d/a"), "bytes");
  EXPECT_NE(copy.digest(), disk_.digest());
  copy.crash(most_harm);
  EXPECT_EQ(copy.digest(), disk_.digest());
}

}  // namespace
}  // namespace atlasflow::sim
