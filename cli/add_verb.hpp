// How a verb is put on the command line. Main's thread.
#pragma once

#include <memory>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/command_line.hpp"

namespace atlasflow::cli {

// Adds a verb whose options fill `command`, which becomes the answer when the verb is the one
// given.
template <typename T>
CLI::App* add_verb(CLI::App& parent, Command& chosen, const std::shared_ptr<T>& command,
                   const std::string& name, const std::string& description) {
  auto* verb = parent.add_subcommand(name, description);
  verb->callback([&chosen, command] { chosen = *command; });
  return verb;
}

template <typename T>
void add_json(CLI::App* verb, const std::shared_ptr<T>& command) {
  verb->add_flag("--json", command->json, "Print the server's JSON answer");
}

}  // namespace atlasflow::cli
