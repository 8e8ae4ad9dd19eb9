#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/verbs.hpp"
#include "events/settings.hpp"
#include "events/ssh_address.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;

// What Git hosts are to be told; needs the server's domain and port.
struct WebhookUrls {
  std::string github;
  std::string git;  // of GitLab, Gitea, Forgejo, Gogs, Bitbucket, and of whoever can sign
};
Result<WebhookUrls> webhook_urls(const std::string& project, ApiClient& api) {
  ATLAS_TRY(const auto status, api.get("/v1/status"));
  const auto port = number_of(status, "https_port");
  const auto base = "https://" + text_of(status, "domain") +
                    (port == 443 ? "" : ":" + std::to_string(port)) + "/webhooks/";
  return WebhookUrls{base + "github", base + "git/" + project};
}

std::string one_line(const json& deployment, TimestampUs now) {
  return text_of(deployment, "id") + " (" + text_of(deployment, "status") + ", " +
         short_sha(text_of(deployment, "sha")) + ", " +
         age(now, number_of(deployment, "updated_at_us")) + ")";
}

// What visitors may ask of it and are told, where that is not the usual.
void add_visitor_row(const json& settings, std::vector<std::vector<std::string>>& rows) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (const auto rate = number_of(settings, "request_rate"); rate != 0) {
    add(std::to_string(rate) + " requests a second of each address");
  }
  if (const auto requests = number_of(settings, "max_concurrent_requests"); requests != 0) {
    add(std::to_string(requests) + " at once at each VM");
  }
  if (text_of(settings, "app_protocol") == k_h2c) add("HTTP/2 to the app (h2c)");
  if (const auto message = text_of(settings, "unavailable_message"); !message.empty()) {
    add("when unavailable: " + message);
  }
  if (!text.empty()) rows.push_back({"Visitors", printable(text)});
}

// Of the settings that say what is built and run, those that are not the usual.
void add_source_rows(const json& settings, std::vector<std::vector<std::string>>& rows) {
  const auto add = [&](const char* title, const std::string& text) {
    if (!text.empty()) rows.push_back({title, printable(text)});
  };
  add("Root folder", text_of(settings, "root_folder"));
  add("Dockerfile", text_of(settings, "dockerfile"));
  add("Build target", text_of(settings, "build_target"));
  add("Static folder", text_of(settings, "static.folder"));
  add("Static fallback", text_of(settings, "static.fallback"));
  add("Install command", text_of(settings, "install_command"));
  add("Build command", text_of(settings, "build_command"));
  add("Start command", text_of(settings, "start_command"));
  std::string args;
  const auto build_args = settings.value("build_args", json::object());
  for (const auto& [name, value] : build_args.items()) {
    args += (args.empty() ? "" : ", ") + name + "=" + value.get<std::string>();
  }
  add("Build args", args);
  std::string globs;
  for (const auto& glob : settings.value("watch_paths", json::array())) {
    globs += (globs.empty() ? "" : ", ") + glob.get<std::string>();
  }
  add("Watches", globs);
  add("Release", text_of(settings, "release_command"));
  if (const auto replicas = number_of(settings, "replicas"); replicas > 1) {
    add("Replicas", std::to_string(replicas));
  }
  if (settings.value("previews", false)) {
    add("Previews",
        "of at most " + std::to_string(number_of(settings, "preview_limit")) + " other branches");
  }
  if (settings.value("pull_requests", false)) {
    add("Pull requests", settings.value("pull_requests_from_forks", false)
                             ? "each has a preview; from forks once it is approved"
                             : "each has a preview; none from forks");
  }
  add("Notifies", text_of(settings, "notify_url"));
  add("Redirects to", text_of(settings, "primary_domain"));
}

// What the repository is opened with, where that is anything.
void add_access_rows(const json& project, std::vector<std::vector<std::string>>& rows) {
  if (const auto key = project.value("deploy_key", json()); key.is_object()) {
    rows.push_back({"Deploy key", printable(text_of(key, "fingerprint"))});
  }
  const auto keys = project.value("host_keys", json::object());
  for (const auto& [host, fingerprint] : keys.items()) {
    rows.push_back({"Host key", printable(host + " " + fingerprint.get<std::string>())});
  }
  if (project.value("has_login", false)) rows.push_back({"Login", "user and token are set"});
}

// What must answer, and where it is looked for.
std::string health_line(const json& settings, const std::string& deadline) {
  const auto path = text_of(settings, "health_path");
  if (path == k_no_health_path) return "none: healthy when it has run for 10 s";
  return "GET " + printable(path) + " on port " + std::to_string(number_of(settings, "port")) +
         (settings.value("port_given", true) ? "" : " (or the image's only EXPOSE)") + " within " +
         deadline;
}

