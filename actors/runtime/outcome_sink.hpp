// Whoever takes outcomes: the deployment that asked for the effect.
#pragma once

#include <caf/all.hpp>

#include "actors/runtime/messages.hpp"

namespace atlasflow::actors {

using outcome_sink = caf::typed_actor<
    // A command or an outcome for the receiving deployment.
    caf::reacts_to<Deliver>>;

// The command that tells a deployment of an engine's error.
[[nodiscard]] Failed failure_of(const EffectId& effect, pb::Step step, const Error& error);

}  // namespace atlasflow::actors
