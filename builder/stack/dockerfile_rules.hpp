// Which names, platforms and flags the instructions of a Dockerfile may have, and which of them
// buildah is not given. Internal to builder/stack; pure, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/dockerfile_lines.hpp"

namespace atlasflow::builder {

// "scratch" and "context" mean something else; where stages of ours come between, their names do.
[[nodiscard]] Result<void> check_stage_name(int line, const std::string& name, bool has_parents);
// Of a flag that is true or false: "--link", "--link=true".
[[nodiscard]] bool is_on(const InstructionFlag& flag);
// Whether --platform asks for what this machine builds and runs.
[[nodiscard]] bool is_this_platform(std::string_view platform);

// Of --chmod: buildah takes no other.
[[nodiscard]] bool is_octal_mode(std::string_view mode);
// What Docker takes for a Git repository among the sources of ADD.
[[nodiscard]] bool is_git_source(std::string_view source);
// ADD fetches it.
[[nodiscard]] bool is_remote_source(std::string_view source);

// key=value pairs of RUN --mount, keys in lower case.
struct MountOption {
  std::string key;
  std::string value;
};
[[nodiscard]] std::vector<MountOption> mount_options(std::string_view value);
// "" when it has none.
[[nodiscard]] std::string mount_option(const std::vector<MountOption>& options,
                                       std::string_view key);
// Docker's size of a tmpfs is tmpfs-size there, and "ro" takes no "=true".
void name_as_buildah_does(std::vector<MountOption>& options);
// The flag that says these, quoted as buildah reads it.
[[nodiscard]] InstructionFlag mount_flag(const std::vector<MountOption>& options);

// user_error with the line: a flag that Docker does not know for this instruction, one without its
// value, one that asks for what a build here cannot give.
[[nodiscard]] Result<void> check_flags(const Instruction& instruction);

// The same of what is behind the flags, where it can be told before variables have values.
[[nodiscard]] Result<void> check_arguments(const Instruction& instruction, char escape);

// What RUN --mount=type=secret asks for, by Docker's rules.
struct SecretMount {
  std::string name;    // empty: it says neither id nor target
  std::string target;  // where the step finds the file
  bool is_required = false;
  bool is_variable = false;  // env=NAME: the step wants it as a variable
};
// Why a step that requires it cannot run.
[[nodiscard]] std::string missing_secret(const std::string& name, const std::string& project,
                                         bool is_of_fork);
// nullopt: it is a mount of another type.
[[nodiscard]] std::optional<SecretMount> secret_mount(const std::vector<MountOption>& options);

// nullopt: buildah gets the flag. Else it is left out, and the log says why; "" when it asks for
// nothing but what is done anyway.
[[nodiscard]] std::optional<std::string> left_out_because(const Instruction& instruction,
                                                          const InstructionFlag& flag,
                                                          bool is_of_fork);

}  // namespace atlasflow::builder
