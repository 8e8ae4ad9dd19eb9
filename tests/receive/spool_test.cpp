#include "receive/spool.hpp"

#include <gmock/gmock.h>

#include "base/file.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::receive {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t k_more_than_any_disk = 1ULL << 60;

TEST(Spool, it_keeps_what_it_is_given_and_leaves_no_file) {
  const builder::Scratch scratch;
  auto spool = Spool::make(scratch.path(), 0);
  ASSERT_TRUE(spool.has_value());
  spool->take("one ");
  spool->take("two");
  EXPECT_EQ(spool->size(), 7U);
  EXPECT_FALSE(spool->error().has_value());
  const auto fd = spool->rewound();
  ASSERT_TRUE(fd.has_value());
  EXPECT_EQ(read_file(*fd, 100, "the spool").value(), "one two");
  EXPECT_THAT(names_if_any(scratch.path()), IsEmpty());
}

TEST(Spool, a_disk_that_is_nearly_full_takes_none) {
  const builder::Scratch scratch;
  const auto spool = Spool::make(scratch.path(), k_more_than_any_disk);
  ASSERT_FALSE(spool.has_value());
  EXPECT_EQ(spool.error().code, ErrorCode::disk_full);
  EXPECT_THAT(spool.error().message, HasSubstr("free some room"));
}

}  // namespace
}  // namespace atlasflow::receive
