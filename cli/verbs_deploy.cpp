#include <array>
#include <chrono>
#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/verbs.hpp"
#include "events/settings.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr auto k_poll_interval = 200ms;
constexpr auto k_server_restart_max = 120s;  // how long a waiting client looks for its server
constexpr int k_failure_lines = 50;

// 32 hex digits. The same command sent twice is one deployment.
std::string new_command_id() {
  constexpr std::string_view k_hex = "0123456789abcdef";
  std::random_device random;
  std::string id;
  while (id.size() < 32) id += k_hex[random() & 0xFU];
  return id;
}

bool has_milestone(const json& deployment, const char* name) {
  for (const auto& milestone : deployment.value("milestones", json::array())) {
    if (text_of(milestone, "name") == name) return true;
  }
  return false;
}

bool has_ended(const json& deployment) {
  const auto status = text_of(deployment, "status");
  return status == "failed" || status == "superseded" || status == "cancelled" ||
         status == "retired";
}

class DeploymentWatch {
 public:
  DeploymentWatch(ApiClient& api, const Terminal& terminal, std::ostream& progress, std::string id)
      : api_(api), terminal_(terminal), progress_(progress), id_(std::move(id)) {}

  // Prints each milestone once; the deployment as it stands when it is live or has ended.
  Result<json> wait() {
    auto last_answer = std::chrono::steady_clock::now();
    bool told = false;
    while (true) {
      auto deployment = api_.get("/v1/deployments/" + encoded(id_));
      const auto now = std::chrono::steady_clock::now();
      if (deployment) {
        last_answer = now;
        told = false;
        print_new_milestones(*deployment);
        if (has_milestone(*deployment, "Routed") || has_ended(*deployment)) return deployment;
      } else if (deployment.error().code != ErrorCode::unavailable ||
                 now - last_answer > k_server_restart_max) {
        return deployment;
      } else if (!told) {
        terminal_.err << "atlasflow: the server does not answer; waiting for it to come back\n";
        told = true;
      }
      std::this_thread::sleep_for(k_poll_interval);
    }
  }

 private:
  void print_new_milestones(const json& deployment) {
    const auto& milestones = deployment.at("milestones");
    for (; printed_ < milestones.size(); ++printed_) {
      const auto at = number_of(milestones[printed_], "at_us");
      const auto first = number_of(milestones[0], "at_us");
      auto since = "+" + duration(at - first);
      since.insert(0, since.size() < 10 ? 10 - since.size() : 0, ' ');
      progress_ << clock_time(at) << since << "  " << text_of(milestones[printed_], "name")
                << std::endl;
    }
  }

  ApiClient& api_;
  const Terminal& terminal_;
  std::ostream& progress_;
  std::string id_;
  std::size_t printed_ = 0;
};

// The end of the log that tells why: the build's for a build, the app's once a VM was asked for.
void print_log_tail(const json& deployment, const std::string& step, ApiClient& api,
                    const Terminal& terminal) {
  const char* kind = nullptr;
  if (step == "build") kind = "build";
  if (step == "VM start" || step == "health check" || step == "route") kind = "run";
  if (kind == nullptr) return;
  std::string lines;
  const auto read =
      api.stream("/v1/deployments/" + encoded(text_of(deployment, "id")) + "/logs?kind=" + kind +
                     "&tail=" + std::to_string(k_failure_lines) + "&follow=0",
                 [&lines](std::string_view bytes) { lines += bytes; });
  if (!read || lines.empty()) return;
  terminal.err << "\nThe last lines of its " << kind << " log:\n" << lines;
  if (lines.back() != '\n') terminal.err << "\n";
}

int conclude(const json& deployment, ApiClient& api, const Terminal& terminal,
             std::ostream& progress) {
  const auto id = text_of(deployment, "id");
  if (has_milestone(deployment, "Routed")) {
    progress << "Live at " << text_of(deployment, "url") << "\n";
    return k_exit_ok;
  }
  const auto failure = deployment.value("failure", json());
  if (failure.is_object()) {
    const auto step = text_of(failure, "step");
    terminal.err << "atlasflow: deployment " << id << " failed at the " << step << ": "
                 << printable(text_of(failure, "reason")) << "\n";
    print_log_tail(deployment, step, api, terminal);
    return k_exit_failed;
  }
  const auto by = text_of(deployment, "superseded_by");
  terminal.err << "atlasflow: deployment " << id << " was " << text_of(deployment, "status")
               << (by.empty() ? "" : " by " + by + ", which deploys a newer commit") << "\n";
  return k_exit_failed;
}

// A connection that broke may have delivered the command; sending it again is harmless.
Result<json> send_deploy(ApiClient& api, const std::string& project, const json& body) {
  constexpr int k_attempts = 5;
  for (int attempt = 1;; ++attempt) {
    auto deployment = api.post("/v1/projects/" + encoded(project) + "/deployments", body);
    const bool broke = !deployment && deployment.error().code == ErrorCode::unavailable &&
                       !deployment.error().cause.empty();
    if (!broke || attempt == k_attempts) return deployment;
    std::this_thread::sleep_for(1s);
  }
}

}  // namespace

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
  const auto deployment = send_deploy(api, command.project, body);
  if (!deployment) return report(terminal, deployment.error());
  const auto id = text_of(*deployment, "id");
  // With --json the progress must not mix with the answer.
  auto& progress = command.json ? terminal.err : terminal.out;
  progress << "Deploying " << command.project << " #" << text_of(*deployment, "number") << " ("
           << id << ", " << short_sha(text_of(*deployment, "sha")) << ")\n";
  if (!command.wait) {
    if (command.json) {
      terminal.out << deployment->dump(2) << "\n";
    } else {
      progress << "'atlasflow events --project " << command.project << " -f' shows how it goes\n";
    }
    return k_exit_ok;
  }
  const auto end = DeploymentWatch(api, terminal, progress, id).wait();
  if (!end) return report(terminal, end.error());
  if (command.json) terminal.out << end->dump(2) << "\n";
  return conclude(*end, api, terminal, progress);
}

std::string deployments_table(const json& deployments, TimestampUs now, bool with_project) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"#", "ID", "STATUS", "COMMIT", "SUBJECT", "CREATED", "URL"});
  if (with_project) rows.back().insert(rows.back().begin(), "PROJECT");
  constexpr std::size_t k_subject_columns = 40;
  for (const auto& deployment : deployments) {
    const auto created = number_of(deployment, "created_at_us");
    rows.push_back({text_of(deployment, "number"), text_of(deployment, "id"),
                    text_of(deployment, "status"), short_sha(text_of(deployment, "sha")),
                    shortened(printable(text_of(deployment, "subject")), k_subject_columns),
                    local_time(created) + " (" + age(now, created) + ")",
                    text_of(deployment, "preview_url")});
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
