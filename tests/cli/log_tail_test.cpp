#include "cli/log_tail.hpp"

#include <gmock/gmock.h>

namespace atlasflow::cli {
namespace {

TEST(LogTail, has_no_terminal_escapes_and_nothing_that_was_overwritten) {
  EXPECT_EQ(readable_tail("\x1b[31mError\x1b[0m: no\n\x1b]0;title\aplain\n10%\r50%\r100%\r\n", 30),
            "Error: no\nplain\n100%\n");
  EXPECT_EQ(readable_tail("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b[2Jend\x1b[", 30),
            "link end\n");
  EXPECT_EQ(readable_tail("a\tb\x01\n", 30), "a b?\n");
}

TEST(LogTail, shows_the_reason_and_not_the_requests_of_the_health_check) {
  std::string log = "Error: the database is away\n";
  for (int i = 0; i < 150; ++i) {
    log += "127.0.0.1 - [27/Nov/2026 10:00:" + std::to_string(i) + "] \"GET / HTTP/1.1\" 500 -\n";
    log += "GET / 500 " + std::to_string(i) + ".1 ms\n";
  }
  const auto tail = readable_tail(log, 30);
  EXPECT_THAT(tail, ::testing::HasSubstr("Error: the database is away\n"));
  EXPECT_THAT(tail,
              ::testing::HasSubstr("10:00:149] \"GET / HTTP/1.1\" 500 -  (150 lines like this)"));
  EXPECT_EQ(std::count(tail.begin(), tail.end(), '\n'), 3);
}

TEST(LogTail, keeps_the_last_lines) {
  std::string log;
  for (char c = 'a'; c <= 'z'; ++c) log += std::string("line ") + c + "\n";
  EXPECT_EQ(readable_tail(log, 2), "line y\nline z\n");
  EXPECT_EQ(readable_tail("1\n2\n3\n4\n\n\n\n\n\n", 30), "1\n2\n3\n4\n\n\n\n\n\n");
  EXPECT_EQ(readable_tail("", 30), "");
}

}  // namespace
}  // namespace atlasflow::cli
