// What the instructions of a Dockerfile say of the image that comes of it. Internal to
// builder/stack; pure, any thread.
#pragma once

#include <functional>
#include <string_view>

#include "base/error.hpp"
#include "builder/stack/dockerfile.hpp"
#include "builder/stack/dockerfile_lines.hpp"
#include "builder/stack/dockerfile_variables.hpp"

namespace atlasflow::builder {

using ExpandInStage = std::function<Result<ExpandedWord>(std::string_view word)>;

// Takes EXPOSE, VOLUME, HEALTHCHECK and STOPSIGNAL into `facts`; every other instruction says
// nothing. user_error with the line.
[[nodiscard]] Result<void> take_fact(const Instruction& instruction, char escape,
                                     const ExpandInStage& expand, DockerfileFacts& facts);

}  // namespace atlasflow::builder
