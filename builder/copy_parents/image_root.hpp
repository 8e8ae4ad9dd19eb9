// Paths and accounts of an image whose files lie in a folder here. Any thread.
#pragma once

#include <filesystem>
#include <string>

#include <sys/types.h>

#include "base/error.hpp"

namespace atlasflow::copy_parents {

struct Owner {
  uid_t user = 0;
  gid_t group = 0;
};

// "name" in the root ("").
[[nodiscard]] std::string joined(const std::string& folder, const std::string& name);

// Where `path` leads from the image's root, with its links followed and never out of it; what is
// not there is taken as it is written. user_error: links without end.
[[nodiscard]] Result<std::string> resolved(const std::filesystem::path& root,
                                           const std::string& path);

// "user[:group]", each a name of the image's or a number; a user's group is its own, and a number
// stands for both. user_error: the image does not know the name.
[[nodiscard]] Result<Owner> owner_of(const std::filesystem::path& root, const std::string& text);

}  // namespace atlasflow::copy_parents
