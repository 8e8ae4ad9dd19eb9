// Names of images that a Dockerfile starts from: what they mean, and which it may not name. Pure;
// any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::builder {

// "debian" -> "docker.io/library/debian:latest", "ghcr.io/x/y@sha256:…" as it is.
[[nodiscard]] std::string full_image_name(std::string_view name);

// user_error when it is no name of an image: upper case in the path, a tag with odd characters.
[[nodiscard]] Result<void> check_image_name(std::string_view name);

// user_error when a Dockerfile may not start from this image: images of this server's other
// projects, and registries on addresses that only this machine or its network can reach.
[[nodiscard]] Result<void> check_base_image(std::string_view full_name);

}  // namespace atlasflow::builder
