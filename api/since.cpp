#include "api/since.hpp"

#include "base/duration.hpp"
#include "base/rfc3339.hpp"

namespace atlasflow::api {
namespace {

constexpr TimestampUs k_longest_us = 100LL * 366 * 86'400 * 1'000'000;

}  // namespace

Result<TimestampUs> parsed_since(std::string_view text, TimestampUs now) {
  if (const auto ago = parse_duration_us(text); ago && *ago <= k_longest_us) return now - *ago;
  if (const auto time = parse_rfc3339_us(text)) return *time;
  return fail(ErrorCode::invalid_argument,
              "'since' must be a time span like 90s, 10m, 2h or 1d, or a time like "
              "2026-07-01T12:00:00Z.");
}

}  // namespace atlasflow::api
