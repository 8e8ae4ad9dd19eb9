// Durations as users write them: "500ms", "30s", "5m", "1h", "3d". Pure, and by integers only, for
// events/ uses it too. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atlasflow {

// In µs. Digits and one of the units ms, s, m, h, d, without a sign or a space; else nothing. What
// is too large for the type is the largest number of it, for the caller's limit to refuse.
[[nodiscard]] std::optional<std::int64_t> parse_duration_us(std::string_view text);

// The same text again, by the largest unit that says it exactly: "90s", "2m", "0s".
[[nodiscard]] std::string duration_text(std::int64_t duration_us);

}  // namespace atlasflow
