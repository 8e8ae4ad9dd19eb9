// Node beside another language: what its build script makes of a repository. Pure; any thread.
#pragma once

#include "builder/stack/plan.hpp"
#include "builder/stack/provider.hpp"

namespace atlasflow::builder {

// Adds the stages in which package.json's build script runs, the last of them "assets" with all
// sources in /app and without node_modules. false: there is no build script, and nothing is added.
[[nodiscard]] Result<bool> add_assets_stage(Plan& plan, const ProviderInput& input);

}  // namespace atlasflow::builder
