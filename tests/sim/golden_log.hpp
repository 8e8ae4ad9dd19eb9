// A small scenario's log as text: every event by position, and behind each of a deployment its
// state and everything that the world then owes it. What golden/*.txt hold. Free functions.
#pragma once

#include <string>
#include <vector>

#include "sim/run/scenario.hpp"

namespace atlasflow::sim {

// The small scenarios that have a file.
[[nodiscard]] const std::vector<std::string>& golden_names();
// Of a run in which every choice is the first one; aborts when it breaks an invariant.
[[nodiscard]] std::string golden_log(Scenario scenario);

}  // namespace atlasflow::sim
