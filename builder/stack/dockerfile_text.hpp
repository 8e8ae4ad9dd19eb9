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

// Behind what the stage says of it, so that it is what counts. An entry point would take the
// command for its arguments.
void add_start(std::vector<Instruction>& instructions, const std::vector<std::string>& start);

// Each instruction starts on the line that it has in the file, or later when those before it
// take more.
// user_error: an instruction ends with two escape characters, which buildah would take for one.
[[nodiscard]] Result<std::string> write_instructions(const std::vector<Instruction>& instructions,
                                                     char escape);

}  // namespace atlasflow::builder
