// The root file system that builds run in, with a buildah and crun of its own, made by
// script/bootstrap. Internal to builder/; any thread.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace atlasflow::builder {

inline constexpr const char* k_toolchain_root = "/usr/lib/atlasflow/toolchain";

struct Toolchain {
  std::filesystem::path root;
  std::string versions;  // "buildah 1.39.3+ds1-1+b7, crun 1.21-1": of Debian's packages
  std::string seccomp;   // the profile of steps: the toolchain's own, as strict as Docker's
};

// unavailable says that script/bootstrap makes it.
[[nodiscard]] Result<Toolchain> find_toolchain(const std::filesystem::path& root);

}  // namespace atlasflow::builder
