#include <chrono>
#include <iterator>
#include <map>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "base/rfc3339.hpp"
#include "cli/followed_stream.hpp"
#include "cli/format.hpp"
#include "cli/log_tail.hpp"
#include "cli/verbs.hpp"

namespace atlasflow::cli {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

// Tells of each stream whose it is, and asks the server once about those that the log did not tell.
class StreamNames {
 public:
  explicit StreamNames(ApiClient& api) : api_(api) {}

  // "web/d7k2m9qa", "web", "node".
  std::string name_of(const std::string& stream, const std::string& type, const json& data) {
    const auto slash = stream.find('/');
    if (slash == std::string::npos) return stream;
    const auto kind = stream.substr(0, slash);
    const auto id = stream.substr(slash + 1);
    if (kind == "deployment") {
      if (type == "PushReceived") projects_of_deployments_[id] = text_of(data, "project_name");
      if (type == "RollbackRequested" || type == "RedeployRequested") {
        projects_of_deployments_[id] = text_of(data.value("push", json::object()), "project_name");
      }
      return project_of_deployment(id) + "/" + id;
    }
    if (type == "ProjectCreated") project_names_[id] = text_of(data, "name");
    return project_name(id);
  }

 private:
  std::string project_of_deployment(const std::string& id) {
    const auto known = projects_of_deployments_.find(id);
    if (known != projects_of_deployments_.end()) return known->second;
    const auto deployment = api_.get("/v1/deployments/" + encoded(id));
    return projects_of_deployments_[id] = deployment ? text_of(*deployment, "project") : "?";
  }

  std::string project_name(const std::string& id) {
    if (!project_names_.contains(id)) {
      project_names_[id] = id;
      const auto answer = api_.get("/v1/projects");
      for (const auto& project : answer ? answer->at("projects") : json::array()) {
        project_names_[text_of(project, "id")] = text_of(project, "name");
      }
    }
    return project_names_[id];
  }

  ApiClient& api_;
  std::map<std::string, std::string> projects_of_deployments_;
  std::map<std::string, std::string> project_names_;
};

std::string event_line(const json& event, StreamNames& names) {
  const auto type = text_of(event, "type");
  const auto data = event.value("data", json::object());
  auto stream = names.name_of(text_of(event, "stream"), type, data);
  stream.resize(std::max<std::size_t>(stream.size(), 20), ' ');
  auto line = clock_time(number_of(event, "at_us")) + "  " + stream + "  " + type;
  const auto detail = event_detail(type, data);
  constexpr std::size_t k_detail_columns = 200;
  if (!detail.empty()) line += "  " + shortened(detail, k_detail_columns);
  return line + printable(asker_mark(text_of(event, "actor"), detail));
}

std::string query_of(const LogsCommand& command) {
  const char* kind = command.build     ? "build"
                     : command.release ? "release"
                     : command.http    ? "http"
                                       : "run";
  return std::string("/logs?kind=") + kind +
         (command.instance ? "&instance=" + std::to_string(*command.instance) : "") +
         (command.lines == 0 ? "" : "&tail=" + std::to_string(command.lines)) +
         (command.since.empty() ? "" : "&since=" + encoded(command.since)) +
         "&follow=" + (command.follow ? "1" : "0");
}

// Prints a log as it comes, or each line as an object of its own without terminal escapes. Requests
// come as objects, and are printed as such or for people.
class LogPrinter {
 public:
  LogPrinter(const LogsCommand& command, std::ostream& out)
      : json_(command.json), requests_(command.http), out_(out) {}

  // A reading, of which nothing is printed yet.
  void begin() { has_printed_ = false; }
  [[nodiscard]] bool has_printed() const { return has_printed_; }

  void print(std::string_view bytes) {
    has_printed_ = true;
    latest_ = wall_clock();
    if (!json_ && !requests_) {
      out_ << bytes << std::flush;
      return;
    }
    lines_.feed(bytes, [this](std::string_view line) { print_line(line); });
    out_ << std::flush;
  }
  // What was cut in the middle of a line.
  void finish_line() {
    if (const auto rest = lines_.take_rest(); !rest.empty()) print_line(rest);
    out_ << std::flush;
  }
  // When something came the last time; before that, when it began.
  [[nodiscard]] TimestampUs latest() const { return latest_; }

 private:
  void print_line(std::string_view line) {
    if (requests_) {
      if (line.empty()) return;  // keeps a quiet connection open
      const auto request = json::parse(line, nullptr, false);
      if (!request.is_object()) return;
      out_ << (json_ ? std::string(line) : request_line(request)) << "\n";
      return;
    }
    out_ << json{{"line", plain_line(line)}}.dump(-1, ' ', false, json::error_handler_t::replace)
         << "\n";
  }

