// What COPY --parents does, by the rules of Docker's own builder (BuildKit's file operations and
// fsutil's copy): a program of its own, which a build step runs. It writes what is to be laid over
// the image, with the folders that the image has already as they are there. What the ignore file
// names is not there for it: the sandbox hides it (builder/image/ignored_files.hpp). One thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::copy_parents {

struct CopyRequest {
  std::filesystem::path from;        // what is copied of
  std::filesystem::path before;      // the image as it is, read only; empty: it has nothing yet
  std::filesystem::path out;         // made; laid over the image's root afterwards
  std::string destination;           // a folder of the image, from its root
  std::vector<std::string> sources;  // in each, "/./" is where the kept folders begin
  std::vector<std::string> excludes = {};
  std::optional<std::string> owner = {};  // "user[:group]", by name or number
  std::optional<unsigned> mode = {};      // of all that is made, in place of the source's
  bool is_root_owned = false;             // whatever owner the files have
};

// user_error: a source that is not there (unless it has wildcards), an owner whom the image does
// not know, a file where a folder should be; internal: what the disk says.
[[nodiscard]] Result<void> copy_with_parents(const CopyRequest& request);

}  // namespace atlasflow::copy_parents
