// A moment of the log as a user writes it. Pure; any thread.
#pragma once

#include <string_view>

#include "base/error.hpp"
#include "inspect/log_view.hpp"

namespace atlasflow::cli {

// "4711" (a position), "2026-01-31T12:00:00Z", "-2h" or "2h" (so long before now), or
// "d2ab3456@7" (a deployment's version); empty: the end. invalid_argument names all four.
[[nodiscard]] Result<inspect::When> parsed_when(std::string_view text, TimestampUs now);

}  // namespace atlasflow::cli
