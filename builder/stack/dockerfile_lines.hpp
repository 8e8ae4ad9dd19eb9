// Cuts a Dockerfile into its instructions as Docker's own builder does: parser directives,
// continued lines, comments, here-documents and the flags behind an instruction's name. What the
// instructions mean is said in dockerfile.hpp. Internal to builder/stack; pure, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::builder {

// What stands between "<<NAME" and the line NAME.
struct HereDocument {
  std::string name;     // without quotes
  std::string content;  // whole lines, as they are
  bool expands = true;  // false: a part of the name was quoted
  bool strips = false;  // "<<-NAME": tabs at a line's start do not count
};

struct InstructionFlag {
  std::string text;       // "--mount=type=cache,target=/x", without the quotes that were around it
  std::string raw;        // as it is in the file
  bool is_given = false;  // of a secret's mount: the project has it, and this is its exact id

  // "--mount" and "type=cache,target=/x".
  [[nodiscard]] std::string_view name() const;
  [[nodiscard]] std::string_view value() const;
  [[nodiscard]] bool has_value() const { return text.find('=') != std::string::npos; }
};

struct Instruction {
  int line = 0;       // of the file, from 1
  int last_line = 0;  // where it ends, with its here-documents
  std::string name;   // in upper case
  std::vector<InstructionFlag> flags;
  std::string arguments;  // what is behind the flags, continued lines joined
  std::vector<HereDocument> documents;
};

struct DockerfileLines {
  char escape = '\\';  // or '`', by the directive "# escape=`"
  std::vector<Instruction> instructions;
};

// user_error: "line 3: " and what is wrong there. An instruction that Docker does not know is
// wrong.
[[nodiscard]] Result<DockerfileLines> read_instructions(std::string_view text);

// The instruction behind ONBUILD, with the lines of `outer`.
[[nodiscard]] Result<Instruction> read_trigger(const Instruction& outer);

// The strings of ["a", "b"]; nothing when the arguments are not in that form.
[[nodiscard]] bool is_json_list(std::string_view arguments);
[[nodiscard]] std::vector<std::string> read_json_list(std::string_view arguments);

[[nodiscard]] std::string lower_case(std::string_view text);
// nullopt: it is no number without a sign.
[[nodiscard]] std::optional<int> whole_number(std::string_view text);

// "line 3: why", as an error of the user.
[[nodiscard]] tl::unexpected<Error> wrong_line(int line, const std::string& why);

}  // namespace atlasflow::builder
