#include "builder/source/clone_log.hpp"

#include <algorithm>

#include <gmock/gmock.h>

#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

class CloneLogTest : public ::testing::Test {
 protected:
  CloneLog open() {
    return {scratch_.path(), "d-v2", "refs/heads/main of https://example.com/x",
            [this] { return now_; }};
  }
  std::string text() const { return read(scratch_.path() / "d-v2.build.log"); }
  long lines() const {
    const auto all = text();
    return std::count(all.begin(), all.end(), '\n');
  }

  Scratch scratch_;
  CloneLog::Clock::time_point now_{};
};

TEST_F(CloneLogTest, a_short_clone_is_a_heading_and_what_it_came_to) {
  auto log = open();
  log.tell({5, 10, 500});
  now_ += 200ms;
  Checkout checkout;
  checkout.received_objects = 10;
  checkout.received_bytes = 3U << 20U;
  checkout.size_bytes = 2048;
  log.done(checkout);
  EXPECT_EQ(text(),
            "-----> Cloning refs/heads/main of https://example.com/x\n"
            "       done in 0.2 s: 10 objects, 3 MiB received; the commit's files have 2 KiB\n");
}

TEST_F(CloneLogTest, a_clone_to_which_nothing_is_new_says_so) {
  auto log = open();
  log.done(Checkout{});
  EXPECT_THAT(text(), HasSubstr("done in 0.0 s: nothing was new; "));
}

TEST_F(CloneLogTest, a_long_clone_tells_each_tenth_and_no_more) {
  auto log = open();
  for (std::uint64_t i = 0; i <= 600; ++i) {
    log.tell({i * 100, 60'000, i << 20U});
    now_ += 100ms;
  }
  EXPECT_EQ(lines(), 11);
  EXPECT_THAT(text(), HasSubstr("       received 6000 of 60000 objects (10 %), 60 MiB\n"));
  for (std::uint64_t i = 1; i <= 600; ++i) {
    log.tell({60'000, 60'000, 600U << 20U, i, 600});
    now_ += 100ms;
  }
  EXPECT_EQ(lines(), 21);
  EXPECT_THAT(text(), HasSubstr("       put together 300 of 600 deltas (50 %)\n"));
}

TEST_F(CloneLogTest, a_fast_one_tells_at_most_one_line_a_second) {
  auto log = open();
  for (std::uint64_t i = 0; i <= 300; ++i) {
    log.tell({i, 300, i});
    now_ += 10ms;
  }
  EXPECT_LE(lines(), 4);
  EXPECT_GE(lines(), 3);
}

TEST_F(CloneLogTest, a_slow_one_tells_every_ten_seconds_that_it_lives) {
  auto log = open();
  for (std::uint64_t i = 0; i < 600; ++i) {
    log.tell({100, 60'000, i << 10U});
    now_ += 100ms;
  }
  EXPECT_EQ(lines(), 6);
}

TEST_F(CloneLogTest, what_the_remote_says_before_it_sends_is_told_as_plain_text) {
  auto log = open();
  now_ += 11s;
  FetchProgress progress;
  progress.remote = "Counting objects: 5\rCompressing \x1b[31m" + std::string(300, 'x') + "\r";
  log.tell(progress);
  progress.remote = "\r\n";
  now_ += 11s;
  log.tell(progress);
  EXPECT_EQ(lines(), 2);
  EXPECT_THAT(text(), HasSubstr("       the remote: Compressing ?[31mxxx"));
  EXPECT_THAT(text(), Not(HasSubstr("Counting")));
  EXPECT_LE(text().size(), 200U);
}

TEST_F(CloneLogTest, one_that_fails_says_why) {
  auto log = open();
  now_ += 1500ms;
  log.failed({ErrorCode::not_found, "there is no repository", "404"});
  EXPECT_THAT(text(), HasSubstr("       failed after 1.5 s: there is no repository\n"));
}

TEST_F(CloneLogTest, without_a_place_nothing_is_written) {
  CloneLog none({}, "d-v2", "x");
  none.done(Checkout{});
  CloneLog nameless(scratch_.path(), "", "x");
  nameless.failed({ErrorCode::internal, "x", ""});
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path()));
}

}  // namespace
}  // namespace atlasflow::builder
