// The verbs that work beside the API: the server and the edge themselves, and what reads a state
// folder. Called from main's thread; server and edge block it until SIGTERM or SIGINT.
#pragma once

#include "cli/command_line.hpp"
#include "cli/verbs.hpp"
#include "server/config.hpp"

namespace atlasflow::cli {

// What a server runs with: the file's settings, and over them what the command line says.
[[nodiscard]] Result<server::ServerConfig> config_of(const ServerCommand& command,
                                                     const Connection& connection);

// 0 after a clean stop; 2 when the configuration is wrong; 1 when a part can't be started. The edge
// and the microVMs run on when the server stops, and the next server over the same folder takes
// them up again.
int run(const ServerCommand& command, const Connection& connection, const Terminal& terminal);

// The data plane, in the process that a server starts for it: until SIGTERM, or until another takes
// its place.
int run(const EdgeCommand& command, const Connection& connection, const Terminal& terminal);

// Ends what outlives a server: the edge, the microVMs and a registry that was left behind. 2 while
// a server runs on the folder.
int run(const HaltCommand& command, const Connection& connection, const Terminal& terminal);

// Walks the event log in the state folder, beside a running server or without one.
int run(const LogVerifyCommand& command, const Connection& connection, const Terminal& terminal);

// What a deployment would make of a folder. 2 when it would make nothing of it. Needs no server.
int run(const DetectCommand& command, const Connection& connection, const Terminal& terminal);

// Runs the server in a simulated world: 0 when every run held, 1 when one did not. Needs neither a
// server nor a state folder. Forks, so there must be no other thread.
int run(const SimulateCommand& command, const Connection& connection, const Terminal& terminal);

}  // namespace atlasflow::cli
