// The verbs of the server's own certificate authority on the command line. Main's thread.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command_line.hpp"

namespace atlasflow::cli {

// ca export and ca trust.
void add_ca_verbs(CLI::App& app, Command& chosen);

}  // namespace atlasflow::cli
