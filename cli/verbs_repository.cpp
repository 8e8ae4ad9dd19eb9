#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/verbs.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;

std::string path_of(const std::string& project, const char* what) {
  return "/v1/projects/" + encoded(project) + "/" + what;
}

int print_json(const json& answer, const Terminal& terminal) {
  terminal.out << answer.dump(2) << "\n";
  return k_exit_ok;
}

int usage(const Terminal& terminal, const char* sentence) {
  return report(terminal, {ErrorCode::invalid_argument, sentence, {}});
}

}  // namespace

int run(const ProjectDeployKeyCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto path = path_of(command.name, "deploy-key");
  if (command.remove) {
    const auto project = api.remove(path);
    if (!project) return report(terminal, project.error());
    if (command.json) return print_json(*project, terminal);
    terminal.out << "Removed; take it out of the repository too\n";
    return k_exit_ok;
  }
  const auto key = api.post(path, {{"replace", command.rotate}});
  if (!key) return report(terminal, key.error());
  if (command.json) return print_json(*key, terminal);
  // The key alone goes to standard output, so that it can be piped to wherever it is to be.
  terminal.out << text_of(*key, "public_key") << "\n";
  terminal.err << "Add it to the repository as a deploy key, to read only ("
               << text_of(*key, "fingerprint") << "); then 'atlasflow deploy " << command.name
               << "'\n";
  return k_exit_ok;
}

int run(const ProjectHostKeyCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto project = command.accept.empty() ? api.get("/v1/projects/" + encoded(command.name))
                                              : api.put(path_of(command.name, "host-key"),
                                                        {{"fingerprint", command.accept}});
  if (!project) return report(terminal, project.error());
  if (command.json) return print_json(project->value("host_keys", json::object()), terminal);
  if (!command.accept.empty()) {
    terminal.out << "Accepted; 'atlasflow deploy " << command.name << "' goes on with it\n";
    return k_exit_ok;
  }
  const auto keys = project->value("host_keys", json::object());
  if (keys.empty()) {
    terminal.out << "None yet: the first key that the repository's SSH host shows is kept\n";
    return k_exit_ok;
  }
  std::vector<std::vector<std::string>> rows = {{"HOST", "FINGERPRINT"}};
  for (const auto& [host, fingerprint] : keys.items()) {
    rows.push_back({printable(host), printable(fingerprint.get<std::string>())});
  }
  terminal.out << table(rows);
  return k_exit_ok;
}

int run(const ProjectLoginCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto path = path_of(command.name, "login");
  if (command.remove) {
    const auto project = api.remove(path);
    if (!project) return report(terminal, project.error());
    if (command.json) return print_json(*project, terminal);
    terminal.out << "Removed\n";
    return k_exit_ok;
  }
  if (command.password_file.empty()) {
    return usage(terminal,
                 "give --username and --password-file (- for standard input), or --remove");
  }
  const auto password = read_secret(command.password_file, "login's", terminal.in);
  if (!password) return report(terminal, password.error());
  const auto project = api.put(path, {{"username", command.username}, {"password", *password}});
  if (!project) return report(terminal, project.error());
  if (command.json) return print_json(*project, terminal);
  terminal.out << "Set; " << command.name << " is cloned with it from now on\n";
  return k_exit_ok;
}

int run(const ProjectWebhookSecretCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto path = path_of(command.name, "webhook-secret");
  if (command.server) {
    const auto project = api.remove(path);
    if (!project) return report(terminal, project.error());
    if (command.json) return print_json(*project, terminal);
    terminal.out << "Set; the server's secret signs the webhooks of " << command.name << "\n";
    return k_exit_ok;
  }
  if (command.file.empty()) {
    return usage(terminal, "give the secret by --file (- for standard input), or --server");
  }
  const auto secret = read_secret(command.file, "webhook", terminal.in);
  if (!secret) return report(terminal, secret.error());
  const auto project = api.put(path, {{"secret", *secret}});
  if (!project) return report(terminal, project.error());
  if (command.json) return print_json(*project, terminal);
  terminal.out << "Set; give it to the webhook at the Git host too: what the one before signed is "
                  "refused from now on\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