  const bool json_;
  const bool requests_;
  std::ostream& out_;
  LineSplitter lines_;
  bool has_printed_ = false;
  TimestampUs latest_ = wall_clock();
};

// A project's name may look like a deployment's id: the project is asked for first.
Result<void> read_log(const LogsCommand& command, ApiClient& api, LogPrinter& printer) {
  const auto print = [&](std::string_view bytes) { printer.print(bytes); };
  auto read = api.stream("/v1/projects/" + encoded(command.subject) + query_of(command), print);
  if (read || read.error().code != ErrorCode::not_found) return read;
  const auto project = api.get("/v1/projects/" + encoded(command.subject));
  if (project || project.error().code != ErrorCode::not_found) return read;
  read = api.stream("/v1/deployments/" + encoded(command.subject) + query_of(command), print);
  if (read || read.error().code != ErrorCode::not_found) return read;
  const auto deployment = api.get("/v1/deployments/" + encoded(command.subject));
  if (deployment || deployment.error().code != ErrorCode::not_found) return read;
  return fail(ErrorCode::not_found,
              "no project or deployment '" + command.subject +
                  "'; 'atlasflow project list' and 'atlasflow deployments NAME' show them");
}

Result<void> wait_for_server(ApiClient& api) {
  constexpr auto k_patience = 120s;
  const auto until = std::chrono::steady_clock::now() + k_patience;
  while (true) {
    const auto status = api.get("/v1/status");
    if (status) return {};
    if (std::chrono::steady_clock::now() > until) return tl::unexpected(status.error());
    std::this_thread::sleep_for(500ms);
  }
}

// Streams whose rules broke: nothing moves them until the next start, and nobody else is harmed.
void print_quarantine(const json& status, const Terminal& terminal) {
  const auto quarantined = status.value("quarantined", json::array());
  if (!quarantined.empty()) terminal.out << "\n";
  for (const auto& entry : quarantined) {
    auto stream = text_of(entry, "stream");
    if (const auto slash = stream.find('/'); slash != std::string::npos) stream[slash] = ' ';
    const auto project = text_of(entry, "project");
    terminal.out << "quarantined: " << printable(stream)
                 << (project.empty() ? "" : " of " + project) << ": "
                 << printable(text_of(entry, "reason")) << "\n";
  }
}

void print_expiring(const json& status, const Terminal& terminal) {
  const auto expiring = status.value("certificates", json::array());
  if (!expiring.empty()) terminal.out << "\n";
  const auto now = wall_clock();
  for (const auto& each : expiring) {
    const auto left = number_of(each, "not_after_us") - now;
    terminal.out << "certificate of " << text_of(each, "domain") << " (project "
                 << text_of(each, "project") << ") "
                 << (left > 0 ? "ends in " + duration(left) : "ended " + duration(-left) + " ago")
                 << ": " << printable(text_of(each, "reason")) << "\n";
  }
}

// Why an app is not simply live.
std::string app_note(const json& deployment) {
  if (const auto by = text_of(deployment, "stopped_by"); !by.empty()) return "stopped by " + by;
  std::int64_t crashes = 0;
  for (const auto& instance : deployment.value("instances", json::array())) {
    crashes = std::max(crashes, number_of(instance, "crashes"));
  }
  if (crashes == 0) return "";
  return std::to_string(crashes) + (crashes == 1 ? " crash" : " crashes in a row");
}

// Apps first, then what is on its way, then what only time will bring.
void print_active(const json& active, const Terminal& terminal) {
  const auto now = wall_clock();
  std::vector<std::vector<std::string>> apps = {
      {"APP", "ENVIRONMENT", "STATUS", "HEALTHY", "DEPLOYMENT", "URL", "NOTE"}};
  auto under_way = json::array();
  std::string waits;
  for (const auto& deployment : active) {
    const auto status = status_of(deployment);
    if (status && is_serving(*status)) {
      apps.push_back({text_of(deployment, "project"), printable(text_of(deployment, "environment")),
                      text_of(deployment, "status"), healthy_share(deployment),
                      text_of(deployment, "id"), text_of(deployment, "url"), app_note(deployment)});
    } else {
      under_way.push_back(deployment);
    }
    for (const auto& wait : deployment.value("waiting_for", json::array())) {
      waits += text_of(deployment, "project") + "/" + text_of(deployment, "id") +
               " waits for the " + wait_line(wait, now) + "\n";
    }
    // A matter of moments, unless the VM can't be stopped: that is tried for ever.
    for (const auto& instance : deployment.value("instances", json::array())) {
      if (const auto problem = text_of(instance, "problem"); !problem.empty()) {
        waits += text_of(deployment, "project") + "/" + text_of(deployment, "id") +
                 " is not healthy: " + printable(problem) + "\n";
      }
      if (text_of(instance, "state") != "stopping") continue;
      waits += text_of(deployment, "project") + "/" + text_of(deployment, "id") +
               " waits for microVM " + text_of(instance, "vm") + " to stop\n";
    }
  }
  if (apps.size() > 1) terminal.out << "\n" << table(apps);
  if (!under_way.empty()) terminal.out << "\n" << deployments_table(under_way, now, true);
  if (!waits.empty()) terminal.out << "\n" << waits;
}

}  // namespace

TimestampUs wall_clock() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

