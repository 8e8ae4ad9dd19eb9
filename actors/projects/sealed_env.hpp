// A project's new variables on their way into the log: checked, and their values sealed. Free
// function; blocks in the secret store.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "events/project.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::actors {

// All or none: nothing is sealed of what the project does not take. What an app gets at its next
// deployment must fit into a VM's configuration; that is said to who sets it, and not by a start
// that fails later. too_large: over k_env_bytes_max together; no error names a value.
[[nodiscard]] Result<SetEnv> sealed_env(
    const ProjectState& project, const std::vector<std::pair<std::string, std::string>>& entries,
    storage::SecretStore& secrets);

}  // namespace atlasflow::actors
