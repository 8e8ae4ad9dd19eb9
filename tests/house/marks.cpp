#include "tests/house/marks.hpp"

#include <algorithm>
#include <array>
#include <map>

namespace atlasflow::house {
namespace {

constexpr std::array<std::string_view, 2> k_marks = {"ATLAS_PROBE(", "ATLAS_BUGGIFY("};

struct Mark {
  std::size_t line = 0;
  std::string words;
};

// The literals from there on, put together.
std::string literals_of(std::string_view text) {
  std::string words;
  bool inside = false;
  for (const char c : text) {
    if (c == '"') {
      inside = !inside;
    } else if (inside) {
      words += c;
    }
  }
  return words;
}

// code: the text with comments and literals blank. at: behind the opening parenthesis.
std::string last_argument(std::string_view text, std::string_view code, std::size_t at) {
  std::size_t begin = at;
  int depth = 1;
  for (; at < code.size(); ++at) {
    if (code[at] == '(') ++depth;
    if (code[at] == ')' && --depth == 0) break;
    if (code[at] == ',' && depth == 1) begin = at;
  }
  return literals_of(text.substr(begin, at - begin));
}

bool defines_macro(std::string_view code, std::size_t at) {
  const auto line_begin = code.rfind('\n', at);
  return code.substr(line_begin == std::string_view::npos ? 0 : line_begin + 1).starts_with('#');
}

std::vector<Mark> marks_of(std::string_view text) {
  const auto code = code_only(text);
  std::vector<Mark> marks;
  for (const auto macro : k_marks) {
    for (auto at = code.find(macro); at != std::string::npos; at = code.find(macro, at + 1)) {
      if (defines_macro(code, at)) continue;
      const auto line =
          std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n');
      marks.push_back(
          {static_cast<std::size_t>(line) + 1, last_argument(text, code, at + macro.size())});
    }
  }
  return marks;
}

}  // namespace

std::vector<Finding> check_marks(const std::vector<SourceFile>& files) {
  std::vector<Finding> findings;
  std::map<std::string, std::string> first_place;
  for (const auto& file : files) {
    for (const auto& mark : marks_of(file.text)) {
      if (file.path.ends_with(".hpp")) {
        findings.push_back({file.path, mark.line, "a probe or a buggify site in a header"});
      }
      if (mark.words.empty()) {
        findings.push_back({file.path, mark.line, "a mark without words"});
        continue;
      }
      const auto place = file.path + ":" + std::to_string(mark.line);
      const auto [known, fresh] = first_place.try_emplace(mark.words, place);
      if (!fresh)
        findings.push_back({file.path, mark.line, "says what " + known->second + " says"});
    }
  }
  return findings;
}

}  // namespace atlasflow::house
