// The verbs of the GitHub App on the command line. Main's thread.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command_line.hpp"

namespace atlasflow::cli {

// github connect, status and disconnect.
void add_github_verbs(CLI::App& app, Command& chosen);

}  // namespace atlasflow::cli
