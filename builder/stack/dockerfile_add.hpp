// The sources of ADD that are not in the context, and of COPY, which takes no such. Internal to
// builder/stack; pure, any thread.
#pragma once

#include "base/error.hpp"
#include "builder/stack/dockerfile_lines.hpp"
#include "builder/stack/dockerfile_scope.hpp"

namespace atlasflow::builder {

// Whether it fetches something that no checksum tells, so that each build asks for it anew.
// user_error: a Git repository. Without git, which the toolchain has not, buildah would add
// whatever folder it is in.
[[nodiscard]] Result<bool> adds_remote_files(const Instruction& instruction,
                                             const DockerfileScope& scope, const StageScope& stage,
                                             char escape);

// user_error: COPY of a URL, which Docker refuses.
[[nodiscard]] Result<void> check_copied(const Instruction& instruction,
                                        const DockerfileScope& scope, const StageScope& stage,
                                        char escape);

}  // namespace atlasflow::builder
