// Reads the atlasflow.toml at a repository's root: what it changes of the project's settings. Pure
// but for reading the file; any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>

#include "base/error.hpp"
#include "events/settings.hpp"

namespace atlasflow::builder {

inline constexpr const char* k_repository_config = "atlasflow.toml";

// The keys are the names of events/settings.hpp with TOML's own types (port = 8080,
// health_deadline = "30s", watch_paths = ["src/**"]) and the table [build_args]. user_error names
// the file, the line and the key, and says what it must be; the first line that is wrong is told.
[[nodiscard]] Result<RepositoryConfig> parse_repository_config(std::string_view text);

// nullopt: the checkout has no such file. user_error also when it is larger than 64 KiB, or no file
// (a link that leads out of the checkout is not followed).
[[nodiscard]] Result<std::optional<RepositoryConfig>> read_repository_config(
    const std::filesystem::path& checkout);

}  // namespace atlasflow::builder
