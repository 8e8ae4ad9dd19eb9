#include <iterator>

#include <nlohmann/json.hpp>

#include "cli/dotenv.hpp"
#include "cli/format.hpp"
#include "cli/verbs.hpp"
#include "events/settings.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;

std::string env_path(const std::string& project) {
  return "/v1/projects/" + encoded(project) + "/env";
}

// Empty: a file had nothing but what Atlasflow sets itself, which was said.
Result<Variables> variables_of(const EnvSetCommand& command, const Terminal& terminal) {
  auto& in = terminal.in;
  if (!command.from_file.empty()) {
    ATLAS_TRY(const auto text, read_input(command.from_file, in));
    auto read = parse_dotenv(text);
    if (!read) {
      auto error = read.error();
      error.message = command.from_file + ", " + error.message;
      return tl::unexpected(error);
    }
    if (!read->left_out.empty()) {
      std::string names;
      for (const auto& name : read->left_out) names += (names.empty() ? "" : " and ") + name;
      terminal.err << "atlasflow: " << names << " in " << command.from_file
                   << " left out: Atlasflow sets them itself. Where the app listens is the setting "
                      "port, as in 'atlasflow project set "
                   << command.project << " port=8080'\n";
      if (read->variables.empty()) return Variables{};
    }
    if (read->variables.empty()) {
      return fail(ErrorCode::invalid_argument, command.from_file + " sets no variable");
    }
    return std::move(read->variables);
  }
  auto variables = parse_assignments(command.assignments);
  if (!variables || command.stdin_name.empty()) return variables;
  ATLAS_TRYV(validate_env_name(command.stdin_name));
  ATLAS_TRY(auto value, read_input("-", in));
  // The line break that echo and editors add is not part of the value.
  if (value.ends_with('\n')) value.pop_back();
  if (value.ends_with('\r')) value.pop_back();
  variables->emplace_back(command.stdin_name, std::move(value));
  return variables;
}

}  // namespace

int run(const EnvSetCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto variables = variables_of(command, terminal);
  if (!variables) return report(terminal, variables.error());
  if (variables->empty() && !command.from_file.empty()) return k_exit_ok;
  if (variables->empty()) {
    return report(terminal, {ErrorCode::invalid_argument,
                             "no variable to set; give NAME=VALUE, --from-file or --stdin NAME",
                             {}});
  }
  json values = json::object();
  for (const auto& [name, value] : *variables) values[name] = value;
  std::string names;
  for (const auto& [name, value] : values.items()) names += (names.empty() ? "" : ", ") + name;
  const auto answer = api.put(env_path(command.project), {{"variables", values}});
  if (!answer) return report(terminal, answer.error());
  terminal.out << "Set " << printable(names) << "; 'atlasflow deploy " << command.project
               << "' starts a deployment with it\n";
  return k_exit_ok;
}

int run(const EnvListCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto answer = api.get(env_path(command.project));
  if (!answer) return report(terminal, answer.error());
  if (command.json) {
    terminal.out << answer->dump(2) << "\n";
    return k_exit_ok;
  }
  const auto now = wall_clock();
  const auto& variables = answer->at("variables");
  if (variables.empty()) {
    terminal.out << "No variables; 'atlasflow env set " << command.project
                 << " NAME=VALUE' sets one\n";
    return k_exit_ok;
  }
  std::vector<std::vector<std::string>> rows = {{"NAME", "DIGEST", "SET"}};
  for (const auto& variable : variables) {
    rows.push_back({printable(text_of(variable, "name")), text_of(variable, "digest"),
                    age(now, number_of(variable, "set_at_us"))});
  }
  terminal.out << table(rows);
  return k_exit_ok;
}

int run(const EnvUnsetCommand& command, ApiClient& api, const Terminal& terminal) {
  std::string query;
  std::string names;
  for (const auto& name : command.names) {
    query += (query.empty() ? "?name=" : "&name=") + encoded(name);
    names += (names.empty() ? "" : ", ") + name;
  }
  const auto answer = api.remove(env_path(command.project) + query);
  if (!answer) return report(terminal, answer.error());
  terminal.out << "Unset " << printable(names) << "; it applies to later deployments\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
