// Hides what the ignore file names from steps that mount the context: buildah leaves it out of COPY
// and ADD only. Internal to builder/; any thread.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace atlasflow::builder {

// Makes `layer`, which the sandbox lays over the context: an overlay's whiteout for each file that
// is ignored, and for each folder of which nothing is left. `ignore`: one pattern a line, as
// plain_ignore_file makes it. owner: of the folders that it makes, which are in place of the
// context's.
[[nodiscard]] Result<void> hide_ignored_files(const std::filesystem::path& context,
                                              const std::string& ignore,
                                              const std::filesystem::path& layer, unsigned owner);

}  // namespace atlasflow::builder
