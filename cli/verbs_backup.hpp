// What the verbs of backups do and print, from main's thread. 0: done; 1: damage was found; 2: what
// was asked for does not fit what is there; 75: the disk is full.
#pragma once

#include "cli/command_line.hpp"
#include "cli/verbs.hpp"

namespace atlasflow::cli {

int run(const BackupCommand& command, const Connection& connection, const Terminal& terminal);
int run(const RestoreCommand& command, const Connection& connection, const Terminal& terminal);
int run(const LogExportCommand& command, const Connection& connection, const Terminal& terminal);
int run(const LogImportCommand& command, const Connection& connection, const Terminal& terminal);
// While no server runs on the state folder.
int run(const LogRebuildCommand& command, const Connection& connection, const Terminal& terminal);

}  // namespace atlasflow::cli
