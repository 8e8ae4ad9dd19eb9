#include "cli/watch.hpp"

#include <chrono>
#include <random>
#include <thread>

#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/log_tail.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr auto k_poll_interval = 200ms;
constexpr auto k_server_restart_max = 120s;  // how long a waiting client looks for its server
constexpr std::size_t k_failure_lines = 30;
// Read, of which those that repeat are not shown.
constexpr int k_failure_lines_read = 500;

bool has_milestone(const json& deployment, const char* name) {
  for (const auto& milestone : deployment.value("milestones", json::array())) {
    if (text_of(milestone, "name") == name) return true;
  }
  return false;
}

// Whose end tells why a step failed: the app's once a VM was asked for. Empty: no log does.
std::string log_kind_of(const std::string& step) {
  if (step == name_of(pb::STEP_BUILD)) return "build";
  if (step == name_of(pb::STEP_RELEASE)) return "release";
  const bool of_app = step == name_of(pb::STEP_START_VM) || step == name_of(pb::STEP_HEALTH) ||
                      step == name_of(pb::STEP_ROUTE);
  return of_app ? "run" : "";
}

// Without the time that is left, which changes with every look.
std::string waits_without_time(const json& deployment) {
  std::string all;
  for (const auto& wait : deployment.value("waiting_for", json::array())) {
    all +=
        text_of(wait, "step") + " " + text_of(wait, "slot") + " " + text_of(wait, "attempt") + "\n";
  }
  return all;
}

}  // namespace

std::string new_command_id() {
  constexpr std::string_view k_hex = "0123456789abcdef";
  std::random_device random;
  std::string id;
  while (id.size() < 32) id += k_hex[random() & 0xFU];
  return id;
}

Result<json> send_command(ApiClient& api, const std::string& path, const json& body) {
  constexpr int k_attempts = 5;
  for (int attempt = 1;; ++attempt) {
    auto answer = api.post(path, body);
    const bool broke =
        !answer && answer.error().code == ErrorCode::unavailable && !answer.error().cause.empty();
    if (!broke || attempt == k_attempts) return answer;
    std::this_thread::sleep_for(1s);
  }
}

bool has_ended(const json& deployment) {
  const auto status = status_of(deployment);
  return status && is_terminal(*status);
}

DeploymentWatch::DeploymentWatch(ApiClient& api, const Terminal& terminal, std::ostream& progress,
                                 const json& deployment, bool is_new)
    : api_(api),
      terminal_(terminal),
      progress_(progress),
      id_(text_of(deployment, "id")),
      printed_(is_new ? 0 : deployment.value("milestones", json::array()).size()),
      since_(is_new ? number_of(deployment, "created_at_us") : 0) {}

