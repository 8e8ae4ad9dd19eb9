// The points in time that a user may name. Pure; any thread.
#pragma once

#include <string_view>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::api {

// "90s", "10m", "2h", "1d": so long before now. Or a time of RFC 3339 (section 5.6), like
// "2026-07-01T12:00:00Z". invalid_argument names an example.
[[nodiscard]] Result<TimestampUs> parsed_since(std::string_view text, TimestampUs now);

}  // namespace atlasflow::api
