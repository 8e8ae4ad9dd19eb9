// Verbs over deployments that are there: run an earlier one again, cancel, stop, start, scale.
#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/verbs.hpp"
#include "cli/watch.hpp"
#include "events/settings.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;

std::string project_path(const std::string& project, const char* rest) {
  return "/v1/projects/" + encoded(project) + rest;
}

std::string deployment_path(const std::string& id, const char* rest) {
  return "/v1/deployments/" + encoded(id) + rest;
}

int run_again(const std::string& path, const std::string& deployment, const Follow& follow,
              ApiClient& api, const Terminal& terminal, json body = json::object()) {
  body["command_id"] = new_command_id();
  if (!deployment.empty()) body["deployment"] = deployment;
  const auto made = send_command(api, path, body);
  if (!made) return report(terminal, made.error());
  return follow_new(*made, follow, api, terminal);
}

// ---- cancel ----

// What cancel of a whole project is about. One that is ending already needs no word more.
bool can_be_cancelled(const json& deployment) {
  const auto status = status_of(deployment);
  if (!status || text_of(deployment, "environment") != "production") return false;
  if (*status == DeploymentStatus::failing || *status == DeploymentStatus::cancelling) return false;
  return *status == DeploymentStatus::queued || is_under_way(*status);
}

struct Cancellation {
  std::vector<json> cancelled;
  int code = k_exit_ok;
};

Cancellation cancel_all(const std::vector<std::string>& ids, std::ostream& progress, ApiClient& api,
                        const Terminal& terminal) {
  Cancellation all;
  for (const auto& id : ids) {
    auto deployment = api.post(deployment_path(id, "/cancel"), json::object());
    if (!deployment) {
      all.code = report(terminal, deployment.error());
      continue;
    }
    progress << "Cancelling " << text_of(*deployment, "project") << " #"
             << text_of(*deployment, "number") << " (" << id << ", "
             << short_sha(text_of(*deployment, "sha")) << ")" << std::endl;
    all.cancelled.push_back(*std::move(deployment));
  }
  return all;
}

int await_ends(Cancellation& all, std::ostream& progress, ApiClient& api,
               const Terminal& terminal) {
  for (auto& deployment : all.cancelled) {
    const auto end = DeploymentWatch(api, terminal, progress, deployment, false).until(has_ended);
    if (!end) return report(terminal, end.error());
    deployment = *end;
    progress << text_of(deployment, "id") << " is " << text_of(deployment, "status") << std::endl;
  }
  return all.code;
}

// The newest first: a queued one that goes before the one that is under way cannot start after it.
Result<std::vector<std::string>> cancellable_of(const std::string& project, ApiClient& api) {
  ATLAS_TRY(const auto answer, api.get(project_path(project, "/deployments?limit=1000")));
  std::vector<std::string> ids;
  for (const auto& deployment : answer.at("deployments")) {
    if (can_be_cancelled(deployment)) ids.push_back(text_of(deployment, "id"));
  }
  if (!ids.empty()) return ids;
  return fail(ErrorCode::conflict, "nothing of '" + project +
                                       "' is queued or under way in production; 'atlasflow "
                                       "deployments " +
                                       project + "' shows what there is");
}

// ---- what is live ----

using Deployment = const json&;

bool is_in(Deployment deployment, DeploymentStatus status) {
  return status_of(deployment) == status;
}
bool is_stopped(Deployment deployment) { return !text_of(deployment, "stopped_by").empty(); }

const json* crashed_instance(Deployment deployment) {
  const auto instances = deployment.find("instances");
  if (instances == deployment.end()) return nullptr;
  for (const auto& instance : *instances) {
    if (text_of(instance, "state") == "crashed") return &instance;
  }
  return nullptr;
}

int report_crash(Deployment deployment, ApiClient& api, const Terminal& terminal) {
  const auto* instance = crashed_instance(deployment);
  const auto slot = instance == nullptr ? "" : text_of(*instance, "slot");
  terminal.err << "atlasflow: " << text_of(deployment, "project") << " crashed "
               << (instance == nullptr ? "too often" : text_of(*instance, "crashes") + " times")
               << " in a row and is not started again by itself; 'atlasflow start "
               << text_of(deployment, "project") << "' tries once more\n";
  print_log_tail(deployment, "run", slot, api, terminal);
  return k_exit_failed;
}

