// Writes the tree of a commit into a folder: nothing but files, folders and symbolic links, no
// filter, no hook, no index. Internal to builder/; blocking, any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "builder/source/git_handles.hpp"

namespace atlasflow::builder {

struct WrittenTree {
  std::uint64_t size_bytes = 0;
  std::vector<std::string> submodules;  // paths that were left as empty folders
  bool has_lfs_pointers = false;
};

// `folder` must exist and be empty. Files get mode 0644 or 0755 whatever the umask is. Each file
// name is made relative to the folder that holds it and never followed, so no link in the tree can
// lead a write out of it.
[[nodiscard]] Result<WrittenTree> write_tree(git_repository* repository, const git_tree* tree,
                                             const std::filesystem::path& folder,
                                             std::uint64_t limit_bytes,
                                             const std::stop_token& stop);

}  // namespace atlasflow::builder
