// The command line as values: what each verb was asked to do. Parsing has no effect but the answer;
// main.cpp carries it out. Values; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

#include "cli/backup_commands.hpp"
#include "cli/ca_commands.hpp"
#include "cli/domain_commands.hpp"
#include "cli/inspect_commands.hpp"

namespace atlasflow::cli {

// Where the server's socket is; resolved by client.hpp's socket_path().
struct Connection {
  std::string socket;     // --socket
  std::string state_dir;  // --state-dir
};

struct ServerCommand {
  std::string config_file;  // empty: the defaults
  bool print_config = false;
  bool accept_loss = false;      // start although acknowledged events are missing
  bool accept_new_fold = false;  // start although this build makes another state of the log
};
struct EdgeCommand {
  int launch_fd = -1;  // the socket by which the server says how to run
  // Without a server:
  std::string routes;
  std::string http = "127.0.0.1:8080";
  std::string https = "127.0.0.1:8443";
  std::string certificates;
  std::string domain = "atlasflow.localhost";
  int workers = 0;
};
struct HaltCommand {};
struct ProjectCreateCommand {
  std::string name;
  std::string repository;
  std::string branch;
  std::string webhook_secret_file;  // "-": standard input
  bool json = false;
  bool git_push = false;  // the server keeps the repository, and is pushed to
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
struct ProjectNotifySecretCommand {
  std::string name;
  std::string file;  // "-": standard input
  bool json = false;
};
struct ProjectDeployKeyCommand {
  std::string name;
  bool rotate = false;
  bool remove = false;
  bool json = false;
};
struct ProjectHostKeyCommand {
  std::string name;
  std::string accept;  // a fingerprint; empty: they are shown
  bool json = false;
};
struct ProjectLoginCommand {
  std::string name;
  std::string username;
  std::string password_file;  // "-": standard input
  bool remove = false;
  bool json = false;
};
struct ProjectWebhookSecretCommand {
  std::string name;
  std::string file;  // "-": standard input
  bool server = false;
  bool json = false;
};
struct ProjectPushTokenCommand {
  std::string name;
  bool revoke = false;
  bool json = false;
};
struct GitHubConnectCommand {
  std::int64_t app_id = 0;          // 0: by a manifest
  std::string private_key_file;     // "-": standard input
  std::string webhook_secret_file;  // likewise; one of the two
  std::string base_url;             // empty: github.com
  std::string organization;         // of a manifest; empty: the user's own
  bool wait = false;
  bool json = false;
};
struct GitHubStatusCommand {
  bool json = false;
};
struct GitHubDisconnectCommand {
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
struct BuildSecretSetCommand {
  std::string project;
  std::string name;
  std::string file = "-";                  // what the value is read from; "-": standard input
  std::vector<std::string> mistaken = {};  // a value as an argument: refused, and not repeated
};
struct BuildSecretListCommand {
  std::string project;
  bool json = false;
};
struct BuildSecretUnsetCommand {
  std::string project;
  std::vector<std::string> names;
};
struct DeployCommand {
  std::string project;
  std::string sha;
  bool no_cache = false;
  bool wait = false;
  bool json = false;
};
struct RollbackCommand {
  std::string project;
  std::string deployment;  // empty: the one before the one that is live
  bool wait = false;
  bool json = false;
};
struct RedeployCommand {
  std::string project;
  std::string deployment;  // empty: what is live, else the newest
  bool no_cache = false;
  bool wait = false;
  bool json = false;
};
struct PromoteCommand {
  std::string deployment;
  bool wait = false;
  bool json = false;
};
struct ApproveCommand {
  std::string project;
  std::int64_t number = 0;
  std::string sha;
  bool wait = false;
  bool json = false;
};
struct RestartCommand {
  std::string project;
  bool wait = false;
  bool json = false;
};
struct CancelCommand {
  std::string subject;  // a project (all that is queued or under way in production) or a deployment
  bool wait = false;
  bool json = false;
};
struct StopCommand {
  std::string project;
  bool wait = false;
  bool json = false;
};
struct StartCommand {
  std::string project;
  bool wait = false;
  bool json = false;
};
struct ScaleCommand {
  std::string project;
  std::int64_t replicas = 0;
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
  bool release = false;
  bool http = false;
  std::optional<std::int64_t> instance;  // unset: the first
  bool follow = false;
  std::int64_t lines = 100;  // 0: all
  std::string since;         // "10m", "2026-07-01T12:00:00Z"; empty: no limit
  bool json = false;
};
struct EventsCommand {
  std::string project;
  std::int64_t from = 1;
  bool follow = false;
  bool json = false;
};
struct LogVerifyCommand {};
struct DetectCommand {
  std::string folder;
  bool json = false;
  bool dockerfile = false;  // that alone
};
// Numbers and durations as they were written: simulate_plan.hpp reads them.
struct SimulateCommand {
  std::optional<std::string> seed;
  std::optional<std::string> runs;
  std::optional<std::string> time;
  std::optional<std::string> jobs;
  std::optional<std::string> at;
  std::string scenario_file;
  std::string from_log;
  bool swarm = false;
  bool once = false;
  bool exhaustive = false;
  bool shrink = false;
  bool probes = false;
};

using Command = std::variant<
    ServerCommand, EdgeCommand, HaltCommand, ProjectCreateCommand, ProjectListCommand,
    ProjectShowCommand, ProjectSetCommand, ProjectDeleteCommand, ProjectNotifySecretCommand,
    ProjectDeployKeyCommand, ProjectHostKeyCommand, ProjectLoginCommand,
    ProjectWebhookSecretCommand, ProjectPushTokenCommand, GitHubConnectCommand, GitHubStatusCommand,
    GitHubDisconnectCommand, EnvSetCommand, EnvListCommand, EnvUnsetCommand, BuildSecretSetCommand,
    BuildSecretListCommand, BuildSecretUnsetCommand, DeployCommand, RollbackCommand,
    RedeployCommand, PromoteCommand, ApproveCommand, RestartCommand, CancelCommand, StopCommand,
    StartCommand, ScaleCommand, DeploymentsCommand, StatusCommand, LogsCommand, EventsCommand,
    LogVerifyCommand, SimulateCommand, LogTailCommand, LogShowCommand, LogStatsCommand,
    LogShadowCommand, TimelineCommand, StateCommand, DiffCommand, WhyCommand, ReplayCommand,
    BisectCommand, WhatIfCommand, DetectCommand, BackupCommand, RestoreCommand, LogExportCommand,
    LogImportCommand, LogRebuildCommand, DomainAddCommand, DomainListCommand, DomainCheckCommand,
    DomainCertCommand, DomainRetryCommand, DomainRemoveCommand, DomainCertUploadCommand,
    DomainCertRemoveCommand, DomainRedirectCommand, CaExportCommand, CaTrustCommand,
    DomainAccountRolloverCommand>;

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
