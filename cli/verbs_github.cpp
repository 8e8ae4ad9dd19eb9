#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "cli/format.hpp"
#include "cli/verbs.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;

constexpr auto k_look_every = std::chrono::seconds(2);
constexpr auto k_wait_at_most = std::chrono::hours(1);  // as long as the page is valid

int print_connected(const json& app, bool as_json, const Terminal& terminal) {
  if (as_json) {
    terminal.out << app.dump(2) << "\n";
    return k_exit_ok;
  }
  terminal.out << "Connected the GitHub App " << printable(text_of(app, "slug")) << " ("
               << number_of(app, "id") << ")\n";
  if (const auto url = text_of(app, "install_url"); !url.empty()) {
    terminal.out << "Install it on your repositories: " << printable(url) << "\n";
  }
  terminal.out << "What is still missing:           atlasflow github status\n";
  return k_exit_ok;
}

int connect_by_key(const GitHubConnectCommand& command, ApiClient& api, const Terminal& terminal) {
  if (command.private_key_file == "-" && command.webhook_secret_file == "-") {
    return report(terminal, {ErrorCode::invalid_argument,
                             "only one of the two can come from standard input; give the other a "
                             "file",
                             {}});
  }
  const auto key = read_input(command.private_key_file, terminal.in);
  if (!key) return report(terminal, key.error());
  const auto secret = read_secret(command.webhook_secret_file, "webhook", terminal.in);
  if (!secret) return report(terminal, secret.error());
  const auto app = api.put("/v1/github", {{"app_id", command.app_id},
                                          {"private_key", *key},
                                          {"webhook_secret", *secret},
                                          {"base_url", command.base_url}});
  if (!app) return report(terminal, app.error());
  return print_connected(*app, command.json, terminal);
}

// Until the page's App is connected, or none will be. GitHub is asked for nothing meanwhile.
int wait_for_app(const std::string& state, bool as_json, ApiClient& api, const Terminal& terminal) {
  const auto until = std::chrono::steady_clock::now() + k_wait_at_most;
  std::string told;
  while (std::chrono::steady_clock::now() < until) {
    const auto progress = api.get("/v1/github/manifest/" + state);
    if (!progress) return report(terminal, progress.error());
    if (const auto app = progress->value("app", json()); !app.is_null()) {
      return print_connected(app, as_json, terminal);
    }
    const auto problem = text_of(*progress, "problem");
    if (progress->value("over", false)) {
      return report(terminal, {ErrorCode::user_error, problem, {}});
    }
    if (problem != told) {
      terminal.err << "atlasflow: " << printable(problem)
                   << "; load the page in the browser again to try again\n"
                   << std::flush;
      told = problem;
    }
    std::this_thread::sleep_for(k_look_every);
  }
  return report(terminal, {ErrorCode::timed_out,
                           "no App was made within an hour; run 'atlasflow github connect' again",
                           {}});
}

int connect_by_manifest(const GitHubConnectCommand& command, ApiClient& api,
                        const Terminal& terminal) {
  const auto page = api.post("/v1/github/manifest", {{"base_url", command.base_url},
                                                     {"organization", command.organization}});
  if (!page) return report(terminal, page.error());
  if (command.json && !command.wait) {
    terminal.out << page->dump(2) << "\n";
    return k_exit_ok;
  }
  // With --json what is printed meanwhile must not mix with the answer.
  auto& progress = command.json ? terminal.err : terminal.out;
  progress << "Open this page within an hour; its button makes the App on GitHub:\n  "
           << printable(text_of(*page, "url")) << "\n"
           << std::flush;
  return command.wait ? wait_for_app(text_of(*page, "state"), command.json, api, terminal)
                      : k_exit_ok;
}

std::string delivery_text(const json& delivery, TimestampUs now) {
  if (delivery.is_null()) return "; no delivery within three days";
  const auto status = number_of(delivery, "status");
  return "; the last delivery, " + printable(text_of(delivery, "event")) + ", " +
         (status == 0 ? "did not arrive" : "was answered with " + std::to_string(status)) + " " +
         age(now, number_of(delivery, "at_us"));
}

std::vector<std::string> problems_in(const json& status) {
  std::vector<std::string> problems;
  const auto note = [&](const json& part) {
    const auto problem = part.is_object() ? text_of(part, "problem") : std::string();
    if (!problem.empty()) problems.push_back(problem);
  };
  note(status);
  note(status.value("webhook", json()));
  for (const auto& project : status.value("projects", json::array())) note(project);
  return problems;
}

// GitHub has not said when it is neither.
std::string installed_text(const json& installed) {
  if (!installed.is_boolean()) return "?";
  return installed.get<bool>() ? "yes" : "no";
}

}  // namespace

int run(const GitHubConnectCommand& command, ApiClient& api, const Terminal& terminal) {
  return command.app_id == 0 ? connect_by_manifest(command, api, terminal)
                             : connect_by_key(command, api, terminal);
}

int run(const GitHubStatusCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto status = api.get("/v1/github");
  if (!status) return report(terminal, status.error());
  const auto problems = problems_in(*status);
  const int exit_code = problems.empty() ? k_exit_ok : k_exit_failed;
  if (command.json) {
    terminal.out << status->dump(2) << "\n";
    return exit_code;
  }
  const auto app = status->value("app", json());
  if (app.is_null()) {
    terminal.out << "No GitHub App is connected; 'atlasflow github connect' does it\n";
    return k_exit_ok;
  }
  const auto now = wall_clock();
  const auto webhook = status->value("webhook", json());
  std::vector<std::vector<std::string>> rows = {
      {"App", printable(text_of(app, "slug")) + " (" + std::to_string(number_of(app, "id")) +
                  ") on " + printable(text_of(app, "base_url"))},
      {"Connected", local_time(number_of(app, "connected_at_us"))},
      {"Key", printable(text_of(app, "key_fingerprint"))},
  };
  if (webhook.is_object() && !text_of(webhook, "url").empty()) {
    rows.push_back({"Webhook", printable(text_of(webhook, "url")) +
                                   delivery_text(webhook.value("last_delivery", json()), now)});
  }
  if (const auto url = text_of(app, "install_url"); !url.empty()) {
    rows.push_back({"Install", printable(url)});
  }
  terminal.out << table(rows);
  std::vector<std::vector<std::string>> projects = {{"PROJECT", "REPOSITORY", "INSTALLED"}};
  for (const auto& project : status->value("projects", json::array())) {
    projects.push_back({printable(text_of(project, "project")),
                        printable(text_of(project, "repository")),
                        installed_text(project.value("installed", json()))});
  }
  if (projects.size() > 1) terminal.out << "\n" << table(projects);
  for (const auto& problem : problems) terminal.out << "\n! " << printable(problem) << "\n";
  return exit_code;
}

int run(const GitHubDisconnectCommand& command, ApiClient& api, const Terminal& terminal) {
  if (!command.yes) {
    terminal.out << "Forget the App's key and webhook secret? Private repositories can't be cloned "
                    "then. Type yes to go on: "
                 << std::flush;
    std::string answer;
    std::getline(terminal.in, answer);
    if (answer != "yes") {
      terminal.err << "atlasflow: nothing was changed; type yes, or give --yes\n";
      return k_exit_failed;
    }
  }
  const auto done = api.remove("/v1/github");
  if (!done) return report(terminal, done.error());
  terminal.out << "Disconnected; the App itself is deleted on GitHub, in its settings\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