int print_project(const json& project, ApiClient& api, const Terminal& terminal) {
  const auto webhooks = webhook_urls(text_of(project, "name"), api);
  if (!webhooks) return report(terminal, webhooks.error());
  const auto now = wall_clock();
  const auto branch = text_of(project, "branch");
  std::vector<std::vector<std::string>> rows = {
      {"Project", text_of(project, "name")},
      {"URL", text_of(project, "url")},
      {"Repository", printable(text_of(project, "repository")) +
                         (project.value("repository_deleted", false) ? ", deleted on GitHub" : "")},
      {"Branch", branch.empty() ? "(the repository's default)" : printable(branch)},
  };
  if (const auto push = text_of(project, "git_push_url"); push.empty()) {
    rows.push_back({"Webhook", webhooks->github + " (of GitHub)"});
    rows.push_back({"", webhooks->git + " (of other hosts)"});
  } else {
    rows.push_back({"Push to", push + (project.value("has_push_token", false)
                                           ? ""
                                           : " (no token yet: atlasflow project push-token " +
                                                 text_of(project, "name") + ")")});
  }
  rows.push_back({"Status", text_of(project, "status")});
  add_access_rows(project, rows);
  const auto live = project.value("live_deployment", json());
  const auto newest = project.value("newest_deployment", json());
  const auto described = [&](const json& deployment) {
    return deployment.is_object() ? one_line(deployment, now) : text_of({{"id", deployment}}, "id");
  };
  rows.push_back({"Live", live.is_null() ? "nothing yet" : described(live)});
  if (!newest.is_null() && newest != live) rows.push_back({"Newest", described(newest)});
  for (const auto& [title, member] :
       {std::pair("Variables", "env_names"), std::pair("Build secrets", "build_secret_names")}) {
    std::string names;
    for (const auto& name : project.value(member, json::array())) {
      names += (names.empty() ? "" : ", ") + name.get<std::string>();
    }
    rows.push_back({title, names.empty() ? "none" : printable(names)});
  }
  for (const auto& waiting : project.value("waiting_for_approval", json::array())) {
    const auto sha = text_of(waiting, "sha");
    rows.push_back({"Waits", "pull request " + text_of(waiting, "number") + " of the fork " +
                                 printable(text_of(waiting, "repository")) + " at " + sha +
                                 ": atlasflow approve " + text_of(project, "name") + " " +
                                 text_of(waiting, "number") + " --sha " + sha});
  }
  const auto settings = project.value("settings", json::object());
  const auto limit = [&](const char* name) {
    return std::to_string(number_of(settings, name) / 1'000'000) + " s";
  };
  rows.push_back({"Health", health_line(settings, limit("health_deadline_us"))});
  rows.push_back({"Limits", std::to_string(number_of(settings, "memory_mib")) + " MiB, " +
                                std::to_string(number_of(settings, "vcpus")) + " vCPU, disk " +
                                std::to_string(number_of(settings, "disk_mib")) + " MiB; clone " +
                                limit("clone_deadline_us") + ", build " +
                                limit("build_deadline_us") + ", drain " +
                                limit("drain_deadline_us") + ", stop " + limit("stop_grace_us")});
  add_visitor_row(settings, rows);
  add_source_rows(settings, rows);
  const auto created = number_of(project, "created_at_us");
  rows.push_back({"Created", local_time(created) + " (" + age(now, created) + ")"});
  terminal.out << table(rows);
  return k_exit_ok;
}

}  // namespace

int run(const ProjectCreateCommand& command, ApiClient& api, const Terminal& terminal) {
  json body = {{"name", command.name}};
  if (command.git_push) {
    body["git_push"] = true;
  } else {
    body["repository"] = command.repository;
  }
  if (!command.branch.empty()) body["branch"] = command.branch;
  if (!command.webhook_secret_file.empty()) {
    const auto secret = read_secret(command.webhook_secret_file, "webhook", terminal.in);
    if (!secret) return report(terminal, secret.error());
    body["webhook_secret"] = *secret;
  }
  const auto project = api.post("/v1/projects", body);
  if (!project) return report(terminal, project.error());
  if (command.json) {
    terminal.out << project->dump(2) << "\n";
    return k_exit_ok;
  }
  if (command.git_push) {
    const auto name = text_of(*project, "name");
    terminal.out << "Created " << name << ", at " << text_of(*project, "url") << "\n"
                 << "Deploy it by a push:  git remote add atlasflow "
                 << text_of(*project, "git_push_url") << "\n"
                 << "                      git push atlasflow " << text_of(*project, "branch")
                 << "\n"
                 << "Log in with a token:  atlasflow project push-token " << name << "\n";
    return k_exit_ok;
  }
  const auto webhooks = webhook_urls(text_of(*project, "name"), api);
  if (!webhooks) return report(terminal, webhooks.error());
  terminal.out << "Created " << text_of(*project, "name") << ", at " << text_of(*project, "url")
               << "\n"
               << (is_ssh_url(command.repository)
                       ? "Let it in first:  atlasflow project deploy-key " +
                             text_of(*project, "name") +
                             "\n                  prints the key to add to the repository\n"
                       : "")
               << "Deploy it now:    atlasflow deploy " << text_of(*project, "name") << " --wait\n"
               << "Deploy on push:   in GitHub, add a webhook with the URL " << webhooks->github
               << "\n                  (in GitLab, Gitea, Forgejo, Gogs or Bitbucket "
               << webhooks->git << "),\n                  content type application/json, and "
               << (command.webhook_secret_file.empty() ? "the server's webhook secret"
                                                       : "the secret you gave")
               << "\n";
  return k_exit_ok;
}

