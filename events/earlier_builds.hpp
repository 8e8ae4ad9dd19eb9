// What a project has built of what, so that what would come out the same need not be built again.
// Pure.
#pragma once

#include <string>
#include <vector>

#include "events/event.pb.h"
#include "events/ids.hpp"

namespace atlasflow {

// How many are remembered: each deployment's first event of a clone names them all.
inline constexpr std::size_t k_earlier_builds_max = 8;

// Takes up what the deployment has built, or took from another, in front of `builds`, which holds
// the newest first and no inputs twice.
void note_build(std::vector<pb::EarlierBuild>& builds, const DeploymentId& id,
                const pb::Built& built);

// The newest that was made of the same; null when there is none, or when that is not known.
[[nodiscard]] const pb::EarlierBuild* same_build(const std::vector<pb::EarlierBuild>& builds,
                                                 const std::string& inputs);

}  // namespace atlasflow
