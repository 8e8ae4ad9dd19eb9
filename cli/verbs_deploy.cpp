#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/verbs.hpp"
#include "cli/watch.hpp"
#include "events/settings.hpp"

namespace atlasflow::cli {

using nlohmann::json;

int run(const DeployCommand& command, ApiClient& api, const Terminal& terminal) {
  json body = {{"command_id", new_command_id()}};
  if (!command.sha.empty()) {
    if (!is_commit_sha(command.sha)) {
      return report(terminal, {ErrorCode::invalid_argument,
                               "--sha takes a whole commit id, 40 hex digits in lower case; "
                               "'git rev-parse HEAD' prints one",
                               {}});
    }
    body["sha"] = command.sha;
  }
  if (command.no_cache) body["no_cache"] = true;
  const auto deployment =
      send_command(api, "/v1/projects/" + encoded(command.project) + "/deployments", body);
  if (!deployment) return report(terminal, deployment.error());
  return follow_new(*deployment, {command.wait, command.json}, api, terminal);
}

std::string deployments_table(const json& deployments, TimestampUs now, bool with_project) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back(
      {"#", "ID", "STATUS", "ENVIRONMENT", "MADE BY", "COMMIT", "SUBJECT", "CREATED", "URL"});
  if (with_project) rows.back().insert(rows.back().begin(), "PROJECT");
  constexpr std::size_t k_subject_columns = 40;
  constexpr std::size_t k_made_by_columns = 48;
  for (const auto& deployment : deployments) {
    const auto created = number_of(deployment, "created_at_us");
    rows.push_back(
        {text_of(deployment, "number"), text_of(deployment, "id"), text_of(deployment, "status"),
         printable(text_of(deployment, "environment")),
         shortened(made_by(deployment), k_made_by_columns), short_sha(text_of(deployment, "sha")),
         shortened(printable(text_of(deployment, "subject")), k_subject_columns),
         local_time(created) + " (" + age(now, created) + ")", text_of(deployment, "preview_url")});
    if (with_project) rows.back().insert(rows.back().begin(), text_of(deployment, "project"));
  }
  return table(rows);
}

int run(const DeploymentsCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto answer = api.get("/v1/projects/" + encoded(command.project) +
                              "/deployments?limit=" + std::to_string(command.limit));
  if (!answer) return report(terminal, answer.error());
  if (command.json) {
    terminal.out << answer->dump(2) << "\n";
    return k_exit_ok;
  }
  const auto& deployments = answer->at("deployments");
  if (deployments.empty()) {
    terminal.out << "No deployments yet; 'atlasflow deploy " << command.project << "' starts one\n";
    return k_exit_ok;
  }
  terminal.out << deployments_table(deployments, wall_clock(), false);
  return k_exit_ok;
}

}  // namespace atlasflow::cli
