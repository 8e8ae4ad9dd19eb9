// The limits of a configuration as they are in force on this machine. Free function, any thread.
#pragma once

#include <cstddef>

#include "edge/edge.hpp"

namespace atlasflow::edge {

// None larger than what the limit on open files allows so many workers.
[[nodiscard]] EdgeLimits limits_in_force(EdgeLimits limits, std::size_t workers);

}  // namespace atlasflow::edge
