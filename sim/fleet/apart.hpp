// Runs something in a process of its own and brings back what it answers, so that a run that aborts
// is an error here and no end. Forks: called while there is one thread.
#pragma once

#include <functional>
#include <string>

#include "base/error.hpp"

namespace atlasflow::sim {

// body's answer, or its error. internal when its process ended without one, with the last that it
// wrote to standard error; what it writes to standard output appears as usual.
[[nodiscard]] Result<std::string> apart(const std::function<Result<std::string>()>& body);

}  // namespace atlasflow::sim
