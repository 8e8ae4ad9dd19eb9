// Turns what buildah printed into an Error that says whose fault it is. Internal to builder/; pure.
#pragma once

#include <string_view>

#include "base/error.hpp"

namespace atlasflow::builder {

struct BuildEnd {
  std::string_view output;  // the end of it
  int exit_code = 0;
  bool out_of_memory = false;  // the kernel ended a process of the build
  std::int64_t memory_limit_mib = 0;
  std::string_view dockerfile;  // to name the line; empty: the user has none
};

// A step's exit code is the error's exit_code.
[[nodiscard]] Error build_failure(const BuildEnd& end);

// Why an image that a Dockerfile starts from could not be had.
[[nodiscard]] Error pull_failure(std::string_view image, std::string_view output);

}  // namespace atlasflow::builder