int run(const ProjectListCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto answer = api.get("/v1/projects");
  if (!answer) return report(terminal, answer.error());
  if (command.json) {
    terminal.out << answer->dump(2) << "\n";
    return k_exit_ok;
  }
  const auto& projects = answer->at("projects");
  if (projects.empty()) {
    terminal.out << "No projects yet; 'atlasflow project create NAME --repo URL' makes one\n";
    return k_exit_ok;
  }
  const auto now = wall_clock();
  std::vector<std::vector<std::string>> rows = {{"NAME", "STATUS", "URL", "CHANGED", "REPOSITORY"}};
  for (const auto& project : projects) {
    rows.push_back({text_of(project, "name"), text_of(project, "status"), text_of(project, "url"),
                    age(now, number_of(project, "updated_at_us")),
                    printable(text_of(project, "repository"))});
  }
  terminal.out << table(rows);
  return k_exit_ok;
}

int run(const ProjectShowCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto project = api.get("/v1/projects/" + encoded(command.name));
  if (!project) return report(terminal, project.error());
  if (command.json) {
    terminal.out << project->dump(2) << "\n";
    return k_exit_ok;
  }
  return print_project(*project, api, terminal);
}

int run(const ProjectSetCommand& command, ApiClient& api, const Terminal& terminal) {
  json body = json::object();
  for (const auto& assignment : command.assignments) {
    const auto equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0) {
      return report(terminal, {ErrorCode::invalid_argument,
                               "'" + assignment + "' is no SETTING=VALUE, such as health_path=/up",
                               {}});
    }
    body[assignment.substr(0, equals)] = assignment.substr(equals + 1);
  }
  const auto project = api.put("/v1/projects/" + encoded(command.name) + "/settings", body);
  if (!project) return report(terminal, project.error());
  if (command.json) {
    terminal.out << project->dump(2) << "\n";
    return k_exit_ok;
  }
  terminal.out << "Changed; 'atlasflow deploy " << command.name << "' applies it now\n";
  return k_exit_ok;
}

int run(const ProjectNotifySecretCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto secret = read_secret(command.file, "notify", terminal.in);
  if (!secret) return report(terminal, secret.error());
  const auto project =
      api.put("/v1/projects/" + encoded(command.name) + "/notify-secret", {{"secret", *secret}});
  if (!project) return report(terminal, project.error());
  if (command.json) {
    terminal.out << project->dump(2) << "\n";
    return k_exit_ok;
  }
  terminal.out << "Set; it signs what " << command.name << " tells its notify_url\n";
  return k_exit_ok;
}

int run(const ProjectPushTokenCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto path = "/v1/projects/" + encoded(command.name) + "/push-token";
  const auto answer = command.revoke ? api.remove(path) : api.post(path, json::object());
  if (!answer) return report(terminal, answer.error());
  if (command.json) {
    terminal.out << answer->dump(2) << "\n";
    return k_exit_ok;
  }
  if (command.revoke) {
    terminal.out << "Revoked; nobody can push to " << command.name << " until there is another\n";
    return k_exit_ok;
  }
  // The token alone stands on standard output, for whoever hands it on to a secret store.
  terminal.err << "The token to push to " << text_of(*answer, "url")
               << " with, as the password of any user name; it is not shown again:\n";
  terminal.out << text_of(*answer, "token") << "\n";
  return k_exit_ok;
}

int run(const ProjectDeleteCommand& command, ApiClient& api, const Terminal& terminal) {
  if (!command.yes) {
    const auto project = api.get("/v1/projects/" + encoded(command.name));
    if (!project) return report(terminal, project.error());
    terminal.out << "Delete " << command.name << " (" << text_of(*project, "url")
                 << ") and stop its microVMs? Type its name to go on: " << std::flush;
    std::string answer;
    std::getline(terminal.in, answer);
    if (answer != command.name) {
      terminal.err << "atlasflow: nothing was deleted; type the name, or give --yes\n";
      return k_exit_failed;
    }
  }
  const auto deleted = api.remove("/v1/projects/" + encoded(command.name));
  if (!deleted) return report(terminal, deleted.error());
  terminal.out << "Deleted " << command.name << "\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
