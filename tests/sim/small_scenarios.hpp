// Scenarios of one deployment or two, with nothing left to chance but who runs next: what is tried
// at every moment, and what golden logs are made of. Values.
#pragma once

#include <string>
#include <vector>

#include "sim/run/scenario.hpp"

namespace atlasflow::sim {

[[nodiscard]] std::vector<Scenario> small_scenarios();
// Of these; aborts for another name.
[[nodiscard]] Scenario small_scenario(const std::string& name);

}  // namespace atlasflow::sim
