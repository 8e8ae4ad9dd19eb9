// Reads a file of a checkout without ever leaving the checkout: the tree was written by a stranger
// and may hold symbolic links to anywhere. Internal to builder/; any thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::builder {

// nullopt: there is no such regular file in `folder` (a link that leads out of it counts as none).
// too_large: it has more than `limit_bytes`. A link to a file inside the folder is followed.
[[nodiscard]] Result<std::optional<std::string>> read_source_file(
    const std::filesystem::path& folder, const std::string& name, std::size_t limit_bytes);

// Where the folder `name` of `folder` is, links inside of it followed; "" is `folder` itself.
// nullopt: there is no such folder (a link that leads out of it counts as none).
[[nodiscard]] Result<std::optional<std::filesystem::path>> find_source_folder(
    const std::filesystem::path& folder, const std::string& name);

// The names in that folder but "." and "..", sorted, at most `names_max` of them; nothing when
// there is no such folder.
[[nodiscard]] std::vector<std::string> list_source_folder(const std::filesystem::path& folder,
                                                          const std::string& name,
                                                          std::size_t names_max);

}  // namespace atlasflow::builder
