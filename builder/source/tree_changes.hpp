// Which paths differ between two commits. Internal to builder/; blocking, any thread.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "builder/source/git_handles.hpp"

namespace atlasflow::builder {

inline constexpr std::size_t k_changed_paths_max = 100'000;

// The paths of both trees whose content, mode or kind differs; a file that was moved is there under
// both names. What lies between the commits does not count: a change that was taken back is none,
// and a merge changes what it brought in. nullopt: `base_sha` is not in the repository (it was
// force-pushed away, or collected), its tree cannot be read, or more paths differ than anybody
// wants to list. cancelled: stop was requested.
[[nodiscard]] Result<std::optional<std::vector<std::string>>> changed_paths(
    git_repository* repository, const std::string& base_sha, git_tree* tree,
    const std::stop_token& stop);

}  // namespace atlasflow::builder
