// A project's new variables and build secrets on their way into the log: checked, and their values
// sealed. Free functions; they block in the secret store.
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

// The same of what its builds may mount; too_large: over k_build_secrets_bytes_max together.
[[nodiscard]] Result<SetBuildSecrets> sealed_build_secrets(
    const ProjectState& project, const std::vector<std::pair<std::string, std::string>>& entries,
    storage::SecretStore& secrets);

// The contexts that they are sealed in, so that none can be taken for another.
[[nodiscard]] std::string env_context(const std::string& project_id, const std::string& name);
[[nodiscard]] std::string build_secret_context(const std::string& project_id,
                                               const std::string& name);

}  // namespace atlasflow::actors
