#include "github/rate_limit.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace atlasflow::github {
namespace {

std::optional<std::int64_t> number_of(std::string_view text) {
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || rest != text.data() + text.size()) return std::nullopt;
  return number;
}

std::int64_t within_limits(std::int64_t wait_s) {
  return std::clamp<std::int64_t>(wait_s, 1, k_limit_wait_max_s);
}

}  // namespace

std::optional<RateLimit> rate_limit_of(const HttpResponse& response, std::int64_t now_s,
                                       int in_a_row) {
  if (response.status != 403 && response.status != 429) return std::nullopt;
  using Kind = RateLimit::Kind;
  if (const auto after_s = number_of(response.field("Retry-After"))) {
    return RateLimit{Kind::secondary, within_limits(*after_s)};
  }
  if (response.field("X-RateLimit-Remaining") == "0") {
    const auto reset_s = number_of(response.field("X-RateLimit-Reset"));
    // A second more: the two clocks count whole ones.
    return RateLimit{Kind::primary,
                     within_limits(reset_s ? *reset_s - now_s + 1 : k_limit_wait_min_s)};
  }
  const bool says_so = response.body.find("secondary rate limit") != std::string::npos ||
                       response.body.find("abuse detection") != std::string::npos;
  if (!says_so && response.status != 429) return std::nullopt;
  const int doublings = std::min(in_a_row, 10);
  return RateLimit{Kind::secondary, within_limits(k_limit_wait_min_s << doublings)};
}

}  // namespace atlasflow::github
