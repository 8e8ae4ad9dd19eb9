// The values of a Dockerfile's variables, by the scoping rules of Docker's own builder: ARG before
// the first FROM, ARG, ENV and WORKDIR in a stage, build arguments of the project and those that
// the platform sets. Internal to builder/stack; one thread per object.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/dockerfile_lines.hpp"
#include "builder/stack/dockerfile_variables.hpp"

namespace atlasflow::builder {

using VariableValues = std::map<std::string, std::string, std::less<>>;

// What a stage has set so far. What its base image sets is not known here.
struct StageScope {
  VariableValues args;
  VariableValues env;
  std::optional<std::string> work_folder;  // nullopt: the base image's
};

class DockerfileScope {
 public:
  DockerfileScope(const std::vector<std::pair<std::string, std::string>>& build_args,
                  const std::string& target, char escape);

  // Before the first FROM, and in FROM itself.
  [[nodiscard]] Result<ExpandedWord> expand(std::string_view word, int line) const;
  // In a stage, where ENV wins over ARG, whichever comes later.
  [[nodiscard]] Result<ExpandedWord> expand(std::string_view word, int line,
                                            const StageScope& stage) const;

  // An ARG before the first FROM.
  [[nodiscard]] Result<void> declare(Instruction& arg);
  // An ARG, ENV or WORKDIR of the stage.
  [[nodiscard]] Result<void> take(Instruction& instruction, StageScope& stage);
  // What of the instruction's variables buildah would read in another way than Docker becomes their
  // values; these two do the same of theirs.
  [[nodiscard]] Result<void> put_in(Instruction& instruction, const StageScope& stage);
  // Of a stage that starts from another one.
  [[nodiscard]] Result<StageScope> inherit(const StageScope& parent, int line);

 private:
  Result<ExpandedWord> expand(std::string_view word, int line, const VariableLookup& lookup) const;
  Result<void> charge(std::size_t bytes, int line);
  Result<void> set(VariableValues& values, const std::string& name, std::string value, int line);
  Result<void> declare(Instruction& arg, StageScope* stage);
  [[nodiscard]] Result<std::string> plain_arg(const Instruction& arg,
                                              const VariableValues& values) const;
  Result<void> take_env(const Instruction& instruction, StageScope& stage);
  Result<void> take_work_folder(const Instruction& instruction, StageScope& stage);

  char escape_;
  VariableValues given_;  // the project's build arguments
  VariableValues globals_;
  std::size_t bytes_ = 0;  // of all values of all stages
};

// NAME="value", as ARG takes it; with its line, when the value would begin another instruction.
[[nodiscard]] Result<std::string> arg_with_value(int line, const std::string& name,
                                                 const std::string& value);

// Where `path` leads from the folder, without a slash at its end.
[[nodiscard]] std::string path_from(const std::string& folder, const std::string& path);

}  // namespace atlasflow::builder
