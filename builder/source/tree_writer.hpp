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

// A place in the tree where another repository belongs; an empty folder is made for it.
struct SubmodulePlace {
  std::string path;
  std::string sha;
};

struct WrittenTree {
  std::uint64_t size_bytes = 0;
  std::uint64_t entries = 0;
  std::vector<SubmodulePlace> submodules;
  std::vector<std::string> lfs_pointers;  // the first of them
  std::uint64_t lfs_pointer_count = 0;
};

// `folder` must exist and be empty. Files get mode 0644 or 0755 whatever the umask is. Each file
// name is made relative to the folder that holds it and never followed, so no link in the tree can
// lead a write out of it.
[[nodiscard]] Result<WrittenTree> write_tree(git_repository* repository, const git_tree* tree,
                                             const std::filesystem::path& folder,
                                             std::uint64_t limit_bytes,
                                             const std::stop_token& stop);

}  // namespace atlasflow::builder
