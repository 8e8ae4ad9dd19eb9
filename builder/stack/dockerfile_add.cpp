#include "builder/stack/dockerfile_add.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "builder/stack/dockerfile_rules.hpp"
#include "builder/stack/dockerfile_variables.hpp"

namespace atlasflow::builder {

namespace {

std::vector<std::string> sources_of(const Instruction& instruction, char escape) {
  auto words = is_json_list(instruction.arguments) ? read_json_list(instruction.arguments)
                                                   : split_words(instruction.arguments, escape);
  if (!words.empty()) words.pop_back();
  return words;
}

}  // namespace

Result<void> check_copied(const Instruction& instruction, const DockerfileScope& scope,
                          const StageScope& stage, char escape) {
  for (const auto& word : sources_of(instruction, escape)) {
    ATLAS_TRY(auto source, scope.expand(word, instruction.line, stage));
    if (is_git_source(source.text) || is_remote_source(source.text)) {
      return wrong_line(instruction.line, "COPY takes no URL (" + source.text.substr(0, 100) +
                                              "): ADD fetches files");
    }
  }
  return {};
}

Result<bool> adds_remote_files(const Instruction& instruction, const DockerfileScope& scope,
                               const StageScope& stage, char escape) {
  const auto words = sources_of(instruction, escape);
  const bool has_checksum =
      std::any_of(instruction.flags.begin(), instruction.flags.end(),
                  [](const InstructionFlag& flag) { return flag.name() == "--checksum"; });
  bool is_told = true;
  for (const auto& word : words) {
    ATLAS_TRY(auto source, scope.expand(word, instruction.line, stage));
    if (is_git_source(source.text)) {
      return wrong_line(instruction.line,
                        "ADD of a Git repository (" + source.text.substr(0, 100) +
                            ") is not supported; git clone in a RUN step, or make it a submodule");
    }
    const bool is_remote = !source.missing.empty() || is_remote_source(source.text);
    is_told = is_told && (!is_remote || has_checksum);
  }
  return !is_told;
}

}  // namespace atlasflow::builder