// Somebody else wanted otherwise, or a newer deployment took over.
int report_other_end(Deployment deployment, const std::string& instead, ApiClient& api,
                     const Terminal& terminal, std::ostream& progress) {
  if (has_ended(deployment)) return report_end(deployment, api, terminal, progress);
  terminal.err << "atlasflow: " << text_of(deployment, "project") << " " << instead
               << " in the meantime\n";
  return k_exit_failed;
}

// Each instance that is wanted is there and has been well, and no other is. One that answers badly
// since then is the health check's business and may do so for ever.
bool has_settled(Deployment deployment, std::int64_t replicas) {
  const auto instances = deployment.value("instances", json::array());
  if (static_cast<std::int64_t>(instances.size()) != replicas) return false;
  for (const auto& instance : instances) {
    const auto state = text_of(instance, "state");
    if (state != "healthy" && state != "unhealthy") return false;
  }
  return true;
}

int conclude_start(Deployment end, ApiClient& api, const Terminal& terminal,
                   std::ostream& progress) {
  if (is_in(end, DeploymentStatus::live)) {
    progress << "Live at " << text_of(end, "url") << "\n";
    return k_exit_ok;
  }
  if (is_in(end, DeploymentStatus::crashed)) return report_crash(end, api, terminal);
  return report_other_end(end, "was stopped", api, terminal, progress);
}

int conclude_scale(Deployment end, std::int64_t replicas, ApiClient& api, const Terminal& terminal,
                   std::ostream& progress) {
  if (has_ended(end) || number_of(end, "replicas") != replicas) {
    return report_other_end(end, "was scaled to " + text_of(end, "replicas"), api, terminal,
                            progress);
  }
  if (is_stopped(end)) {
    progress << text_of(end, "project") << " is stopped; started, it runs "
             << text_of(end, "replicas") << "\n";
    return k_exit_ok;
  }
  if (crashed_instance(end) != nullptr) return report_crash(end, api, terminal);
  progress << text_of(end, "project") << " runs " << healthy_share(end) << " healthy instances\n";
  return k_exit_ok;
}

}  // namespace

int run(const RollbackCommand& command, ApiClient& api, const Terminal& terminal) {
  return run_again(project_path(command.project, "/rollback"), command.deployment,
                   {command.wait, command.json}, api, terminal);
}

int run(const RedeployCommand& command, ApiClient& api, const Terminal& terminal) {
  json body = json::object();
  if (command.no_cache) body["no_cache"] = true;
  return run_again(project_path(command.project, "/redeploy"), command.deployment,
                   {command.wait, command.json}, api, terminal, std::move(body));
}

int run(const PromoteCommand& command, ApiClient& api, const Terminal& terminal) {
  return run_again(deployment_path(command.deployment, "/promote"), "",
                   {command.wait, command.json}, api, terminal);
}

int run(const ApproveCommand& command, ApiClient& api, const Terminal& terminal) {
  if (!is_commit_sha(command.sha)) {
    return report(terminal, {ErrorCode::invalid_argument,
                             "'" + command.sha.substr(0, 80) +
                                 "' is no commit: give all 40 hex digits of --sha",
                             {}});
  }
  json body = {{"sha", command.sha}};
  const auto path = "/pull-requests/" + std::to_string(command.number) + "/approve";
  return run_again(project_path(command.project, path.c_str()), "", {command.wait, command.json},
                   api, terminal, std::move(body));
}

int run(const RestartCommand& command, ApiClient& api, const Terminal& terminal) {
  return run_again(project_path(command.project, "/restart"), "", {command.wait, command.json}, api,
                   terminal);
}

