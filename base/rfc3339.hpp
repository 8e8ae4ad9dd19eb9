// Moments as text, by RFC 3339: "2026-07-01T12:00:00.123456Z". Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atlasflow {

// µs since 1970, from a date-time of RFC 3339 section 5.6. "T" may be a space or in lower case, as
// the section's notes allow, and the offset may lack its colon, as in GitHub's payloads. Fractions
// beyond µs are cut off; a leap second is the next second's begin. Nothing: it is none.
[[nodiscard]] std::optional<std::int64_t> parse_rfc3339_us(std::string_view text);

// In UTC with six decimals, so that the order of texts is that of times.
[[nodiscard]] std::string rfc3339(std::int64_t at_us);

}  // namespace atlasflow
