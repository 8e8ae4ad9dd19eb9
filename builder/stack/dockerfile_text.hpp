// Writes instructions back as the text that buildah reads. buildah's own parser differs from
// Docker's in the corners (directives, escaped escapes, comments between continued lines), so it
// gets one line an instruction, where nothing of that is left. Internal to builder/stack; pure.
#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/dockerfile_lines.hpp"

namespace atlasflow::builder {

// One line, without its here-documents.
[[nodiscard]] std::string write_instruction(const Instruction& instruction);

// Each instruction starts on the line that it has in the file, so that lines have the same numbers.
// user_error: an instruction ends with two escape characters, which buildah would take for one.
[[nodiscard]] Result<std::string> write_instructions(const std::vector<Instruction>& instructions,
                                                     char escape);

}  // namespace atlasflow::builder
