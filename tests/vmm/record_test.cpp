#include "vmm/hypervisor/record.hpp"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/vmm/image_fixture.hpp"

namespace atlasflow::vmm {
namespace {

using testing::HasSubstr;

TEST(VmRecord, is_read_as_it_was_written_and_closed_to_others) {
  const test::TemporaryFolder folder;
  const VmRecord record{
      "vm-1", "r/i@sha256:0", "boot", {"127.0.0.1", 20001}, {17, 123456789, "boot"}};
  ASSERT_TRUE(write_record(folder.path(), record));
  const auto read = read_record(folder.path());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->vm_id, record.vm_id);
  EXPECT_EQ(read->image, record.image);
  EXPECT_EQ(read->boot_id, record.boot_id);
  EXPECT_EQ(read->endpoint, record.endpoint);
  EXPECT_EQ(read->process, record.process);
  EXPECT_EQ(std::filesystem::status(folder.path() / "vm.json").permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(VmRecord, that_is_missing_cut_or_of_another_format_is_none) {
  const test::TemporaryFolder folder;
  EXPECT_FALSE(read_record(folder.path()));
  for (const char* text :
       {"", "{", "{}", "[]", R"({"format": 2})", R"({"format": 1, "pid": "x"})"}) {
    std::ofstream(folder.path() / "vm.json") << text;
    EXPECT_FALSE(read_record(folder.path())) << text;
  }
}

TEST(GuestEvents, tell_the_phases_and_the_end) {
  EXPECT_FALSE(parse_guest_events("").hello);
  EXPECT_TRUE(parse_guest_events("hello 1\n").hello);
  EXPECT_FALSE(parse_guest_events("hello 1\nstarted 7").started) << "a cut line is none yet";
  const GuestEvents events = parse_guest_events("hello 1\nstarted 7\nstopping\nexit 143 15 0\n");
  EXPECT_TRUE(events.started);
  ASSERT_TRUE(events.exit);
  EXPECT_EQ(events.exit->exit_code, 143);
  EXPECT_EQ(events.exit->signal, 15);
  EXPECT_EQ(events.exit->reason, "the app was ended by signal 15");
  EXPECT_TRUE(parse_guest_events("exit 137 9 1\n").exit->out_of_memory);
  EXPECT_EQ(parse_guest_events("exit 0 0 0\n").exit->reason, "the app exited with code 0");
}

TEST(GuestEvents, tell_whose_fault_a_failed_start_was) {
  const auto user = parse_guest_events("failed user user 'x' does not exist in the image\n").failed;
  ASSERT_TRUE(user);
  EXPECT_EQ(user->code, ErrorCode::user_error);
  EXPECT_EQ(user->message, "user 'x' does not exist in the image");
  const auto boot = parse_guest_events("failed boot cannot mount layer 0\n").failed;
  ASSERT_TRUE(boot);
  EXPECT_EQ(boot->code, ErrorCode::internal);
  EXPECT_EQ(boot->cause, "cannot mount layer 0");
}

TEST(GuestEvents, of_a_hostile_guest_do_no_harm) {
  const auto events = parse_guest_events(
      "\n\nexit\nexit 1\nexit 999999999999999999999 0 0\n"
      "exit -5 0 0\nexit 0 900 0\nnonsense \x01\n"
      "exit 4 0 0\nexit 5 0 0\n");
  ASSERT_TRUE(events.exit);
  EXPECT_EQ(events.exit->exit_code, 4) << "the first good word counts";
  const auto failed =
      parse_guest_events("failed user \x1b[2J" + std::string(10'000, 'x') + "\n").failed;
  ASSERT_TRUE(failed);
  EXPECT_LE(failed->message.size(), 500U);
  EXPECT_EQ(failed->message.find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace atlasflow::vmm
