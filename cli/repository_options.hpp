// The verbs of what a project's repository is opened with, and of what signs its webhooks, on the
// command line. Main's thread.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command_line.hpp"

namespace atlasflow::cli {

// project deploy-key, host-key, login and webhook-secret.
void add_repository_verbs(CLI::App& project, Command& chosen);

}  // namespace atlasflow::cli