int run(const CancelCommand& command, ApiClient& api, const Terminal& terminal) {
  auto& progress = command.json ? terminal.err : terminal.out;
  // A project's name may look like a deployment's id: the project is asked for first.
  auto ids = cancellable_of(command.subject, api);
  const bool is_project = ids || ids.error().code != ErrorCode::not_found;
  if (!is_project) {
    const auto deployment = api.get(deployment_path(command.subject, ""));
    if (!deployment && deployment.error().code == ErrorCode::not_found) {
      return report(terminal,
                    {ErrorCode::not_found,
                     "no project or deployment '" + command.subject +
                         "'; 'atlasflow project list' and 'atlasflow deployments NAME' show them",
                     {}});
    }
    ids = std::vector<std::string>{command.subject};
  }
  if (!ids) return report(terminal, ids.error());
  auto all = cancel_all(*ids, progress, api, terminal);
  if (command.wait) all.code = await_ends(all, progress, api, terminal);
  if (command.json && is_project) {
    terminal.out << json{{"deployments", all.cancelled}}.dump(2) << "\n";
  } else if (command.json && !all.cancelled.empty()) {
    terminal.out << all.cancelled.front().dump(2) << "\n";
  }
  return all.code;
}

int run(const StopCommand& command, ApiClient& api, const Terminal& terminal) {
  auto& progress = command.json ? terminal.err : terminal.out;
  auto deployment = api.post(project_path(command.project, "/stop"), json::object());
  if (!deployment) return report(terminal, deployment.error());
  progress << "Stopping " << command.project << "; its URL answers 503 until 'atlasflow start "
           << command.project << "'" << std::endl;
  int code = k_exit_ok;
  if (command.wait) {
    auto end =
        DeploymentWatch(api, terminal, progress, *deployment, false).until([](Deployment now) {
          return is_in(now, DeploymentStatus::stopped) || has_ended(now) || !is_stopped(now);
        });
    if (!end) return report(terminal, end.error());
    deployment = *std::move(end);
    if (is_in(*deployment, DeploymentStatus::stopped)) {
      progress << "Stopped\n";
    } else {
      code = report_other_end(*deployment, "was started", api, terminal, progress);
    }
  }
  if (command.json) terminal.out << deployment->dump(2) << "\n";
  return code;
}

int run(const StartCommand& command, ApiClient& api, const Terminal& terminal) {
  auto& progress = command.json ? terminal.err : terminal.out;
  auto deployment = api.post(project_path(command.project, "/start"), json::object());
  if (!deployment) return report(terminal, deployment.error());
  progress << "Starting " << command.project << " (" << text_of(*deployment, "id") << ")"
           << std::endl;
  int code = k_exit_ok;
  if (command.wait) {
    auto end =
        DeploymentWatch(api, terminal, progress, *deployment, false).until([](Deployment now) {
          return is_in(now, DeploymentStatus::live) || is_in(now, DeploymentStatus::crashed) ||
                 has_ended(now) || is_stopped(now);
        });
    if (!end) return report(terminal, end.error());
    deployment = *std::move(end);
    code = conclude_start(*deployment, api, terminal, progress);
  }
  if (command.json) terminal.out << deployment->dump(2) << "\n";
  return code;
}

int run(const ScaleCommand& command, ApiClient& api, const Terminal& terminal) {
  auto& progress = command.json ? terminal.err : terminal.out;
  const auto replicas = command.replicas;
  if (replicas < 1 || replicas > k_replicas_max) {
    return report(terminal, {ErrorCode::invalid_argument,
                             "an app runs on 1 to " + std::to_string(k_replicas_max) +
                                 " microVMs; 'atlasflow stop " + command.project + "' stops it",
                             {}});
  }
  auto answer = api.put(project_path(command.project, "/scale"), {{"replicas", replicas}});
  if (!answer) return report(terminal, answer.error());
  auto& deployment = (*answer)["deployment"];
  const auto wanted = std::to_string(replicas) + (replicas == 1 ? " instance" : " instances");
  int code = k_exit_ok;
  if (!deployment.is_object()) {
    progress << "Nothing of " << command.project << " is live; its next deployment runs " << wanted
             << "\n";
  } else {
    progress << "Scaling " << command.project << " to " << wanted << std::endl;
  }
  if (command.wait && deployment.is_object()) {
    auto end = DeploymentWatch(api, terminal, progress, deployment, false)
                   .until([replicas](Deployment now) {
                     return has_ended(now) || is_stopped(now) || crashed_instance(now) != nullptr ||
                            number_of(now, "replicas") != replicas || has_settled(now, replicas);
                   });
    if (!end) return report(terminal, end.error());
    deployment = *std::move(end);
    code = conclude_scale(deployment, replicas, api, terminal, progress);
  }
  if (command.json) terminal.out << answer->dump(2) << "\n";
  return code;
}

}  // namespace atlasflow::cli
