// Steps and stages that the plans of several providers have in common. Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "builder/stack/provider.hpp"

namespace atlasflow::builder {

// Notes in the plan which base a stage starts from: its version and why, its notices, its lack.
[[nodiscard]] Result<ChosenBase> take_base(Plan& plan, const ProviderInput& input,
                                           std::string_view language,
                                           const std::vector<VersionWish>& wishes);

// The stage "build" in /app, with the project's build arguments.
[[nodiscard]] PlanStage build_stage(const ProviderInput& input, const std::string& base);
// The last stage, with PORT and a folder /app that belongs to the app's user.
[[nodiscard]] PlanStage app_stage(const std::string& base,
                                  std::vector<std::pair<std::string, std::string>> variables);

// A command with folders that stay from one build to the next: downloads, compiled objects.
[[nodiscard]] RunStep cached_run(const std::string& command,
                                 const std::vector<std::string>& folders);
// The setting install_command or build_command in place of `own`, with the mounts of that; without
// the setting `own`, and nothing when its command is empty.
void add_install(PlanStage& stage, const ProviderInput& input, RunStep own);
void add_build(PlanStage& stage, const ProviderInput& input, RunStep own);
// Whether either is set, so that there must be a stage that runs it.
[[nodiscard]] bool has_own_steps(const StackChoice& choice);
// One line for sh, as what stands behind RUN: whatever the Dockerfile's own syntax would take for
// itself (a flag, a list, a here-document, a continued line) is between quotes.
[[nodiscard]] std::string run_text(const std::string& command);
// "sh -c 'COMMAND'", which may stand between others.
[[nodiscard]] std::string quoted_for_sh(const std::string& command);
// Debian packages; nothing when there are none.
void install_packages(PlanStage& stage, const std::vector<std::string>& packages);
// Certificate authorities for a bare Debian, from a stage that has them.
[[nodiscard]] CopyStep copy_authorities(const std::string& from);
// For sh: copies the shared libraries of a program, but for the C library's, to /out/lib.
[[nodiscard]] std::string gather_libraries(const std::string& program);
// The same for what a build_command has made, wherever that is below /app and /out.
[[nodiscard]] std::string gather_all_libraries();
// What runs a compiled program of /out/bin: a bare Debian with that, its libraries and the
// repository's other files; with a build_command, all that it left in /app.
[[nodiscard]] PlanStage compiled_app_stage(const ProviderInput& input);

// What a build has put into /out becomes the app's folder; with a build_command also all that it
// left in /app.
void copy_result(PlanStage& build, PlanStage& last, const ProviderInput& input);

// "bash", "zsh" or "sh", by the first line of start.sh.
[[nodiscard]] std::string start_script_shell(const SourceTree& tree);

// Sets what starts the app: what start_command or Procfile says, else `own` for sh, else a
// start.sh. false: none.
[[nodiscard]] bool set_start(Plan& plan, const ProviderInput& input, const std::string& own,
                             const std::string& why);

// A package.json with a build script beside another language: a stage "assets" with what that
// makes. Returns where the sources come from: a copy of the context, or of that stage.
[[nodiscard]] Result<CopyStep> copy_sources(Plan& plan, const ProviderInput& input);

}  // namespace atlasflow::builder
