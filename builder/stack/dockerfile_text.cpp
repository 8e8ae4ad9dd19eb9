#include "builder/stack/dockerfile_text.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_line_bytes_max = 32U << 10U;  // buildah's parser takes 64 KiB

// Cut where what follows neither looks like a comment nor begins with a space, which would be lost.
// nullopt: there is no such place.
std::optional<std::vector<std::string>> lines_of(std::string_view text, char escape) {
  std::vector<std::string> lines;
  while (text.size() > k_line_bytes_max) {
    std::size_t at = k_line_bytes_max;
    while (at > 0 &&
           (text[at] == '#' || text[at] == ' ' || text[at] == '\t' || text[at - 1] == escape)) {
      --at;
    }
    if (at == 0) return std::nullopt;
    lines.push_back(std::string(text.substr(0, at)) + escape);
    text.remove_prefix(at);
  }
  lines.emplace_back(text);
  return lines;
}

}  // namespace

std::string write_instruction(const Instruction& instruction) {
  std::string text = instruction.name;
  for (const auto& flag : instruction.flags) text += " " + flag.raw;
  if (instruction.arguments.empty()) return text;
  // "--" ended the flags; what is behind it may look like one.
  return text + (instruction.arguments.starts_with("--") ? " -- " : " ") + instruction.arguments;
}

void add_start(std::vector<Instruction>& instructions, const std::vector<std::string>& start) {
  const int line = instructions.back().last_line;
  const auto command =
      nlohmann::json(start).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  instructions.push_back({line, line, "ENTRYPOINT", {}, "[]", {}});
  instructions.push_back({line, line, "CMD", {}, command, {}});
}

Result<std::string> write_instructions(const std::vector<Instruction>& instructions, char escape) {
  std::string out;
  int line = 1;
  if (escape != '\\') {
    out = std::string("# escape=") + escape + "\n";
    ++line;
  }
  for (const auto& instruction : instructions) {
    for (; line < instruction.line; ++line) out += '\n';
    const auto text = write_instruction(instruction);
    if (text.back() == escape) {
      return wrong_line(instruction.line, "an instruction may not end with an escaped " +
                                              std::string(1, escape) + "; put quotes around it");
    }
    const auto lines = lines_of(text, escape);
    if (!lines) return wrong_line(instruction.line, "there are more than 32 KiB without a word");
    for (const auto& each : *lines) {
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
