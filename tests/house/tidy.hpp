// The house rules of docs/style as code: looks at one source file's path and text and says what
// breaks a rule. Pure, so that the tests can feed it bad snippets; reading files is the caller's
// part.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace atlasflow::house {

struct SourceFile {
  std::string path;  // from the repository's root, "events/ids.hpp"
  std::string text;
};

struct Finding {
  std::string path;
  std::size_t line = 0;  // from 1; 0: the file as a whole
  std::string message;
};

// Every broken rule of the file, in line order within a rule.
[[nodiscard]] std::vector<Finding> check(const SourceFile& file);

// The README of a folder must hold a Markdown table, and must not name files that are not there.
// files: names of the folder's files, without the folder.
[[nodiscard]] std::vector<Finding> check_readme(const SourceFile& readme,
                                                const std::vector<std::string>& files);

// The text with comments and literals blanked out, line breaks kept: what rules about code look at.
[[nodiscard]] std::string code_only(std::string_view text);

// "events/ids.hpp:12: message", one finding a line.
[[nodiscard]] std::string to_string(const std::vector<Finding>& findings);

}  // namespace atlasflow::house
