// A .dockerignore as Docker reads it, in a form that buildah reads the same way. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::builder {

// One pattern a line, without comments, spaces and slashes around it, "./" and "..". buildah takes
// those as parts of the pattern, most of all behind a "!". user_error, with `name` and the line: a
// pattern that Docker refuses.
[[nodiscard]] Result<std::string> plain_ignore_file(std::string_view text, const std::string& name);

}  // namespace atlasflow::builder
