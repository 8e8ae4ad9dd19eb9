// Where RUN --mount puts something, and what buildah is to call a mounted part of the build
// context. Internal to builder/stack; pure but for the function that it is given, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/dockerfile.hpp"
#include "builder/stack/dockerfile_lines.hpp"
#include "builder/stack/dockerfile_rules.hpp"

namespace atlasflow::builder {

// A relative target from the working folder: Docker starts there, crun from the root or not at all.
// flag: for the message. user_error: the working folder is the base image's.
[[nodiscard]] Result<void> write_out_target(int line, std::string_view flag,
                                            std::vector<MountOption>& options,
                                            const std::optional<std::string>& work_folder);

// Each mount of the context in the instruction gets `from=` the name of that part, when it has one,
// and loses its type: with it, buildah would count the files' times in the layer's cache key, which
// differ in each checkout. Without it the key is the instruction's text, and so the name. Adds the
// names to `named`, each once, and names nothing more once there are 100.
[[nodiscard]] Result<void> name_mounted_parts(Instruction& instruction,
                                              const NameOfPart& name_of_part,
                                              std::vector<std::string>& named);

}  // namespace atlasflow::builder
