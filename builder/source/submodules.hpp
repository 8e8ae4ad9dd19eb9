// The repositories that a commit names as submodules: where they are to be fetched from, and how
// they get into the checkout. Internal to builder/; blocking, any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "builder/source/credential.hpp"
#include "builder/source/tree_writer.hpp"

namespace atlasflow::builder {

// Path in the tree to the URL that .gitmodules says, as written. What is no such line is passed
// over: git does so as well.
[[nodiscard]] std::map<std::string, std::string> read_gitmodules(std::string_view text);

struct SubmoduleRequest {
  std::string parent_url;              // of the repository whose commit it is
  std::filesystem::path tree;          // where its files are
  std::filesystem::path objects;       // a folder that may be made and is removed again
  std::vector<SubmodulePlace> places;  // empty folders in `tree`
  std::uint64_t limit_bytes = 0;       // for the files, and for what is received, of all
  std::uint64_t limit_entries = 0;
  CredentialSource credential = {};  // for those on the SSH host of the parent
  HostKeyCheck host_key = {};        // likewise
};

struct SubmoduleResult {
  std::uint64_t size_bytes = 0;
  std::vector<std::string> notices;  // those that were left as empty folders, and why
  std::vector<std::string> lfs_pointers;
  std::uint64_t lfs_pointer_count = 0;
};

// Fetches what submodule_url() lets it, submodules of submodules included (at most 32 in all, three
// deep). Without a credential, but for an SSH remote: the deploy key is the project's alone, and
// opens what its owner gave it, where a login or a token may open more than whoever pushes may
// read. Another repository that cannot be had is a notice; unavailable when one that could be had
// does not answer, too_large, cancelled.
[[nodiscard]] Result<SubmoduleResult> fetch_submodules(const SubmoduleRequest& request,
                                                       const std::stop_token& stop);

}  // namespace atlasflow::builder
