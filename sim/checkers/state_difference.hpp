// Two states of a deployment, field by field: what the running server holds against what its log
// says.
#pragma once

#include <string>

#include "events/deployment.hpp"

namespace atlasflow::sim {

// The first field that differs; empty when none does. Every member is compared: one that is added
// to the state and not named in events/fold_fields.hpp does not compile.
[[nodiscard]] std::string difference(const DeploymentState& left, const DeploymentState& right);

}  // namespace atlasflow::sim
