// The verbs of variables and build secrets on the command line. Main's thread.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command_line.hpp"

namespace atlasflow::cli {

// env set, list and unset.
void add_env_verbs(CLI::App& app, Command& chosen);

// build-secret set, list and unset.
void add_build_secret_verbs(CLI::App& app, Command& chosen);

}  // namespace atlasflow::cli
