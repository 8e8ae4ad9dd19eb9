// Backups and restores on a disk that is full: a small tmpfs in a mount namespace of this process,
// which an executable of its own has from its beginning.
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>

#include "tests/backup/state_fixture.hpp"

namespace atlasflow::backup {
namespace {

using testing::HasSubstr;

class FullDisk : public StateFixture {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() == 0) {
      ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
    } else {
      const auto user = std::to_string(::geteuid());
      ASSERT_EQ(::unshare(CLONE_NEWUSER | CLONE_NEWNS), 0) << "needs root or user namespaces";
      std::ofstream("/proc/self/setgroups") << "deny";
      std::ofstream("/proc/self/uid_map") << "0 " + user + " 1";
    }
    ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  }
  void TearDown() override {
    for (const auto& disk : mounted_) ::umount2(disk.c_str(), MNT_DETACH);
  }

  void mount_disk(const fs::path& at, int kib) {
    fs::create_directories(at);
    ASSERT_EQ(::mount("tmpfs", at.c_str(), "tmpfs", 0,
                      ("size=" + std::to_string(kib) + "k,mode=755").c_str()),
              0);
    mounted_.push_back(at);
  }
  void enlarge(const fs::path& at, int kib) {
    ASSERT_EQ(::mount("tmpfs", at.c_str(), "tmpfs", MS_REMOUNT,
                      ("size=" + std::to_string(kib) + "k,mode=755").c_str()),
              0);
  }

 private:
  std::vector<fs::path> mounted_;
};

// At each size up to one that is enough the backup ends with a reason, is none, and is finished by
// the next one.
TEST_F(FullDisk, a_backup_without_room_is_none_and_is_finished_when_there_is_some) {
  for (int i = 0; i < 8; ++i) add_blob(std::string(64'000, static_cast<char>('a' + i)));
  mount_disk(backups(), 4);
  int refused = 0;
  for (int kib = 4; kib <= 2'048; kib += kib < 64 ? 4 : 64) {
    enlarge(backups(), kib);
    const auto made = make_backup(backup_config());
    if (made) {
      EXPECT_TRUE(check_backup(restore_config()));
      must_restore(restore_config());
      break;
    }
    ++refused;
    EXPECT_EQ(made.error().code, ErrorCode::disk_full) << to_string(made.error());
    EXPECT_FALSE(check_backup(restore_config()));
    ASSERT_LT(kib, 2'000) << "it never had enough";
  }
  EXPECT_GT(refused, 8);
}

TEST_F(FullDisk, a_second_backup_without_room_leaves_the_first_one) {
  mount_disk(backups(), 512);
  must_back_up();
  add_blob(std::string(1'000'000, 'x'));
  const auto made = make_backup(backup_config());
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, ErrorCode::disk_full) << to_string(made.error());
  const auto checked = check_backup(restore_config());
  ASSERT_TRUE(checked) << to_string(checked.error());
  EXPECT_EQ(checked->number, 1U);
}

TEST_F(FullDisk, a_restore_without_room_leaves_an_empty_folder) {
  add_blob(std::string(1'000'000, 'x'));
  must_back_up();
  mount_disk(restored(), 512);
  for (const int kib : {4, 64, 512, 1'024}) {
    enlarge(restored(), kib);
    const auto done = restore(restore_config());
    ASSERT_FALSE(done) << kib;
    EXPECT_EQ(done.error().code, ErrorCode::disk_full) << kib << ": " << to_string(done.error());
    EXPECT_TRUE(fs::is_empty(restored())) << kib;
  }
  enlarge(restored(), 64 << 10);
  must_restore(restore_config());
}

}  // namespace
}  // namespace atlasflow::backup
