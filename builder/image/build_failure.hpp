// Turns what buildah printed into an Error that says whose fault it is. Internal to builder/; pure.
#pragma once

#include <string_view>

#include "base/error.hpp"

namespace atlasflow::builder {

// `output`: the end of the build's output. `out_of_memory`: the kernel ended a process of the
// build.
[[nodiscard]] Error build_failure(std::string_view output, int exit_code, bool out_of_memory,
                                  std::int64_t memory_limit_mib);

// Why an image that a Dockerfile starts from could not be had.
[[nodiscard]] Error pull_failure(std::string_view image, std::string_view output);

}  // namespace atlasflow::builder
