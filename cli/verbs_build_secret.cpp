#include <algorithm>

#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/verbs.hpp"
#include "events/build_secret.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;

std::string secrets_path(const std::string& project) {
  return "/v1/projects/" + encoded(project) + "/build-secrets";
}

// A token is one line, and the line break that echo and editors add is not part of it. What has
// several lines is a file: OpenSSH reads no key without the last line break.
std::string without_line_end(std::string value) {
  const auto breaks = std::count(value.begin(), value.end(), '\n');
  if (breaks != 1 || !value.ends_with('\n')) return value;
  value.pop_back();
  if (value.ends_with('\r')) value.pop_back();
  return value;
}

std::string list_of(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "" : ", ") + name;
  return printable(list);
}

}  // namespace

int run(const BuildSecretSetCommand& command, ApiClient& api, const Terminal& terminal) {
  // Before anything is read: NAME=VALUE, typed by mistake, must not wait for input.
  if (const auto valid = validate_build_secret_name(command.name); !valid) {
    return report(terminal, valid.error());
  }
  if (!command.mistaken.empty()) {
    return report(terminal, {ErrorCode::invalid_argument,
                             "the value is no argument, where the shell keeps it and others read "
                             "it; write it to standard input, or name a file with --from-file",
                             {}});
  }
  auto value = read_input(command.file, terminal.in).map(without_line_end);
  if (!value) return report(terminal, value.error());
  if (const auto valid = validate_build_secret_value(command.name, *value); !valid) {
    return report(terminal, valid.error());
  }
  const auto answer =
      api.put(secrets_path(command.project), {{"secrets", {{command.name, std::move(*value)}}}});
  if (!answer) return report(terminal, answer.error());
  terminal.out << "Set " << command.name << "; 'atlasflow deploy " << command.project
               << "' builds with it, in steps with --mount=type=secret,id=" << command.name << "\n";
  return k_exit_ok;
}

int run(const BuildSecretListCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto answer = api.get(secrets_path(command.project));
  if (!answer) return report(terminal, answer.error());
  if (command.json) {
    terminal.out << answer->dump(2) << "\n";
    return k_exit_ok;
  }
  const auto& secrets = answer->at("secrets");
  if (secrets.empty()) {
    terminal.out << "No build secrets; 'atlasflow build-secret set " << command.project
                 << " NPM_TOKEN < FILE' sets one\n";
    return k_exit_ok;
  }
  const auto now = wall_clock();
  std::vector<std::vector<std::string>> rows = {{"NAME", "DIGEST", "SET"}};
  for (const auto& secret : secrets) {
    rows.push_back({printable(text_of(secret, "name")), text_of(secret, "digest"),
                    age(now, number_of(secret, "set_at_us"))});
  }
  terminal.out << table(rows);
  return k_exit_ok;
}

int run(const BuildSecretUnsetCommand& command, ApiClient& api, const Terminal& terminal) {
  std::string query;
  for (const auto& name : command.names) {
    query += (query.empty() ? "?name=" : "&name=") + encoded(name);
  }
  const auto answer = api.remove(secrets_path(command.project) + query);
  if (!answer) return report(terminal, answer.error());
  terminal.out << "Unset " << list_of(command.names) << "; it applies to later deployments\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
