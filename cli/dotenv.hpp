// Reads environment variables as users write them: NAME=VALUE arguments and .env files. Pure; any
// thread. An error names the line or the argument and never quotes a value, which may be a secret.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::cli {

using Variables = std::vector<std::pair<std::string, std::string>>;

// One NAME=VALUE a line. Empty lines and lines that start with '#' are skipped; "export " before
// the name is dropped. A value is bare (up to " #" or the line's end, white space around it
// dropped), 'literal', `literal`, or "with \n \r \t \" \\ \$"; the quoted ones may go over lines,
// which then end with LF whatever the file has. Nothing is expanded: ${OTHER} stays as it is. A
// name given twice has its last value.
struct Dotenv {
  Variables variables;
  std::vector<std::string> left_out;  // PORT, HOST: Atlasflow sets them itself
};
[[nodiscard]] Result<Dotenv> parse_dotenv(std::string_view text);

// "NAME=VALUE" arguments; the value is taken as it is.
[[nodiscard]] Result<Variables> parse_assignments(const std::vector<std::string>& arguments);

}  // namespace atlasflow::cli
