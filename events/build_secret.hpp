// What a project's builds may mount: which names and values there are. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow {

inline constexpr std::size_t k_build_secret_name_bytes_max = 128;
inline constexpr std::size_t k_build_secret_bytes_max = 128UL * 1024;  // what can be sealed
// Of all of a project together, names included: a build has them in memory.
inline constexpr std::size_t k_build_secrets_bytes_max = 256UL * 1024;

// What generated Dockerfiles mount of Atlasflow's own begins so, and nothing of a user's does.
inline constexpr std::string_view k_own_secret_prefix = "atlasflow.";

// It becomes the id of a mount and the name of a file: letters, digits, '_', '.' and '-', the first
// of them a letter, a digit or '_'.
[[nodiscard]] Result<void> validate_build_secret_name(const std::string& name);

// Quotes nothing of the value. invalid_argument: it is empty; too_large: over
// k_build_secret_bytes_max.
[[nodiscard]] Result<void> validate_build_secret_value(const std::string& name,
                                                       const std::string& value);

}  // namespace atlasflow
