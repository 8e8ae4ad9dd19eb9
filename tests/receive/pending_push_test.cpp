#include "receive/pending_push.hpp"

#include <gmock/gmock.h>

#include "base/file.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::receive {
namespace {

TEST(PendingPush, it_is_read_as_it_was_written_until_it_is_removed) {
  const builder::Scratch scratch;
  const auto file = scratch.path() / "pending.json";
  EXPECT_FALSE(read_pending(file).value().has_value());
  const PendingPush push{
      "id-1", "ada", 1'700'000'000, {{"refs/heads/main", std::string(40, 'a')}}, "refs/heads/main"};
  ASSERT_TRUE(write_pending(file, push));
  const auto read = read_pending(file).value();
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->id, push.id);
  EXPECT_EQ(read->pusher, push.pusher);
  EXPECT_EQ(read->at_s, push.at_s);
  EXPECT_EQ(read->before, push.before);
  EXPECT_EQ(read->only, push.only);
  ASSERT_TRUE(remove_pending(file));
  EXPECT_FALSE(read_pending(file).value().has_value());
}

TEST(PendingPush, one_of_an_older_build_is_of_all_branches) {
  const builder::Scratch scratch;
  const auto file = scratch.path() / "pending.json";
  ASSERT_TRUE(replace_file(file, R"({"id":"i","pusher":"ada","at_s":1,"before":{}})", 0600));
  const auto read = read_pending(file);
  ASSERT_TRUE(read.has_value()) << to_string(read.error());
  EXPECT_EQ(read->value().only, "");
}

TEST(PendingPush, what_is_damaged_is_named) {
  const builder::Scratch scratch;
  const auto file = scratch.path() / "pending.json";
  for (const char* text : {"", "{", "[]", R"({"id":1})"}) {
    ASSERT_TRUE(replace_file(file, text, 0600));
    const auto read = read_pending(file);
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().code, ErrorCode::corrupt);
  }
}

TEST(PendingPush, without_a_folder_for_it_nothing_is_taken) {
  const builder::Scratch scratch;
  const auto written = write_pending(scratch.path() / "none" / "pending.json", {});
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, ErrorCode::disk_full);
}

}  // namespace
}  // namespace atlasflow::receive
