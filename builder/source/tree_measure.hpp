// How large a commit's tree is when it is written out, before anything is. Internal to builder/;
// any thread.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "builder/source/git_handles.hpp"

namespace atlasflow::builder {

// A tree can name itself again and again (a "git bomb"): a dozen objects, a billion files.
inline constexpr std::uint64_t k_tree_entries_max = 500'000;  // Linux has 100 000
inline constexpr std::uint64_t k_tree_depth_max = 128;
inline constexpr std::uint64_t k_tree_path_bytes_max = 3000;  // PATH_MAX is 4096, ours included
inline constexpr std::uint64_t k_tree_name_bytes_max = 255;   // NAME_MAX

struct TreeMeasure {
  std::uint64_t entries = 0;     // files, folders and links
  std::uint64_t size_bytes = 0;  // of the files
  std::uint64_t depth = 0;       // folders in folders
  std::uint64_t path_bytes = 0;  // of the longest path
};

// Each distinct folder is looked at once, however often it is named, so the time is that of the
// objects and not of the files. too_large: a limit above or `limit_bytes` is passed; the message
// says which. user_error: an object is missing.
[[nodiscard]] Result<TreeMeasure> measure_tree(git_repository* repository, const git_tree* tree,
                                               std::uint64_t limit_bytes,
                                               const std::stop_token& stop);

}  // namespace atlasflow::builder
