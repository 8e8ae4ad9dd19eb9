// Modes of COPY and ADD, of which buildah takes octal ones only. Internal to builder/stack; pure,
// any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "builder/stack/dockerfile_lines.hpp"

namespace atlasflow::builder {

// What buildah is to be told for --chmod=mode: octal digits, or "" when everything has such a mode
// already. A symbolic mode ("u=rwX,go=rX", chmod(1)) is told in octal when it makes one and the
// same of whatever it is used on. is_of_checkout: on what is in the context, whose files have mode
// 644 or 755 and whose folders have 755, as tree_writer makes them. user_error with the line: it
// is no mode, or makes several.
[[nodiscard]] Result<std::string> mode_for_buildah(int line, std::string_view mode,
                                                   bool is_of_checkout);

// Writes --chmod of the instruction as buildah is to be told it. value_of: of the flag's text;
// nullopt: it is not known, and buildah puts it in.
[[nodiscard]] Result<void> write_out_modes(
    Instruction& instruction,
    const std::function<Result<std::optional<std::string>>(std::string_view)>& value_of);

}  // namespace atlasflow::builder
