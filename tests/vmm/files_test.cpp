#include "vmm/files.hpp"

#include <gtest/gtest.h>

#include "tests/vmm/image_fixture.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;

TEST(Files, are_replaced_whole_and_leave_no_temporary) {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "file";
  ASSERT_TRUE(write_file_atomically(path, "one", 0600));
  ASSERT_TRUE(write_file_atomically(path, "two", 0444));
  EXPECT_EQ(read_whole_file(path, 100).value(), "two");
  EXPECT_EQ(fs::status(path).permissions(),
            fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(Files, that_cannot_be_written_or_read_say_which) {
  const test::TemporaryFolder folder;
  const auto written = write_file_atomically(folder.path() / "no/such", "x", 0600);
  ASSERT_FALSE(written);
  EXPECT_NE(written.error().message.find("no/such"), std::string::npos);
  EXPECT_EQ(read_whole_file(folder.path() / "none", 1).error().code, ErrorCode::not_found);
  ASSERT_TRUE(write_file_atomically(folder.path() / "big", std::string(1000, 'x'), 0600));
  EXPECT_EQ(read_whole_file(folder.path() / "big", 999).error().code, ErrorCode::too_large);
}

TEST(Sha256, agrees_with_a_known_answer) {
  // FIPS 180-4's example "abc".
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace atlasflow::vmm
