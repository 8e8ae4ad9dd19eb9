#include "api/since.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::api {
namespace {

constexpr TimestampUs k_second = 1'000'000;
constexpr TimestampUs k_now = 1'800'000'000 * k_second;

TEST(Since, takes_time_spans_and_times_of_rfc_3339) {
  const std::pair<const char*, TimestampUs> cases[] = {
      {"0s", k_now},
      {"90s", k_now - 90 * k_second},
      {"10m", k_now - 600 * k_second},
      {"2h", k_now - 7'200 * k_second},
      {"1d", k_now - 86'400 * k_second},
      {"1970-01-01T00:00:01Z", k_second},
      {"2024-02-29T12:34:56Z", 1'709'210'096 * k_second},
      {"2024-02-29t12:34:56.25z", 1'709'210'096 * k_second + 250'000},
      {"2024-02-29 14:34:56.0000019+02:00", 1'709'210'096 * k_second + 1},
      {"2024-02-29T07:04:56-05:30", 1'709'210'096 * k_second},
  };
  for (const auto& [text, expected] : cases) {
    const auto time = parsed_since(text, k_now);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(*time, expected) << text;
  }
}

TEST(Since, refuses_anything_else_with_an_example) {
  for (const char* text :
       {"", "10", "m", "-5m", "+5m", "5 m", "1.5h", "10minutes", "99999999999999999999s",
        "9223372036854775807d", "yesterday", "2024-02-30T00:00:00Z", "2024-13-01T00:00:00Z",
        "2024-02-29T24:00:00Z", "2024-02-29T12:34:56", "2024-02-29", "2024-02-29T12:34:56.Z",
        "2024-02-29T12:34:56+2:00", "2024-02-29T12:34:56Zx"}) {
    const auto time = parsed_since(text, k_now);
    ASSERT_FALSE(time) << text;
    EXPECT_EQ(time.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(time.error().message, testing::HasSubstr("10m")) << text;
  }
}

}  // namespace
}  // namespace atlasflow::api
