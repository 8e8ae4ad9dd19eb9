// What hides ignored files ends when it is told to. What it hides is in dockerfile_kinds_test.cpp.
#include "builder/image/ignored_files.hpp"

#include <chrono>

#include <gtest/gtest.h>

#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using Clock = std::chrono::steady_clock;

TEST(IgnoredFiles, are_looked_for_until_the_build_is_stopped_or_its_time_is_over) {
  const Scratch scratch;
  const auto context = scratch.path() / "context";
  write(context / ".env", "KEY=1");
  const auto hide = [&](Clock::time_point until, const std::stop_token& stop) {
    return hide_ignored_files(context, ".env\n", scratch.path() / "layer", 0, until, stop);
  };
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = hide(Clock::time_point::max(), stop.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
  const auto late = hide(Clock::now(), {});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::timed_out);
  EXPECT_FALSE(
      std::filesystem::exists(std::filesystem::symlink_status(scratch.path() / "layer" / ".env")));
}

TEST(IgnoredFiles, tells_whether_anything_is_hidden) {
  const Scratch scratch;
  const auto context = scratch.path() / "context";
  write(context / "note", "n");
  for (const auto& [ignore, hides] : {std::pair{".env\n", false}, std::pair{"note\n", true}}) {
    const auto hidden = hide_ignored_files(context, ignore, scratch.path() / "layer", 0,
                                           Clock::time_point::max(), {});
    ASSERT_TRUE(hidden) << to_string(hidden.error());
    EXPECT_EQ(*hidden, hides) << ignore;
  }
}

}  // namespace
}  // namespace atlasflow::builder
