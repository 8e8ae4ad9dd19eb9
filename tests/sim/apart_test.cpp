// A process of its own for what may abort.
#include "sim/fleet/apart.hpp"

#include <cstdio>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/assert.hpp"

namespace atlasflow::sim {
namespace {

using testing::HasSubstr;

TEST(Apart, an_answer_comes_back_whole_whatever_bytes_it_has) {
  std::string bytes(300'000, '\xFF');
  bytes[7] = '\0';
  const auto answer = apart([&]() -> Result<std::string> { return bytes; });
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(*answer, bytes);
}

TEST(Apart, an_error_comes_back_as_it_was) {
  const auto answer = apart([]() -> Result<std::string> {
    return fail(ErrorCode::corrupt, "the log is damaged", "position 7");
  });
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::corrupt);
  EXPECT_EQ(answer.error().message, "the log is damaged");
  EXPECT_EQ(answer.error().cause, "position 7");
}

TEST(Apart, an_abort_is_an_error_here_that_says_what_was_written_last) {
  const auto answer = apart([]() -> Result<std::string> {
    std::fputs("something before\n", stderr);
    ATLAS_ASSERT(1 > 2, "the numbers of the test");
    return std::string();
  });
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::internal);
  EXPECT_THAT(answer.error().message, HasSubstr("signal 6"));
  EXPECT_THAT(answer.error().message, HasSubstr("the numbers of the test"));
}

TEST(Apart, nothing_that_is_changed_there_is_changed_here) {
  int value = 1;
  ASSERT_TRUE(apart([&]() -> Result<std::string> {
    value = 2;
    return std::string();
  }));
  EXPECT_EQ(value, 1);
}

}  // namespace
}  // namespace atlasflow::sim
