// Reads of a Dockerfile only what must be known before buildah does: which images it starts from.
// Everything else stays with buildah. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::builder {

// The images that must be in the local store before the build: FROM (but not an earlier stage or
// scratch), COPY --from, ADD --from and RUN --mount=from, each once, with the ARGs before the first
// FROM put in. A name whose variable has no value is left out: buildah says what is wrong with it.
[[nodiscard]] std::vector<std::string> images_named_by(
    std::string_view dockerfile,
    const std::vector<std::pair<std::string, std::string>>& build_args);

// The names of the stages, in order and as written; a stage without a name has its number ("0").
[[nodiscard]] std::vector<std::string> stages_of(std::string_view dockerfile);

// What `--target` must be for the stage that `name` means: a name in any case, or a number.
// user_error lists the stages.
[[nodiscard]] Result<std::string> find_stage(std::string_view dockerfile, const std::string& name);

// "debian" -> "docker.io/library/debian:latest", "ghcr.io/x/y@sha256:…" as it is.
[[nodiscard]] std::string full_image_name(std::string_view name);

// user_error when a Dockerfile may not start from this image: images of this server's other
// projects, and registries on addresses that only this machine or its network can reach.
[[nodiscard]] Result<void> check_base_image(std::string_view full_name);

}  // namespace atlasflow::builder
