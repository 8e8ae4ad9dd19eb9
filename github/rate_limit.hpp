// When GitHub wants to be left alone, and for how long. Pure, any thread. Source: docs.github.com,
// "Rate limits for the REST API": going on asking may get the App banned.
#pragma once

#include <cstdint>
#include <optional>

#include "base/http_client.hpp"

namespace atlasflow::github {

inline constexpr std::int64_t k_limit_wait_min_s = 60;    // where GitHub names no time
inline constexpr std::int64_t k_limit_wait_max_s = 3600;  // the primary limit's window

struct RateLimit {
  enum class Kind : std::uint8_t { primary, secondary };
  Kind kind = Kind::primary;
  std::int64_t wait_s = 0;  // at least 1

  friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

// Nothing when the answer refuses nothing, or for another reason. now_s: GitHub's clock. in_a_row:
// how many answers were such refusals just before; without a time each doubles the wait.
[[nodiscard]] std::optional<RateLimit> rate_limit_of(const HttpResponse& response,
                                                     std::int64_t now_s, int in_a_row);

}  // namespace atlasflow::github