int report(const Terminal& terminal, const Error& error) {
  terminal.out << std::flush;
  terminal.err << "atlasflow: " << printable(to_string(error)) << "\n";
  if (error.code == ErrorCode::disk_full) return k_exit_disk_full;
  const bool refused = error.code == ErrorCode::invalid_argument ||
                       error.code == ErrorCode::conflict || error.code == ErrorCode::too_large;
  return refused ? k_exit_usage : k_exit_failed;
}

Result<std::string> read_input(const std::string& file, std::istream& in) {
  constexpr std::size_t k_bytes_max = 1U << 20U;
  const auto too_large = [&file] {
    return fail(ErrorCode::invalid_argument, file + " has more than 1 MiB; give a smaller one");
  };
  if (file != "-") {
    auto text = read_file(file, k_bytes_max);
    if (text) return text;
    if (text.error().code == ErrorCode::too_large) return too_large();
    return fail(ErrorCode::invalid_argument, "can't read " + file + "; name a readable file",
                text.error().cause);
  }
  std::string text(k_bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > k_bytes_max) return too_large();
  return text;
}

Result<std::string> read_secret(const std::string& file, const std::string& what,
                                std::istream& in) {
  auto secret = read_input(file, in);
  if (!secret) return secret;
  while (!secret->empty() && (secret->back() == '\n' || secret->back() == '\r')) {
    secret->pop_back();
  }
  if (secret->empty()) {
    return fail(ErrorCode::invalid_argument, "the " + what + " secret in " + file +
                                                 " is empty; write a long random text into it");
  }
  return secret;
}

int run(const StatusCommand& command, ApiClient& api, const Terminal& terminal) {
  const auto status = api.get("/v1/status");
  if (!status) return report(terminal, status.error());
  if (command.json) {
    terminal.out << status->dump(2) << "\n";
    return k_exit_ok;
  }
  terminal.out << table({
      {"Version", text_of(*status, "version") + " (build " + text_of(*status, "build_id") + ")"},
      {"Domain", text_of(*status, "domain") + ", https on port " + text_of(*status, "https_port") +
                     ", http on port " + text_of(*status, "http_port")},
      {"CA", text_of(*status, "ca_certificate")},
      {"Up for", duration(number_of(*status, "uptime_seconds") * 1'000'000)},
      {"Log", "position " + text_of(*status, "log_position")},
      {"Projects", text_of(*status, "projects")},
  });
  std::vector<std::vector<std::string>> rows = {{"PART", "STATE", "DETAIL"}};
  for (const auto& part : status->value("parts", json::array())) {
    rows.push_back(
        {text_of(part, "name"), text_of(part, "state"), printable(text_of(part, "detail"))});
  }
  terminal.out << "\n" << table(rows);
  print_quarantine(*status, terminal);
  print_expiring(*status, terminal);
  print_active(status->value("active", json::array()), terminal);
  return k_exit_ok;
}

int run(const LogsCommand& command, ApiClient& api, const Terminal& terminal) {
  LogPrinter printer(command, terminal.out);
  if (command.follow) {
    // So that a server which is not there is told apart from one that goes away.
    if (const auto status = api.get("/v1/status"); !status) {
      return report(terminal, status.error());
    }
  }
  auto wanted = command;
  BrokenStreams broken;
  while (true) {
    const auto begun = std::chrono::steady_clock::now();
    printer.begin();
    const auto read = read_log(wanted, api, printer);
    printer.finish_line();
    if (read) return k_exit_ok;
    const bool broke = read.error().code == ErrorCode::unavailable;
    if (!command.follow || !broke) return report(terminal, read.error());
    const auto pause =
        broken.pause_after(printer.has_printed(), std::chrono::steady_clock::now() - begun);
    if (!pause) return report(terminal, read.error());
    terminal.err << "atlasflow: the server is away; the log goes on when it is back\n"
                 << std::flush;
    std::this_thread::sleep_for(*pause);
    if (const auto back = wait_for_server(api); !back) return report(terminal, back.error());
    // What was written in that second may come twice; nothing is left out. Requests are written a
    // little after their time.
    constexpr TimestampUs k_second = 1'000'000;
    wanted.since = rfc3339(printer.latest() - (command.http ? k_second : 0));
    wanted.lines = 0;
  }
}

int run(const EventsCommand& command, ApiClient& api, const Terminal& terminal) {
  auto path =
      "/v1/events?from=" + std::to_string(command.from) + "&follow=" + (command.follow ? "1" : "0");
  if (!command.project.empty()) path += "&project=" + encoded(command.project);
  StreamNames names(api);
  LineSplitter lines;
  const auto read = api.stream(path, [&](std::string_view bytes) {
    lines.feed(bytes, [&](const std::string& line) {
      const auto event = json::parse(line, nullptr, false);
      // An empty line keeps a quiet connection open.
      if (!event.is_object()) return;
      terminal.out << (command.json ? line : event_line(event, names)) << "\n";
    });
    terminal.out << std::flush;
  });
  return read ? k_exit_ok : report(terminal, read.error());
}

}  // namespace atlasflow::cli
