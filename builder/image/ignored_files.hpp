// Hides what the ignore file names from steps that mount the context: buildah leaves it out of COPY
// and ADD only. Internal to builder/; any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <stop_token>
#include <string>

#include "base/error.hpp"

namespace atlasflow::builder {

// Makes `layer`, which the sandbox lays over the context: an overlay's whiteout for each file that
// is ignored, and for each folder of which nothing is left. `ignore`: one pattern a line, as
// plain_ignore_file makes it. owner: of the folders that it makes, which are in place of the
// context's. Returns whether anything is hidden. cancelled and timed_out: both are looked at for
// each file, since a large ignore file takes its time for each of them.
[[nodiscard]] Result<bool> hide_ignored_files(const std::filesystem::path& context,
                                              const std::string& ignore,
                                              const std::filesystem::path& layer, unsigned owner,
                                              std::chrono::steady_clock::time_point until,
                                              const std::stop_token& stop);

}  // namespace atlasflow::builder
