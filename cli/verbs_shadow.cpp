// The verb `log shadow`: whether this build makes of a log what the builds before it made, without
// starting anything, also beside a running server.
#include <algorithm>
#include <chrono>

#include <unistd.h>

#include "actors/runtime/shadow_replay.hpp"
#include "cli/client.hpp"
#include "cli/format.hpp"
#include "cli/inspect_log.hpp"
#include "cli/verbs.hpp"
#include "cli/verbs_inspect.hpp"
#include "inspect/json.hpp"
#include "server/process_setup.hpp"

namespace atlasflow::cli {
namespace {

using inspect::Json;
namespace fs = std::filesystem;

// Beside the log, in its state folder, unless they are named.
fs::path snapshots_of(const LogShadowCommand& command, const Connection& connection) {
  if (!command.snapshots.empty()) return command.snapshots;
  return snapshots_beside(log_folder(command.log, connection));
}

Json json_of(const actors::ShadowReport& report, std::int64_t took_us) {
  auto compared = Json::array();
  for (const auto position : report.compared) compared.push_back(position.value());
  auto passed = Json::array();
  for (const auto& each : report.passed_over) {
    passed.push_back({{"position", each.position.value()}, {"reason", each.reason}});
  }
  Json json = {{"build", server::own_build_id()},
               {"earlier_builds", report.earlier_builds},
               {"equal", !report.difference.has_value()},
               {"positions", std::move(compared)},
               {"log_end", report.log_end.value()},
               {"fields", report.fields},
               {"fields_removed", report.only_before},
               {"fields_added", report.only_now},
               {"passed_over", std::move(passed)},
               {"difference", Json()},
               {"took_us", took_us}};
  if (!report.difference) return json;
  const auto& difference = *report.difference;
  json["difference"] = {{"position", difference.position.value()},
                        {"earlier_build", difference.earlier_build},
                        {"fields", difference.fields},
                        {"value", Json()}};
  if (difference.value) {
    json["difference"]["value"] = {{"position", difference.value_position.value()},
                                   {"path", difference.value->path},
                                   {"before", difference.value->before},
                                   {"now", difference.value->now}};
  }
  return json;
}

void print_fields(const char* heading, const std::vector<std::string>& fields,
                  const Terminal& terminal) {
  constexpr std::size_t k_lines_max = 20;
  if (fields.empty()) return;
  terminal.out << heading << "\n";
  for (std::size_t i = 0; i < std::min(fields.size(), k_lines_max); ++i) {
    terminal.out << "  " << printable(fields[i]) << "\n";
  }
  if (fields.size() > k_lines_max) {
    terminal.out << "  and " << fields.size() - k_lines_max << " more (--json lists them)\n";
  }
}

void print(const actors::ShadowReport& report, std::int64_t took_us, const Terminal& terminal) {
  const auto positions = report.compared.size();
  terminal.out << positions << (positions == 1 ? " position" : " positions") << " compared, "
               << (report.difference ? "not all equal" : "all equal") << ": "
               << report.compared.front() << " to " << report.compared.back() << " of "
               << report.log_end << ", " << report.fields << " fields, in " << duration(took_us)
               << "\n";
  if (report.difference) {
    terminal.out << printable(sentence_of(*report.difference)) << "\n";
    print_fields("Fields that differ there:", report.difference->fields, terminal);
  }
  print_fields("Not compared, as this build does not have them:", report.only_before, terminal);
  print_fields("Not compared, as the build before did not have them:", report.only_now, terminal);
  for (const auto& passed : report.passed_over) {
    terminal.out << "Passed over at position " << passed.position << ", "
                 << printable(passed.reason) << "\n";
  }
}

}  // namespace

int run(const LogShadowCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) {
    const int code = report(terminal, view.error());
    return view.error().code == ErrorCode::not_found ? k_exit_usage : code;
  }
  const auto folder = snapshots_of(command, connection);
  const storage::SnapshotStore snapshots(folder, {server::own_build_id(), ""});
  actors::ShadowReplay shadow(view->log(), snapshots, actors::ShadowReplay::Of::every_build);
  const auto begin = std::chrono::steady_clock::now();
  actors::ShadowReplay::Progress progress;
  const bool watched = ::isatty(STDERR_FILENO) == 1;
  if (watched) {
    progress = [&](Position folded, Position last) {
      terminal.err << "\r\033[K" << progress_bar(folded.value(), last.value()) << std::flush;
    };
  }
  const auto compared = shadow.run(progress);
  if (watched) terminal.err << "\r\033[K" << std::flush;
  if (!compared) return report(terminal, compared.error());
  if (compared->compared.empty()) {
    auto why = compared->passed_over.empty()
                   ? std::string(
                         "no build wrote one down there; a server does so as it runs and "
                         "when it stops, and --snapshots names another folder")
                   : compared->passed_over.front().reason;
    return report(terminal, {ErrorCode::invalid_argument,
                             "there is no state in " + folder.string() +
                                 " that this log's could be compared with: " + why,
                             ""});
  }
  const auto took_us = std::chrono::duration_cast<std::chrono::microseconds>(
                           std::chrono::steady_clock::now() - begin)
                           .count();
  if (command.json) {
    terminal.out << json_of(*compared, took_us).dump(2, ' ', false, Json::error_handler_t::replace)
                 << "\n";
  } else {
    print(*compared, took_us, terminal);
  }
  return compared->difference ? k_exit_failed : k_exit_ok;
}

}  // namespace atlasflow::cli
