#include "vmm/disk/scratch.hpp"

#include <array>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "tests/vmm/image_fixture.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;

std::int64_t free_mib(const fs::path& folder) {
  struct statvfs room {};
  EXPECT_EQ(::statvfs(folder.c_str(), &room), 0);
  return static_cast<std::int64_t>(room.f_bavail * room.f_frsize >> 20U);
}

TEST(Scratch, is_sparse_and_as_large_as_it_was_promised) {
  const test::TemporaryFolder folder;
  fs::create_directory(folder.path() / "a");
  DiskLedger ledger(folder.path(), 0);
  const auto disk = folder.path() / "a" / k_scratch_file;
  for (const std::int64_t mib : {128, 2048, 8192}) {
    fs::remove(disk);
    ASSERT_TRUE(ledger.promise(disk, mib));
    const auto formatted = format_scratch(disk, ::geteuid());
    ASSERT_TRUE(formatted) << to_string(formatted.error());
    struct stat info {};
    ASSERT_EQ(::stat(disk.c_str(), &info), 0);
    EXPECT_EQ(info.st_size, mib << 20);
    // With its inode tables written it would be 1.6 %: 33 MiB for each VM's start.
    EXPECT_LT(info.st_blocks * 512, 2 << 20) << mib;
  }
}

TEST(Scratch, more_than_the_disk_can_give_is_not_promised_even_to_two_at_once) {
  const test::TemporaryFolder folder;
  // Room for one of them and a half. Others write to this disk too, so not to the last MiB.
  const auto mib = free_mib(folder.path()) * 2 / 3;
  DiskLedger ledger(folder.path(), 0);
  std::array<Result<void>, 2> promised;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < promised.size(); ++i) {
      const auto dir = folder.path() / std::to_string(i);
      fs::create_directory(dir);
      threads.emplace_back(
          [&, i, dir] { promised[i] = ledger.promise(dir / k_scratch_file, mib); });
    }
  }
  EXPECT_NE(promised[0].has_value(), promised[1].has_value());
  const auto& refused = promised[0] ? promised[1] : promised[0];
  EXPECT_EQ(refused.error().code, ErrorCode::no_capacity);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("free space on the host"));
  // Once the other is gone there is room.
  fs::remove_all(folder.path() / (promised[0] ? "0" : "1"));
  EXPECT_TRUE(ledger.promise(folder.path() / (promised[0] ? "1" : "0") / k_scratch_file, mib));
}

TEST(Scratch, more_than_the_whole_disk_is_the_settings_fault) {
  const test::TemporaryFolder folder;
  fs::create_directory(folder.path() / "a");
  struct statvfs room {};
  ASSERT_EQ(::statvfs(folder.path().c_str(), &room), 0);
  const auto mib = static_cast<std::int64_t>(room.f_blocks * room.f_frsize >> 20U) + 1;
  const auto refused =
      DiskLedger(folder.path(), 0).promise(folder.path() / "a" / k_scratch_file, mib);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::user_error);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("lower disk_mib"));
}

TEST(Scratch, what_is_kept_for_the_host_is_not_promised) {
  const test::TemporaryFolder folder;
  DiskLedger ledger(folder.path(), 1LL << 40);
  fs::create_directory(folder.path() / "a");
  EXPECT_FALSE(ledger.promise(folder.path() / "a" / k_scratch_file, 64));
  EXPECT_FALSE(fs::exists(folder.path() / "a" / k_scratch_file));
}

}  // namespace
}  // namespace atlasflow::vmm
