// What the verbs of time travel do and print. Each reads a log, from main's thread, and changes
// nothing. 0: done; 1: the log is damaged; 2: what was asked for does not exist.
#pragma once

#include "cli/command_line.hpp"
#include "cli/verbs.hpp"

namespace atlasflow::cli {

int run(const LogTailCommand& command, const Connection& connection, const Terminal& terminal);
int run(const LogShowCommand& command, const Connection& connection, const Terminal& terminal);
int run(const LogStatsCommand& command, const Connection& connection, const Terminal& terminal);
int run(const LogShadowCommand& command, const Connection& connection, const Terminal& terminal);
int run(const TimelineCommand& command, const Connection& connection, const Terminal& terminal);
int run(const StateCommand& command, const Connection& connection, const Terminal& terminal);
int run(const DiffCommand& command, const Connection& connection, const Terminal& terminal);
int run(const WhyCommand& command, const Connection& connection, const Terminal& terminal);
int run(const ReplayCommand& command, const Connection& connection, const Terminal& terminal);
int run(const BisectCommand& command, const Connection& connection, const Terminal& terminal);
int run(const WhatIfCommand& command, const Connection& connection, const Terminal& terminal);

}  // namespace atlasflow::cli
