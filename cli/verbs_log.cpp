// The verbs that look at the log's events one by one: log tail, show, stats, and replay.
#include <algorithm>
#include <deque>
#include <map>

#include "base/rfc3339.hpp"
#include "cli/client.hpp"
#include "cli/format.hpp"
#include "cli/inspect_log.hpp"
#include "cli/stepper.hpp"
#include "cli/verbs_inspect.hpp"
#include "cli/when.hpp"
#include "inspect/state.hpp"
#include "server/config.hpp"
#include "server/process_setup.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::cli {
namespace {

using inspect::Json;
namespace fs = std::filesystem;

bool matches(const LogTailCommand& command, const storage::Record& record) {
  if (!command.deployment.empty() &&
      record.stream != deployment_stream(DeploymentId(command.deployment))) {
    return false;
  }
  if (!command.type.empty() && storage::event_name(record.event) != command.type) return false;
  return command.text.empty() ||
         inspect::data_of(record.event).dump().find(command.text) != std::string::npos;
}

std::string record_line(const storage::Record& record) {
  const auto text = event_text(record);
  return std::to_string(record.position.value()) + "  " + local_time(record.recorded_at) + "  " +
         record.stream.str() + "  " + text + asker_mark(record.actor, text) + "\n";
}

}  // namespace

fs::path log_folder(const std::string& named, const Connection& connection) {
  fs::path folder = named;
  if (named.empty()) folder = named_state_dir(connection).value_or(server::k_default_state_dir);
  std::error_code error;
  if (fs::exists(folder / "events", error)) folder /= "events";
  return folder;
}

fs::path snapshots_beside(const fs::path& log_folder) {
  auto folder = log_folder;
  if (!folder.has_filename()) folder = folder.parent_path();  // of a '/' at its end
  std::error_code error;
  return fs::absolute(folder, error).parent_path() / "snapshots";
}

Result<inspect::LogView> open_log(const std::string& named, const Connection& connection) {
  const auto folder = log_folder(named, connection);
  return inspect::LogView::open(folder, {snapshots_beside(folder), server::own_build_id});
}

Result<Position> resolved(const inspect::LogView& view, const std::string& when) {
  ATLAS_TRY(const auto parsed, parsed_when(when, wall_clock()));
  return view.resolve(parsed);
}

std::string event_text(const storage::Record& record) {
  const auto type = storage::event_name(record.event);
  const auto detail =
      event_detail(type, nlohmann::json::parse(inspect::data_of(record.event).dump()));
  constexpr std::size_t k_detail_columns = 120;
  return detail.empty() ? type : type + "  " + shortened(detail, k_detail_columns);
}

int run(const LogTailCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  Position since;
  if (!command.since.empty()) {
    const auto found = resolved(*view, command.since);
    if (!found) return report(terminal, found.error());
    since = *found;
  }
  // Without a filter only the end is read.
  const bool filtered =
      !command.deployment.empty() || !command.type.empty() || !command.text.empty();
  const auto lines = static_cast<std::uint64_t>(command.lines);
  auto first = std::max<std::uint64_t>(since.value(), 1);
  if (!filtered && lines > 0 && view->end().value() > lines) {
    first = std::max(first, view->end().value() - lines + 1);
  }
  std::deque<storage::Record> kept;
  const auto take = [&](const storage::Record& record) {
    if (record.position < Position(first) || !matches(command, record)) return true;
    kept.push_back(record);
    if (lines > 0 && kept.size() > lines) kept.pop_front();
    return true;
  };
  const auto walked =
      command.deployment.empty()
          ? view->log().read_all(Position(first), take)
          : view->log().read_stream(deployment_stream(DeploymentId(command.deployment)),
                                    StreamVersion(1), take);
  if (!walked) return report(terminal, walked.error());
  for (const auto& record : kept) {
    terminal.out << (command.json ? inspect::json_of(record).dump() + "\n" : record_line(record));
  }
  return k_exit_ok;
}

int run(const LogShowCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  const auto record = view->record(Position(static_cast<std::uint64_t>(command.position)));
  if (!record) return report(terminal, record.error());
  terminal.out << inspect::json_of(*record).dump(2) << "\n";
  return k_exit_ok;
}

int run(const LogStatsCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  std::map<std::string, std::uint64_t> types;
  std::map<std::string, std::uint64_t> streams;
  std::map<std::uint64_t, std::uint64_t> epochs;
  TimestampUs first = 0;
  TimestampUs last = 0;
  const auto walked = view->walk(view->end(), [&](const storage::Record& record) {
    ++types[storage::event_name(record.event)];
    if (record.stream_version.value() == 1) {
      ++streams[record.stream.str().substr(0, record.stream.str().find('/'))];
    }
    ++epochs[record.writer_epoch.value()];
    if (first == 0) first = record.recorded_at;
    last = record.recorded_at;
    return true;
  });
  if (!walked) return report(terminal, walked.error());
  if (command.json) {
    terminal.out
        << Json{{"events", view->end().value()}, {"first", rfc3339(first)}, {"last", rfc3339(last)},
                {"epochs", epochs.size()},       {"streams", streams},      {"types", types}}
               .dump(2)
        << "\n";
    return k_exit_ok;
  }
  terminal.out << view->end().value() << " events, " << epochs.size()
               << " starts of the control plane\n";
  if (first != 0) terminal.out << local_time(first) << " to " << local_time(last) << "\n";
  for (const auto& [kind, count] : streams) {
    terminal.out << count << (count == 1 ? " stream" : " streams") << " of kind " << kind << "\n";
  }
  std::vector<std::pair<std::uint64_t, std::string>> sorted;
  sorted.reserve(types.size());
  for (const auto& [type, count] : types) sorted.emplace_back(count, type);
  std::ranges::sort(sorted, std::greater<>{});
  std::vector<std::vector<std::string>> rows = {{"EVENTS", "TYPE"}};
  for (const auto& [count, type] : sorted) rows.push_back({std::to_string(count), type});
  terminal.out << table(rows);
  return k_exit_ok;
}

int run(const ReplayCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  const auto until = resolved(*view, command.to);
  if (!until) return report(terminal, until.error());
  auto steps = inspect::replay(*view, DeploymentId(command.deployment), *until);
  if (!steps) return report(terminal, steps.error());
  if (steps->empty()) {
    return report(terminal,
                  {ErrorCode::invalid_argument,
                   "there is no deployment " + command.deployment + " up to position " +
                       std::to_string(until->value()) + "; atlasflow deployments lists them",
                   ""});
  }
  if (!command.json && command.run_to.empty() && command.watch.empty() && is_interactive()) {
    return step_through(*steps, terminal);
  }
  for (const auto& step : *steps) {
    const auto type = storage::event_name(step.record.event);
    const bool watched =
        command.watch.empty() ||
        std::ranges::any_of(step.changes, [&](const inspect::Change& change) {
          return change.path == command.watch || change.path.starts_with(command.watch + ".");
        });
    if (watched && command.json) {
      auto json = inspect::json_of(step.record);
      json["state"] = step.state;
      json["outstanding"] = inspect::json_of(step.outstanding);
      terminal.out << json.dump() << "\n";
    } else if (watched) {
      terminal.out << step_text(step);
    }
    if (type == command.run_to) break;
  }
  return k_exit_ok;
}

}  // namespace atlasflow::cli