Result<json> DeploymentWatch::until(const std::function<bool(const json&)>& done) {
  auto last_answer = std::chrono::steady_clock::now();
  bool told = false;
  while (true) {
    auto deployment = api_.get("/v1/deployments/" + encoded(id_));
    const auto now = std::chrono::steady_clock::now();
    if (deployment) {
      last_answer = now;
      told = false;
      print_new_milestones(*deployment);
      print_new_notices(*deployment);
      print_new_problems(*deployment);
      print_new_waits(*deployment);
      if (done(*deployment)) return deployment;
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

void DeploymentWatch::print_new_milestones(const json& deployment) {
  const auto& milestones = deployment.at("milestones");
  for (; printed_ < milestones.size(); ++printed_) {
    const auto at = number_of(milestones[printed_], "at_us");
    if (since_ == 0) since_ = at;
    auto since = "+" + duration(at - since_);
    since.insert(0, since.size() < 10 ? 10 - since.size() : 0, ' ');
    progress_ << clock_time(at) << since << "  " << text_of(milestones[printed_], "name")
              << std::endl;
  }
}

void DeploymentWatch::print_new_waits(const json& deployment) {
  auto waits = waits_without_time(deployment);
  if (waits == waits_) return;
  waits_ = std::move(waits);
  for (const auto& wait : deployment.value("waiting_for", json::array())) {
    progress_ << "Waiting for the " << wait_line(wait, wall_clock()) << std::endl;
  }
}

void DeploymentWatch::print_new_notices(const json& deployment) {
  const auto notices = deployment.value("notices", json::array());
  for (; notices_ < notices.size(); ++notices_) {
    progress_ << "Note: " << printable(notices[notices_].get<std::string>()) << std::endl;
  }
}

void DeploymentWatch::print_new_problems(const json& deployment) {
  for (const auto& instance : deployment.value("instances", json::array())) {
    const auto problem = text_of(instance, "problem");
    if (problem.empty() || !problems_.insert(problem).second) continue;
    progress_ << "Not healthy yet: " << printable(problem) << std::endl;
  }
}

void print_log_tail(const json& deployment, const std::string& kind, const std::string& instance,
                    ApiClient& api, const Terminal& terminal) {
  std::string lines;
  const auto read =
      api.stream("/v1/deployments/" + encoded(text_of(deployment, "id")) + "/logs?kind=" + kind +
                     (instance.empty() ? "" : "&instance=" + instance) +
                     "&tail=" + std::to_string(k_failure_lines_read) + "&follow=0",
                 [&lines](std::string_view bytes) { lines += bytes; });
  if (!read || lines.empty()) return;
  terminal.err << "\nThe last lines of its " << kind << " log:\n"
               << readable_tail(lines, k_failure_lines);
}

int report_end(const json& deployment, ApiClient& api, const Terminal& terminal,
               std::ostream& progress) {
  const auto id = text_of(deployment, "id");
  const auto status = status_of(deployment);
  if (status == DeploymentStatus::skipped) {
    progress << "Skipped: " << printable(text_of(deployment, "skip_reason")) << "\n";
    return k_exit_ok;
  }
  const auto failure = deployment.value("failure", json());
  if (failure.is_object()) {
    const auto step = text_of(failure, "step");
    terminal.err << "atlasflow: deployment " << id << " failed at the " << step << ": "
                 << printable(text_of(failure, "reason")) << "\n";
    const auto kind = log_kind_of(step);
    if (!kind.empty()) print_log_tail(deployment, kind, "", api, terminal);
    return k_exit_failed;
  }
  terminal.err << "atlasflow: deployment " << id << " was " << text_of(deployment, "status");
  if (const auto by = text_of(deployment, "superseded_by"); !by.empty()) {
    terminal.err << " by " << by << ", which is newer";
  } else if (const auto canceller = text_of(deployment, "cancelled_by"); !canceller.empty()) {
    terminal.err << " by " << printable(canceller);
    if (const auto why = text_of(deployment, "cancel_reason"); !why.empty()) {
      terminal.err << ": " << printable(why);
    }
  } else if (const auto reason = text_of(deployment, "retire_reason"); !reason.empty()) {
    terminal.err << ": " << printable(reason);
  }
  terminal.err << "\n";
  return k_exit_failed;
}

int follow_new(const json& deployment, const Follow& follow, ApiClient& api,
               const Terminal& terminal) {
  // With --json the progress must not mix with the answer.
  auto& progress = follow.json ? terminal.err : terminal.out;
  const auto project = text_of(deployment, "project");
  progress << "Deploying " << project << " #" << text_of(deployment, "number") << " ("
           << text_of(deployment, "id") << ", " << short_sha(text_of(deployment, "sha")) << ")";
  if (!text_of(deployment, "source").empty()) progress << ": " << made_by(deployment);
  progress << std::endl;
  if (!follow.wait) {
    if (follow.json) {
      terminal.out << deployment.dump(2) << "\n";
    } else {
      progress << "'atlasflow events --project " << project << " -f' shows how it goes\n";
    }
    return k_exit_ok;
  }
  const auto is_live = [](const json& now) { return has_milestone(now, "Routed"); };
  const auto end =
      DeploymentWatch(api, terminal, progress, deployment, true).until([&](const json& now) {
        return is_live(now) || has_ended(now);
      });
  if (!end) return report(terminal, end.error());
  if (follow.json) terminal.out << end->dump(2) << "\n";
  if (is_live(*end)) {
    progress << "Live at " << text_of(*end, "url") << "\n";
    return k_exit_ok;
  }
  return report_end(*end, api, terminal, progress);
}

}  // namespace atlasflow::cli
