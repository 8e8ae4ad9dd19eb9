// The command line as values: what each verb was asked to do. Parsing has no effect but the answer;
// main.cpp carries it out. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

namespace atlasflow::cli {

// Where the server's socket is; resolved by client.hpp's socket_path().
struct Connection {
  std::string socket;     // --socket
  std::string state_dir;  // --state-dir
};

struct ServerCommand {
  std::string config_file;  // empty: the defaults
  bool print_config = false;
};
struct ProjectCreateCommand {
  std::string name;
  std::string repository;
  std::string branch;
  std::string webhook_secret_file;  // "-": standard input
  bool json = false;
};
struct ProjectListCommand {
  bool json = false;
};
struct ProjectShowCommand {
  std::string name;
  bool json = false;
};
struct ProjectSetCommand {
  std::string name;
  std::vector<std::string> assignments;  // "health_deadline=30s"
  bool json = false;
};
struct ProjectDeleteCommand {
  std::string name;
  bool yes = false;
};
struct EnvSetCommand {
  std::string project;
  std::vector<std::string> assignments;  // "NAME=VALUE"
  std::string from_file;                 // "-": standard input
  std::string stdin_name;                // the value of this one is standard input
};
struct EnvListCommand {
  std::string project;
  bool json = false;
};
struct EnvUnsetCommand {
  std::string project;
  std::vector<std::string> names;
};
struct DeployCommand {
  std::string project;
  std::string sha;
  bool wait = false;
  bool json = false;
};
struct DeploymentsCommand {
  std::string project;
  std::int64_t limit = 20;
  bool json = false;
};
struct StatusCommand {
  bool json = false;
};
struct LogsCommand {
  std::string subject;  // a project or a deployment
  bool build = false;
  bool follow = false;
  std::int64_t lines = 100;  // 0: all
  std::string since;         // "10m", "2026-07-01T12:00:00Z"; empty: no limit
};
struct EventsCommand {
  std::string project;
  std::int64_t from = 1;
  bool follow = false;
  bool json = false;
};
struct LogVerifyCommand {};

using Command =
    std::variant<ServerCommand, ProjectCreateCommand, ProjectListCommand, ProjectShowCommand,
                 ProjectSetCommand, ProjectDeleteCommand, EnvSetCommand, EnvListCommand,
                 EnvUnsetCommand, DeployCommand, DeploymentsCommand, StatusCommand, LogsCommand,
                 EventsCommand, LogVerifyCommand>;

struct CommandLine {
  Connection connection;
  Command command;
};

// Why there is nothing to carry out: help or the version was asked for (0), or the usage is wrong
// (2).
struct EarlyExit {
  int code = 0;
  std::string out;
  std::string err;
};

[[nodiscard]] tl::expected<CommandLine, EarlyExit> parse_command_line(int argc,
                                                                      const char* const* argv);

}  // namespace atlasflow::cli
