// The verbs of backups on the command line. Main's thread.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command_line.hpp"

namespace atlasflow::cli {

// backup and restore.
void add_backup_verbs(CLI::App& app, Command& chosen);
// log export, log import and log rebuild.
void add_log_copy_verbs(CLI::App& log, Command& chosen);

}  // namespace atlasflow::cli
