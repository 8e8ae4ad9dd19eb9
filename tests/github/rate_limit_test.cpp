#include "github/rate_limit.hpp"

#include <gtest/gtest.h>

#include "github/http_date.hpp"

namespace atlasflow::github {

void PrintTo(const RateLimit& limit, std::ostream* out) {
  *out << (limit.kind == RateLimit::Kind::primary ? "primary " : "secondary ") << limit.wait_s
       << " s";
}

namespace {

constexpr std::int64_t k_now_s = 1'000'000;
using Kind = RateLimit::Kind;

struct Case {
  const char* name;
  HttpResponse response;
  std::optional<RateLimit> limit;
  int in_a_row = 0;
};

const Case k_cases[] = {
    {"the primary limit",
     {403, {{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "1000120"}}, ""},
     RateLimit{Kind::primary, 121}},
    {"the same by status 429",
     {429, {{"X-RateLimit-Remaining", "0"}, {"X-RateLimit-Reset", "1000120"}}, ""},
     RateLimit{Kind::primary, 121}},
    {"a reset that has passed",
     {403, {{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "999000"}}, ""},
     RateLimit{Kind::primary, 1}},
    {"a reset in a year",
     {403, {{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "32000000"}}, ""},
     RateLimit{Kind::primary, 3600}},
    {"a reset that is no number",
     {403, {{"x-ratelimit-remaining", "0"}, {"x-ratelimit-reset", "soon"}}, ""},
     RateLimit{Kind::primary, 60}},
    {"a secondary limit that names a time",
     {403, {{"retry-after", "17"}, {"x-ratelimit-remaining", "4000"}}, ""},
     RateLimit{Kind::secondary, 17}},
    {"a negative time", {403, {{"retry-after", "-5"}}, ""}, RateLimit{Kind::secondary, 1}},
    {"a secondary limit that names none",
     {403, {}, R"({"message":"You have exceeded a secondary rate limit."})"},
     RateLimit{Kind::secondary, 60}},
    {"the third of those in a row",
     {403, {}, R"({"message":"You have exceeded a secondary rate limit."})"},
     RateLimit{Kind::secondary, 240},
     2},
    {"the hundredth",
     {403, {}, R"({"message":"You have exceeded a secondary rate limit."})"},
     RateLimit{Kind::secondary, 3600},
     99},
    {"a bare 429", {429, {}, ""}, RateLimit{Kind::secondary, 60}},

    {"a permission that lacks",
     {403, {{"x-ratelimit-remaining", "4999"}}, R"({"message":"Resource not accessible"})"},
     std::nullopt},
    {"the last request that there was", {200, {{"x-ratelimit-remaining", "0"}}, ""}, std::nullopt},
    {"maintenance", {503, {{"retry-after", "60"}}, ""}, std::nullopt},
};

TEST(RateLimit, is_read_as_github_documents_it) {
  for (const auto& each : k_cases) {
    EXPECT_EQ(rate_limit_of(each.response, k_now_s, each.in_a_row), each.limit) << each.name;
  }
}

TEST(HttpDate, is_read_in_its_one_form) {
  EXPECT_EQ(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
  EXPECT_EQ(http_date("Sun, 06 anF 1994 08:49:37 GMT"), std::nullopt);
  EXPECT_EQ(http_date("Sunday, 06-Nov-94 08:49:37 GMT"), std::nullopt);
  EXPECT_EQ(http_date("Sun, 06 Nov 1994 08:49:37 CET"), std::nullopt);
  EXPECT_EQ(http_date("Sun, 66 Nov 1994 08:49:37 GMT"), std::nullopt);
}

}  // namespace
}  // namespace atlasflow::github
