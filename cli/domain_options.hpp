// The verbs of users' own domains on the command line. Main's thread.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/command_line.hpp"

namespace atlasflow::cli {

// domains add, list, check, cert with upload and remove, redirect, retry, account rollover and
// remove.
void add_domain_verbs(CLI::App& app, Command& chosen);

}  // namespace atlasflow::cli
