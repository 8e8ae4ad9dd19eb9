// COPY --parents, which the toolchain's buildah does not know: a stage of its own runs the program
// of builder/copy_parents over what is copied of and over the image so far, and a plain COPY lays
// the result over the image. Internal to builder/stack; pure, any thread.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/dockerfile_lines.hpp"
#include "builder/stack/dockerfile_scope.hpp"

namespace atlasflow::builder {

// The build context that holds the program.
inline constexpr const char* k_copy_parents_context = "atlasflow-copy-parents";
inline constexpr const char* k_copy_parents_program = "atlasflow-copy-parents";

[[nodiscard]] bool has_parents(const Instruction& instruction);

// One COPY --parents, with what its variables are worth.
struct ParentsCopy {
  std::string from;  // the stage or image, as buildah is to be told it; empty: the context
  std::vector<std::string> sources;
  std::vector<std::string> excludes;
  std::string destination;
  // Else the destination is told from a WORKDIR that only the base image knows.
  bool has_whole_destination = false;
  std::string owner;    // "": not set
  std::string mode;     // "": not set
  VariableValues args;  // of the stage, before it
};

// `from`: what --from means. user_error: what is known only when it is built, or has no parents.
[[nodiscard]] Result<ParentsCopy> read_parents(const Instruction& instruction,
                                               DockerfileScope& scope, const StageScope& stage,
                                               char escape, std::string from);

struct StageText {
  std::string base;                            // what FROM names
  std::string label;                           // what the stage is to be called
  std::vector<Instruction> instructions;       // FROM is the first
  std::map<std::size_t, ParentsCopy> parents;  // by the place among the instructions
};

// The stage for buildah, cut in two at each COPY --parents: the program has to see what is there
// already. `count`: of such instructions so far, which the added stages are named by.
// `replaced`: what stands for the instruction, and for the stage's FROM, by its line.
[[nodiscard]] Result<std::vector<Instruction>> without_parents(
    const StageText& stage, const std::vector<std::pair<std::string, std::string>>& build_args,
    char escape, std::size_t& count, std::map<int, Instruction>& replaced);

}  // namespace atlasflow::builder
