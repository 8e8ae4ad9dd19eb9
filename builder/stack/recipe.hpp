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
// Debian packages; nothing when there are none.
void install_packages(PlanStage& stage, const std::vector<std::string>& packages);
// Certificate authorities for a bare Debian, from a stage that has them.
[[nodiscard]] CopyStep copy_authorities(const std::string& from);
// For sh: copies the shared libraries of a program, but for the C library's, to /out/lib.
[[nodiscard]] std::string gather_libraries(const std::string& program);
// What runs a compiled program of /out/bin: a bare Debian with that, its libraries and the
// repository's other files.
[[nodiscard]] PlanStage compiled_app_stage();

// "bash", "zsh" or "sh", by the first line of start.sh.
[[nodiscard]] std::string start_script_shell(const SourceTree& tree);

// Sets what starts the app: what Procfile says, else `own` for sh, else a start.sh. false: none.
[[nodiscard]] bool set_start(Plan& plan, const ProviderInput& input, const std::string& own,
                             const std::string& why);

// A package.json with a build script beside another language: a stage "assets" with what that
// makes. Returns where the sources come from: a copy of the context, or of that stage.
[[nodiscard]] Result<CopyStep> copy_sources(Plan& plan, const ProviderInput& input);

}  // namespace atlasflow::builder
