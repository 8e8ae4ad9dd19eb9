#include <limits>
#include <utility>

#include <gtest/gtest.h>

#include "base/duration.hpp"
#include "base/rfc3339.hpp"

namespace atlasflow {
namespace {

constexpr std::int64_t k_second = 1'000'000;

TEST(Rfc3339, reads_what_the_standard_and_github_write) {
  const std::pair<const char*, std::int64_t> cases[] = {
      {"1970-01-01T00:00:01Z", k_second},
      {"1969-12-31T23:59:59.5Z", -k_second / 2},
      {"2024-02-29T12:34:56Z", 1'709'210'096 * k_second},
      {"2024-02-29t12:34:56.25z", 1'709'210'096 * k_second + 250'000},
      {"2024-02-29 14:34:56.0000019+02:00", 1'709'210'096 * k_second + 1},
      {"2024-02-29T07:04:56-05:30", 1'709'210'096 * k_second},
      {"2024-02-29T07:04:56-0530", 1'709'210'096 * k_second},
      {"2016-12-31T23:59:60Z", 1'483'228'800 * k_second},
  };
  for (const auto& [text, at] : cases) EXPECT_EQ(parse_rfc3339_us(text), at) << text;
}

TEST(Rfc3339, takes_nothing_else_for_a_time) {
  for (const char* text :
       {"", "2024-02-29", "2024-02-29T12:34:56", "2024-02-30T00:00:00Z", "2024-13-01T00:00:00Z",
        "2024-02-29T24:00:00Z", "2024-02-29T12:60:00Z", "2024-02-29T12:34:61Z",
        "2024-02-29T12:34:56.Z", "2024-02-29T12:34:56+2:00", "2024-02-29T12:34:56+24:00",
        "2024-02-29T12:34:56Zx", "2024-02-29T12:34:56+", "+024-02-29T12:34:56Z", "yesterday"}) {
    EXPECT_FALSE(parse_rfc3339_us(text)) << text;
  }
}

TEST(Rfc3339, what_is_written_is_read_as_the_same_moment) {
  EXPECT_EQ(rfc3339(1'709'210'096 * k_second + 7), "2024-02-29T12:34:56.000007Z");
  for (const std::int64_t at :
       {std::int64_t{0}, std::int64_t{-1}, 951'782'400 * k_second - 1, 4'102'444'799 * k_second}) {
    EXPECT_EQ(parse_rfc3339_us(rfc3339(at)), at) << rfc3339(at);
  }
}

TEST(Duration, is_digits_and_a_unit) {
  const std::pair<const char*, std::int64_t> cases[] = {{"0s", 0},
                                                        {"500ms", 500'000},
                                                        {"90s", 90 * k_second},
                                                        {"5m", 300 * k_second},
                                                        {"2h", 7'200 * k_second},
                                                        {"3d", 259'200 * k_second}};
  for (const auto& [text, us] : cases) EXPECT_EQ(parse_duration_us(text), us) << text;
  for (const char* text : {"", "5", "s", "-5s", "+5s", "5 s", "1.5h", "5S", "5min", "5m5s"}) {
    EXPECT_FALSE(parse_duration_us(text)) << text;
  }
}

TEST(Duration, that_does_not_fit_is_the_longest_and_never_wraps) {
  constexpr auto k_longest = std::numeric_limits<std::int64_t>::max();
  for (const char* text : {"9223372036854775807d", "99999999999999999999999999s", "106751992d"}) {
    EXPECT_EQ(parse_duration_us(text), k_longest) << text;
  }
  EXPECT_EQ(parse_duration_us("106751991d"), 106'751'991LL * 86'400 * k_second);
}

TEST(Duration, is_written_by_the_largest_unit_that_says_it_exactly) {
  for (const char* text : {"0s", "500ms", "90s", "5m", "25h", "3d"}) {
    EXPECT_EQ(duration_text(*parse_duration_us(text)), text);
  }
  EXPECT_EQ(duration_text(*parse_duration_us("48h")), "2d");
  EXPECT_EQ(duration_text(1), "1us");
}

}  // namespace
}  // namespace atlasflow
