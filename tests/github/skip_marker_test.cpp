#include "github/skip_marker.hpp"

#include <gtest/gtest.h>

namespace atlasflow::github {
namespace {

struct Message {
  const char* text;
  const char* marker;  // empty: none
};

const Message k_messages[] = {
    {"Fix a typo [skip ci]", "[skip ci]"},
    {"[ci skip] Fix a typo", "[ci skip]"},
    {"Fix\n\nLong story [no ci]\n", "[no ci]"},
    {"Fix [skip actions]", "[skip actions]"},
    {"Fix [actions skip]", "[actions skip]"},
    {"Fix [SKIP CI]", "[skip ci]"},
    {"Fix[Skip Ci]now", "[skip ci]"},
    {"Fix\n\n\nskip-checks: true", "skip-checks: true"},
    {"Fix\n\nskip-checks:true\n", "skip-checks: true"},
    {"Fix\r\n\r\nSkip-Checks: True\r\n", "skip-checks: true"},
    {"Fix\n\nWhy.\n\nSigned-off-by: A <a@b>\nskip-checks: true\n\n", "skip-checks: true"},
    {"Fix\n\nCo-authored-by: A B\n  <a@b>\nskip-checks: true", "skip-checks: true"},

    {"", ""},
    {"\n\n", ""},
    {"Fix a typo", ""},
    {"Fix [skip  ci]", ""},
    {"Fix [skip-ci]", ""},
    {"Fix skip ci", ""},
    {"Fix [skip ci", ""},
    {"Fix [skip cd]", ""},
    {"Fix\n\nskip-checks: false", ""},
    {"Fix\n\nskip-checks: truer", ""},
    {"Fix\n\nno-skip-checks: true", ""},
    // A subject is no trailer, nor is a line in the middle of the text.
    {"skip-checks: true", ""},
    {"\nskip-checks: true", ""},
    {"Fix\nskip-checks: true", ""},
    {"Fix\n\nskip-checks: true\n\nand more", ""},
    {"Fix\n\nWe say\nskip-checks: true\n", ""},
};

TEST(SkipMarker, is_found_where_github_finds_it_and_nowhere_else) {
  for (const auto& message : k_messages) {
    EXPECT_EQ(skip_marker(message.text).value_or(""), message.marker) << message.text;
  }
}

TEST(SkipMarker, a_message_of_a_megabyte_is_read_in_no_time) {
  EXPECT_FALSE(skip_marker(std::string(1 << 20, '[')));
  std::string trailers = "Fix\n\n";
  while (trailers.size() < (1U << 20U)) trailers += "a: b\n";
  EXPECT_FALSE(skip_marker(trailers));
  EXPECT_TRUE(skip_marker(trailers + "skip-checks: true\n"));
}

}  // namespace
}  // namespace atlasflow::github
