#include "builder/stack/dockerfile_text.hpp"

#include <algorithm>

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_line_bytes_max = 32U << 10U;  // buildah's parser takes 64 KiB

std::string joined(const Instruction& instruction) {
  std::string text = instruction.name;
  for (const auto& flag : instruction.flags) text += " " + flag.raw;
  return instruction.arguments.empty() ? text : text + " " + instruction.arguments;
}

// Cut where what follows neither looks like a comment nor begins with a space, which would be lost.
std::vector<std::string> lines_of(std::string text, char escape) {
  std::vector<std::string> lines;
  while (text.size() > k_line_bytes_max) {
    std::size_t at = k_line_bytes_max;
    while (at > 1 &&
           (text[at] == '#' || text[at] == ' ' || text[at] == '\t' || text[at - 1] == escape)) {
      --at;
    }
    lines.push_back(text.substr(0, at) + escape);
    text.erase(0, at);
  }
  lines.push_back(std::move(text));
  return lines;
}

}  // namespace

Result<std::string> write_instructions(const std::vector<Instruction>& instructions, char escape) {
  std::string out;
  int line = 1;
  if (escape != '\\') {
    out = std::string("# escape=") + escape + "\n";
    ++line;
  }
  for (const auto& instruction : instructions) {
    for (; line < instruction.line; ++line) out += '\n';
    const auto text = joined(instruction);
    if (text.back() == escape) {
      return wrong_line(instruction.line, "an instruction may not end with an escaped " +
                                              std::string(1, escape) + "; put quotes around it");
    }
    for (const auto& each : lines_of(text, escape)) {
      out += each + "\n";
      ++line;
    }
    for (const auto& document : instruction.documents) {
      out += document.content + document.name + "\n";
      line +=
          1 + static_cast<int>(std::count(document.content.begin(), document.content.end(), '\n'));
    }
  }
  return out;
}

}  // namespace atlasflow::builder
