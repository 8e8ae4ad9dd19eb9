#include "cli/command_line.hpp"

#include <functional>
#include <limits>
#include <memory>

#include <CLI/CLI.hpp>

#include "base/version.hpp"
#include "cli/add_verb.hpp"
#include "cli/backup_options.hpp"
#include "cli/ca_options.hpp"
#include "cli/domain_options.hpp"
#include "cli/env_options.hpp"
#include "cli/github_options.hpp"
#include "cli/repository_options.hpp"
#include "events/deployment.hpp"
#include "events/environment.hpp"
#include "events/settings.hpp"

namespace atlasflow::cli {
namespace {

constexpr const char* k_footer =
    "The server is found by --socket, else $ATLASFLOW_SOCKET, else atlasflow.sock in the state "
    "folder\n"
    "(--state-dir, else $ATLASFLOW_STATE_DIR, else /var/lib/atlasflow).\n"
    "Exit codes: 0 done, 1 failed, 2 wrong usage or input, or not possible now.";

void add_project_verbs(CLI::App& app, Command& chosen) {
  auto* project = app.add_subcommand(
      "project",
      "Create, list, show, set and delete projects, sign what they notify, say who pushes");
  project->require_subcommand(1);

  auto create = std::make_shared<ProjectCreateCommand>();
  auto* verb =
      add_verb(*project, chosen, create, "create", "Connect a repository to a new project");
  verb->add_option("NAME", create->name, "Becomes the hostname's first label")->required();
  auto* from = verb->add_option_group("from", "Where its commits come from")->require_option(1);
  from->add_option("--repo", create->repository,
                   "https:// or file:// URL, git@host:path or an absolute path");
  from->add_flag("--git-push", create->git_push,
                 "None: the server keeps the repository, and 'git push' to it deploys");
  verb->add_option("--branch", create->branch,
                   "Deployed on push (default: the repository's default branch, or main)");
  verb->add_option("--webhook-secret-file", create->webhook_secret_file,
                   "File with the webhook's secret, - for standard input (default: the server's)");
  add_json(verb, create);

  auto list = std::make_shared<ProjectListCommand>();
  add_json(add_verb(*project, chosen, list, "list", "List the projects"), list);

  auto show = std::make_shared<ProjectShowCommand>();
  verb = add_verb(*project, chosen, show, "show", "Show a project and its webhook's URLs");
  verb->add_option("NAME", show->name, "The project")->required();
  add_json(verb, show);

  auto set = std::make_shared<ProjectSetCommand>();
  verb = add_verb(*project, chosen, set, "set", "Change settings, from the next deployment on");
  verb->add_option("NAME", set->name, "The project")->required();
  verb->add_option("SETTING=VALUE", set->assignments,
                   "health_path=/up, port=3000, health_deadline=120s, build_arg.NODE=20, "
                   "watch_paths=src/**,package.json; docs/settings.md tells of all: " +
                       setting_names())
      ->required();
  add_json(verb, set);

  auto remove = std::make_shared<ProjectDeleteCommand>();
  verb = add_verb(*project, chosen, remove, "delete", "Stop a project and forget it");
  verb->add_option("NAME", remove->name, "The project")->required();
  verb->add_flag("-y,--yes", remove->yes, "Do not ask");

  auto notify = std::make_shared<ProjectNotifySecretCommand>();
  verb = add_verb(*project, chosen, notify, "notify-secret",
                  "Set what signs the notifications to the project's notify_url");
  verb->add_option("NAME", notify->name, "The project")->required();
  verb->add_option("--file", notify->file, "File with the secret, - for standard input")
      ->required();
  add_json(verb, notify);

  add_repository_verbs(*project, chosen);
  auto token = std::make_shared<ProjectPushTokenCommand>();
  verb = add_verb(*project, chosen, token, "push-token",
                  "Make the token that 'git push' logs in with, in the place of the one before");
  verb->add_option("NAME", token->name, "The project, made with --git-push")->required();
  verb->add_flag("--revoke", token->revoke, "Take it away: nobody may push");
  add_json(verb, token);
}

template <typename T>
void add_wait(CLI::App* verb, const std::shared_ptr<T>& command) {
  verb->add_flag("--wait", command->wait, "Print each step as it comes; exit 1 when it fails");
  add_json(verb, command);
}

constexpr const char* k_no_cache_help = "Build in any case, without the layers of earlier builds";

void add_deployment_verbs(CLI::App& app, Command& chosen) {
  auto deploy = std::make_shared<DeployCommand>();
  auto* verb = add_verb(app, chosen, deploy, "deploy", "Deploy a project's branch or one commit");
  verb->add_option("NAME", deploy->project, "The project")->required();
  verb->add_option("--sha", deploy->sha, "The commit, 40 hex digits (default: the branch's head)");
  verb->add_flag("--no-cache", deploy->no_cache, k_no_cache_help);
  add_wait(verb, deploy);

  auto deployments = std::make_shared<DeploymentsCommand>();
  verb = add_verb(app, chosen, deployments, "deployments", "List a project's deployments");
  verb->add_option("NAME", deployments->project, "The project")->required();
  verb->add_option("--limit", deployments->limit, "At most this many, newest first")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_json(verb, deployments);
}

// Verbs that make a new deployment of an earlier one.
void add_again_verbs(CLI::App& app, Command& chosen) {
  auto rollback = std::make_shared<RollbackCommand>();
  auto* verb = add_verb(app, chosen, rollback, "rollback",
                        "Go back to an earlier deployment: its image, settings and variables");
  verb->add_option("NAME", rollback->project, "The project")->required();
  verb->add_option("DEPLOYMENT", rollback->deployment,
                   "One that was live (default: the one before the one that is live)");
  add_wait(verb, rollback);

  auto redeploy = std::make_shared<RedeployCommand>();
  verb = add_verb(app, chosen, redeploy, "redeploy",
                  "Build and deploy a commit again, with the settings and variables of now");
  verb->add_option("NAME", redeploy->project, "The project")->required();
  verb->add_option("DEPLOYMENT", redeploy->deployment,
                   "Whose commit (default: the live one's, else the newest one's)");
  verb->add_flag("--no-cache", redeploy->no_cache, k_no_cache_help);
  add_wait(verb, redeploy);

  auto promote = std::make_shared<PromoteCommand>();
  verb = add_verb(app, chosen, promote, "promote",
                  "Take a deployment's image into production, without a build");
  verb->add_option("DEPLOYMENT", promote->deployment, "Mostly a preview's")->required();
  add_wait(verb, promote);

  auto approve = std::make_shared<ApproveCommand>();
  verb = add_verb(app, chosen, approve, "approve",
                  "Deploy the commit of a fork's pull request that waits, without any variables");
  verb->add_option("NAME", approve->project, "The project")->required();
  verb->add_option("NUMBER", approve->number, "The pull request's")
      ->required()
      ->check(CLI::Range(std::int64_t{1}, k_pull_request_max));
  verb->add_option("--sha", approve->sha,
                   "The commit that you looked at: refused when another one waits by now")
      ->required();
  add_wait(verb, approve);

  auto restart = std::make_shared<RestartCommand>();
  verb = add_verb(app, chosen, restart, "restart",
                  "Move what is live to new microVMs, without downtime");
  verb->add_option("NAME", restart->project, "The project")->required();
  add_wait(verb, restart);
}

// Verbs that change one that is there.
void add_control_verbs(CLI::App& app, Command& chosen) {
  auto cancel = std::make_shared<CancelCommand>();
  auto* verb = add_verb(app, chosen, cancel, "cancel", "Cancel what is queued or under way");
  verb->add_option("NAME", cancel->subject,
                   "A project (all of it in production) or one deployment's id")
      ->required();
  add_wait(verb, cancel);

  auto stop = std::make_shared<StopCommand>();
  verb = add_verb(app, chosen, stop, "stop", "Stop the app until start; its URL answers 503");
  verb->add_option("NAME", stop->project, "The project")->required();
  add_wait(verb, stop);

  auto start = std::make_shared<StartCommand>();
  verb = add_verb(app, chosen, start, "start", "Start an app that is stopped or has crashed");
  verb->add_option("NAME", start->project, "The project")->required();
  add_wait(verb, start);

  auto scale = std::make_shared<ScaleCommand>();
  verb = add_verb(app, chosen, scale, "scale", "Run an app on N microVMs, from now on");
  verb->add_option("NAME", scale->project, "The project")->required();
  verb->add_option("N", scale->replicas, "How many, 1 to 32")->required();
  add_wait(verb, scale);
}

void add_reading_verbs(CLI::App& app, Command& chosen) {
  auto status = std::make_shared<StatusCommand>();
  add_json(add_verb(app, chosen, status, "status",
                    "Show the server's parts, the apps and what is under way"),
           status);

  auto logs = std::make_shared<LogsCommand>();
  auto* verb = add_verb(app, chosen, logs, "logs",
                        "Print the log of the app, the build, the release command or the requests");
  verb->add_option("NAME", logs->subject, "A project (its live deployment) or a deployment's id")
      ->required();
  auto* build = verb->add_flag("--build", logs->build,
                               "The log of its clone and build in place of the app's");
  auto* release =
      verb->add_flag("--release", logs->release, "The release command's in place of the app's");
  auto* http = verb->add_flag("--http", logs->http, "The project's requests in place of it");
  auto* instance =
      verb->add_option("--instance", logs->instance, "Which of the app's instances (default: 0)");
  instance->check(CLI::Range(0, k_replicas_max - 1))->excludes(http);
  build->excludes(release)->excludes(instance)->excludes(http);
  release->excludes(instance)->excludes(http);
  verb->add_flag("-f,--follow", logs->follow, "Go on as lines come");
  auto* lines = verb->add_option("-n,--lines", logs->lines,
                                 "The last N lines, 0 for all; with --since all unless given");
  lines->check(CLI::Range(0, 1'000'000))->capture_default_str();
  verb->add_option("--since", logs->since,
                   "Only what was written from then on: 90s, 10m, 2h, 1d, or 2026-07-01T12:00:00Z");
  add_json(verb, logs);
  verb->callback([&chosen, logs, lines] {
    if (!logs->since.empty() && lines->count() == 0) logs->lines = 0;
    chosen = *logs;
  });

  auto events = std::make_shared<EventsCommand>();
  verb = add_verb(app, chosen, events, "events", "Print the event log");
  verb->add_option("--project", events->project, "Only this project's");
  verb->add_option("--from", events->from, "First position")
      ->check(CLI::Range(std::int64_t{1}, std::numeric_limits<std::int64_t>::max())
                  .description("POSITION"))
      ->capture_default_str();
  verb->add_flag("-f,--follow", events->follow, "Go on as events come");
  add_json(verb, events);
}

template <typename T>
void add_log(CLI::App* verb, const std::shared_ptr<T>& command) {
  verb->add_option("--log", command->log, "A copy of a state folder, or of its events folder");
}

template <typename T>
void add_log_and_json(CLI::App* verb, const std::shared_ptr<T>& command) {
  add_log(verb, command);
  verb->add_flag("--json", command->json, "Print JSON");
}

void add_log_verbs(CLI::App& app, Command& chosen) {
  auto* log = app.add_subcommand("log", "Look after the event log and into it");
  log->require_subcommand(1);
  add_verb(*log, chosen, std::make_shared<LogVerifyCommand>(), "verify",
           "Check the whole event log in the state folder, also while the server runs");

  auto tail = std::make_shared<LogTailCommand>();
  auto* verb = add_verb(*log, chosen, tail, "tail", "Print the newest events");
  verb->add_option("-n,--lines", tail->lines, "So many; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  verb->add_option("--deployment", tail->deployment, "Only this deployment's");
  verb->add_option("--type", tail->type, "Only events of this name, like BuildFailed");
  verb->add_option("--text", tail->text, "Only events that have this somewhere");
  verb->add_option("--since", tail->since, "From this moment on")->type_name("WHEN");
  add_log_and_json(verb, tail);

  auto show = std::make_shared<LogShowCommand>();
  verb = add_verb(*log, chosen, show, "show", "Print one event, whole");
  verb->add_option("POSITION", show->position, "Its place in the log")
      ->required()
      ->check(CLI::PositiveNumber);
  add_log(verb, show);

  auto stats = std::make_shared<LogStatsCommand>();
  add_log_and_json(add_verb(*log, chosen, stats, "stats", "Count events by type, and streams"),
                   stats);

  auto shadow = std::make_shared<LogShadowCommand>();
  verb = add_verb(*log, chosen, shadow, "shadow",
                  "Compare what this build makes of the log with what the builds before it made; "
                  "starts nothing, also while the server runs");
  verb->add_option("--snapshots", shadow->snapshots,
                   "What they wrote down (default: snapshots/ beside the log)");
  add_log_and_json(verb, shadow);
  add_log_copy_verbs(*log, chosen);
}

constexpr const char* k_when_help =
    "WHEN: a position (4711), a time (2026-01-31T12:00:00Z), how long ago (2h), or a deployment's "
    "version (d2ab3456@7)";

// A verb's option that takes a moment.
void add_when(CLI::App* verb, const char* name, std::string& when, const char* description) {
  verb->add_option(name, when, description)->type_name("WHEN");
  verb->footer(k_when_help);
}

void add_state_verbs(CLI::App& app, Command& chosen) {
  constexpr const char* k_subjects = "A deployment, a project, a hostname, routes or queue";
  auto state = std::make_shared<StateCommand>();
  auto* verb = add_verb(app, chosen, state, "state", "What was the case at a moment");
  verb->add_option("WHAT", state->subject, k_subjects)->required();
  add_when(verb, "--at", state->at, "Default: now");
  add_log_and_json(verb, state);

  auto diff = std::make_shared<DiffCommand>();
  verb =
      add_verb(app, chosen, diff, "diff", "What changed between two moments, and by which event");
  verb->add_option("WHAT", diff->subject, k_subjects)->required();
  add_when(verb, "--from", diff->from, "The earlier moment (required)");
  verb->get_option("--from")->required();
  add_when(verb, "--to", diff->to, "Default: now");
  add_log_and_json(verb, diff);

  auto why = std::make_shared<WhyCommand>();
  verb =
      add_verb(app, chosen, why, "why", "The chain of events that led to where something stands");
  verb->add_option("WHAT", why->subject, "A deployment, a hostname, a microVM or a project")
      ->required();
  add_when(verb, "--at", why->at, "Default: now");
  add_log_and_json(verb, why);

  auto timeline = std::make_shared<TimelineCommand>();
  verb = add_verb(app, chosen, timeline, "timeline", "A deployment's steps and how long each took");
  verb->add_option("DEPLOYMENT", timeline->deployment, "Its id")->required();
  verb->add_option("--compare", timeline->compare, "Another deployment: which step got slower");
  add_log_and_json(verb, timeline);
}

void add_replay_verbs(CLI::App& app, Command& chosen) {
  auto replay = std::make_shared<ReplayCommand>();
  auto* verb = add_verb(app, chosen, replay, "replay",
                        "Step through a deployment: each event, the state, what is owed");
  verb->add_option("DEPLOYMENT", replay->deployment, "Its id")->required();
  add_when(verb, "--to", replay->to, "Only up to this moment");
  verb->add_option("--watch", replay->watch, "Print only the steps that change this field");
  verb->add_option("--run-to", replay->run_to, "Print up to the first event of this name");
  verb->footer(
      std::string("On a terminal it is a full screen; with --watch, --run-to or --json, or into a "
                  "pipe, it prints.\n") +
      k_when_help);
  add_log_and_json(verb, replay);

  auto bisect = std::make_shared<BisectCommand>();
  verb = add_verb(app, chosen, bisect, "bisect", "The first event at which a condition holds");
  verb->add_option("CONDITION", bisect->predicate,
                   "Like 'type == \"BuildFailed\" and data.exit_code != 0'")
      ->required();
  verb->add_option("--of", bisect->of,
                   "Ask a deployment's or a project's state, as 'instances.0.crashes >= 3'");
  verb->footer(
      "Fields are those of log show, or with --of those of state --json. Operators: == != < <= > "
      ">= ~ (contains), and, or, not, count(field). Exit code 1: it never holds.");
  add_log_and_json(verb, bisect);

  auto what_if = std::make_shared<WhatIfCommand>();
  verb = add_verb(app, chosen, what_if, "whatif",
                  "How a deployment would stand had an event not been, or been otherwise");
  verb->add_option("DEPLOYMENT", what_if->deployment, "Its id")->required();
  verb->add_option("--skip", what_if->skip, "Leave out the event at this position")
      ->check(CLI::PositiveNumber);
  verb->add_option("--insert", what_if->insert_file, "Put in the event of this JSON file");
  add_when(verb, "--at", what_if->at, "Where it is put in (default: the end)");
  add_log_and_json(verb, what_if);
}

void add_detect_verb(CLI::App& app, Command& chosen) {
  auto detect = std::make_shared<DetectCommand>();
  auto* verb = add_verb(app, chosen, detect, "detect",
                        "Tell how a folder would be built, and why; needs no server");
  verb->add_option("DIR", detect->folder, "The repository's folder")->required();
  auto* json = verb->add_flag("--json", detect->json, "Print it as JSON");
  verb->add_flag("--dockerfile", detect->dockerfile, "Print the Dockerfile alone")->excludes(json);
}

void add_simulate_verb(CLI::App& app, Command& chosen) {
  auto simulate = std::make_shared<SimulateCommand>();
  auto* verb = add_verb(app, chosen, simulate, "simulate",
                        "Run the server in a simulated world with faults; needs no server");
  verb->add_option("--seed", simulate->seed,
                   "The first seed (default: a new one, which is printed)")
      ->type_name("N");
  verb->add_option("--runs", simulate->runs, "So many seeds (default: 100, or 1 with --seed)")
      ->type_name("N");
  verb->add_option("--time", simulate->time,
                   "How long each run is in virtual time: 60s, 24h, 365d; one run unless --runs")
      ->type_name("DURATION");
  verb->add_flag("--swarm", simulate->swarm, "Each seed draws its own world, steps and faults");
  verb->add_option("--scenario", simulate->scenario_file, "Run a scenario file")->type_name("FILE");
  verb->add_flag("--exhaustive", simulate->exhaustive,
                 "Kill the server at every moment of the run, one run each");
  verb->add_flag("--shrink", simulate->shrink,
                 "Make the run of --seed or --scenario smaller while it fails, and tell its story");
  verb->add_option("--from-log", simulate->from_log,
                   "Begin with the event log of a state folder, which is only read")
      ->type_name("DIR");
  verb->add_option("--at", simulate->at, "Up to this position of it (default: its end)")
      ->type_name("POSITION");
  verb->add_flag("--once", simulate->once,
                 "Run each seed once: does not check that it is the same a second time");
  verb->add_option("--jobs", simulate->jobs, "So many processes (default: the machine's cores)")
      ->type_name("N");
  verb->add_flag("--probes", simulate->probes,
                 "List the marks in the code that no run has reached");
}

std::string usage_error(const CLI::App& app, const CLI::ParseError& error) {
  // The help that fits is that of the deepest verb that was recognised.
  std::string verb = "atlasflow";
  const CLI::App* current = &app;
  while (true) {
    const auto given = current->get_subcommands();
    if (given.empty()) break;
    current = given.front();
    verb += " " + current->get_name();
  }
  std::string what = error.what();
  if (what.starts_with("A subcommand is required")) {
    const auto rest = app.remaining(true);
    what = rest.empty() ? "a verb is missing" : "'" + rest.front() + "' is no verb";
  }
  while (!what.empty() && (what.back() == '\n' || what.back() == '.')) what.pop_back();
  return "atlasflow: " + what + "; '" + verb + " --help' shows the usage\n";
}

}  // namespace

tl::expected<CommandLine, EarlyExit> parse_command_line(int argc, const char* const* argv) {
  CommandLine line;
  Command chosen;
  CLI::App app("Atlasflow takes a Git push to a running service on machines of your own.",
               "atlasflow");
  app.footer(k_footer);
  app.set_version_flag("--version", std::string("atlasflow ") + k_version);
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--socket", line.connection.socket, "The server's socket");
  app.add_option("--state-dir", line.connection.state_dir, "The server's state folder");

  auto server = std::make_shared<ServerCommand>();
  auto* verb = add_verb(app, chosen, server, "server", "Run the server until SIGTERM or Ctrl-C");
  verb->add_option("--config", server->config_file, "atlasflow.toml (default: built-in defaults)");
  verb->add_flag("--print-config", server->print_config, "Print a commented example and exit");
  verb->add_flag("--accept-loss", server->accept_loss,
                 "Start although the event log has lost acknowledged events, or its anchor");
  verb->add_flag("--accept-new-fold", server->accept_new_fold,
                 "Start although this build makes another state of the event log than the one "
                 "before it (docs/upgrades.md)");
  add_verb(app, chosen, std::make_shared<HaltCommand>(), "halt",
           "End what outlives the server: the edge and the microVMs");
  auto edge = std::make_shared<EdgeCommand>();
  verb = add_verb(app, chosen, edge, "edge",
                  "Run the data plane; the server starts it, or, with --routes, you");
  auto* launch = verb->add_option("--launch-fd", edge->launch_fd, "The server's end of the start");
  verb->add_option("--routes", edge->routes,
                   "Serve this file of JSON without a server; SIGHUP reads it again")
      ->excludes(launch);
  verb->add_option("--http", edge->http, "Where to listen for http")->capture_default_str();
  verb->add_option("--https", edge->https, "Where to listen for https")->capture_default_str();
  verb->add_option("--certs", edge->certificates, "A folder with HOST.pem and HOST.key");
  verb->add_option("--domain", edge->domain, "The domain of the local certificate authority")
      ->capture_default_str();
  verb->add_option("--workers", edge->workers, "Threads (default: one for each processor)")
      ->check(CLI::Range(0, 256));
  add_project_verbs(app, chosen);
  add_github_verbs(app, chosen);
  add_env_verbs(app, chosen);
  add_build_secret_verbs(app, chosen);
  add_domain_verbs(app, chosen);
  add_ca_verbs(app, chosen);
  add_deployment_verbs(app, chosen);
  add_again_verbs(app, chosen);
  add_control_verbs(app, chosen);
  add_reading_verbs(app, chosen);
  add_log_verbs(app, chosen);
  add_state_verbs(app, chosen);
  add_replay_verbs(app, chosen);
  add_backup_verbs(app, chosen);
  add_detect_verb(app, chosen);
  add_simulate_verb(app, chosen);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      std::ostringstream out;
      app.exit(error, out, out);
      return tl::unexpected(EarlyExit{0, out.str(), {}});
    }
    return tl::unexpected(EarlyExit{2, {}, usage_error(app, error)});
  }
  line.command = std::move(chosen);
  return line;
}

}  // namespace atlasflow::cli
