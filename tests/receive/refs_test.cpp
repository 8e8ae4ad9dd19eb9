#include "receive/refs.hpp"

#include <gmock/gmock.h>

namespace atlasflow::receive {
namespace {

using testing::IsEmpty;

TEST(Refs, what_was_made_moved_and_deleted_is_told_by_name) {
  const std::string one(40, '1');
  const std::string two(40, '2');
  const Refs before = {{"refs/heads/gone", one}, {"refs/heads/main", one}, {"refs/tags/v1", one}};
  const Refs after = {{"refs/heads/main", two}, {"refs/heads/new", two}, {"refs/tags/v1", one}};
  const auto changes = changes_between(before, after);
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[0].ref, "refs/heads/gone");
  EXPECT_EQ(changes[0].before, one);
  EXPECT_EQ(changes[0].after, k_zeros);
  EXPECT_EQ(changes[1].ref, "refs/heads/main");
  EXPECT_EQ(changes[1].before, one);
  EXPECT_EQ(changes[1].after, two);
  EXPECT_EQ(changes[2].ref, "refs/heads/new");
  EXPECT_EQ(changes[2].before, k_zeros);
  EXPECT_THAT(changes_between(after, after), IsEmpty());
}

}  // namespace
}  // namespace atlasflow::receive
