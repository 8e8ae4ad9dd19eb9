#include "cli/verbs_backup.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <system_error>

#include <nlohmann/json.hpp>

#include "backup/backup.hpp"
#include "backup/event_export.hpp"
#include "backup/object_store.hpp"
#include "backup/restore.hpp"
#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/rfc3339.hpp"
#include "cli/format.hpp"
#include "cli/inspect_log.hpp"
#include "inspect/json.hpp"
#include "server/config.hpp"
#include "server/process_setup.hpp"
#include "server/state_dir.hpp"
#include "storage/log/rebuild.hpp"

namespace atlasflow::cli {
namespace {

using inspect::Json;
namespace fs = std::filesystem;

fs::path state_folder(const Connection& connection) {
  return named_state_dir(connection).value_or(server::k_default_state_dir);
}

std::string events_text(Position position, const std::string& chain, const std::string& state) {
  return std::to_string(position.value()) + " events, chain " + chain + ", state " +
         state.substr(0, 16);
}

Json json_of(const backup::RestoreReport& report) {
  return {{"backup", report.number},
          {"made_at", rfc3339(report.made_at)},
          {"events", report.position.value()},
          {"chain", report.chain},
          {"state", report.state},
          {"files", report.files},
          {"folds_otherwise", report.folds_otherwise}};
}

std::string otherwise_text(const backup::RestoreReport& report) {
  if (!report.folds_otherwise) return {};
  return "Another build made the backup, and this one folds its events to another state: the log "
         "is the same\n";
}

int check(const BackupCommand& command, const Terminal& terminal) {
  backup::RestoreConfig config;
  config.folder = command.folder;
  config.build = server::own_build_id();
  const auto done = backup::check_backup(config);
  if (!done) return report(terminal, done.error());
  if (command.json) {
    terminal.out << json_of(*done).dump(2) << "\n";
  } else {
    terminal.out << "Backup " << done->number << " of " << local_time(done->made_at)
                 << " is whole: " << events_text(done->position, done->chain, done->state) << ", "
                 << done->files << " files\n"
                 << otherwise_text(*done);
  }
  return k_exit_ok;
}

Json json_of(const backup::BackupReport& report) {
  return {{"backup", report.number},
          {"events", report.position.value()},
          {"chain", report.chain},
          {"state", report.state},
          {"files", report.files},
          {"new",
           {{"events", report.events_added},
            {"objects", report.objects_added},
            {"bytes", report.bytes_added}}},
          {"removed", report.removed},
          {"missing", report.missing},
          {"damaged", report.damaged},
          {"nameless", report.nameless},
          {"damaged_manifests", report.damaged_manifests}};
}

// Right behind the write that failed.
tl::unexpected<Error> unwritten() {
  return fail(errno == ENOSPC ? ErrorCode::disk_full : ErrorCode::internal,
              "the lines cannot be written", std::generic_category().message(errno));
}

// One event a line, to a file or to standard output.
Result<backup::TransferReport> write_events(const inspect::LogView& view, Position from,
                                            Position to, std::ostream& out) {
  return backup::export_events(view.log(), from, to, [&out](std::string_view line) -> Result<void> {
    out.write(line.data(), static_cast<std::streamsize>(line.size()));
    if (out) return {};
    return unwritten();
  });
}

// The file is there whole or not at all; a pipe or a device is written to as it is.
Result<backup::TransferReport> write_file(const inspect::LogView& view, Position from, Position to,
                                          const fs::path& file) {
  std::error_code ignored;
  if (fs::is_directory(file, ignored) ||
      !fs::is_directory(fs::absolute(file, ignored).parent_path(), ignored)) {
    return fail(ErrorCode::invalid_argument,
                "cannot make the file " + file.string() + ": name one in a folder that is there");
  }
  if (fs::exists(file, ignored) && !fs::is_regular_file(file, ignored)) {
    std::ofstream out(file, std::ios::binary);
    ATLAS_TRY(const auto report, write_events(view, from, to, out));
    out.close();
    if (!out) return unwritten();
    return report;
  }
  const auto temporary = temporary_beside(file);
  const auto written = [&]() -> Result<backup::TransferReport> {
    ATLAS_TRYV(write_new_file(temporary, ""));  // of mode 0600
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    ATLAS_TRY(const auto report, write_events(view, from, to, out));
    out.close();
    if (!out) return unwritten();
    ATLAS_TRYV(publish_file(temporary, file));
    return report;
  }();
  if (!written) fs::remove(temporary, ignored);
  return written;
}

std::string range_text(const backup::TransferReport& report) {
  return std::to_string(report.last.value() - report.first.value() + 1) + " events, positions " +
         std::to_string(report.first.value()) + " to " + std::to_string(report.last.value()) +
         ", chain " + to_hex(bytes_of(report.chain)) + "\n";
}

}  // namespace

int run(const BackupCommand& command, const Connection& connection, const Terminal& terminal) {
  if (command.check) return check(command, terminal);
  backup::BackupConfig config;
  config.state = state_folder(connection);
  config.folder = command.folder;
  config.keys = !command.without_keys;
  config.keep = command.keep;
  config.build = server::own_build_id();
  config.now = wall_clock();
  const auto done = backup::make_backup(config);
  if (!done) return report(terminal, done.error());
  if (command.json) {
    terminal.out << json_of(*done).dump(2) << "\n";
  } else {
    terminal.out << "Backup " << done->number
                 << " is made: " << events_text(done->position, done->chain, done->state) << ", "
                 << done->files << " files\n"
                 << "New since the last one: " << done->events_added << " events, "
                 << byte_size(static_cast<std::int64_t>(done->bytes_added)) << "\n";
    for (const auto number : done->removed) terminal.out << "Removed backup " << number << "\n";
    const auto key = (config.state / "secret.key").string();
    terminal.out << (config.keys ? "It holds the keys: whoever can read it can read every value\n"
                                 : "It holds no keys: keep " + key +
                                       " elsewhere, nothing else opens its values\n");
  }
  for (const auto& what : done->missing) {
    terminal.err << "atlasflow: the state folder lacks what the log still reaches: "
                 << printable(what) << "\n";
  }
  for (const auto& file : done->damaged) {
    terminal.err << "atlasflow: damaged in the state folder, and so in the backup: "
                 << printable(file) << "\n";
  }
  for (const auto& file : done->nameless) {
    terminal.err << "atlasflow: not in the backup, because its name is no UTF-8: "
                 << printable(file) << "; push the branch or tag under another name\n";
  }
  for (const auto& file : done->damaged_manifests) {
    terminal.err << "atlasflow: damaged in the backup folder: " << printable(file)
                 << "; that backup cannot be restored, remove its file\n";
  }
  const bool whole =
      done->missing.empty() && done->damaged.empty() && done->damaged_manifests.empty();
  return whole ? k_exit_ok : k_exit_failed;
}

int run(const RestoreCommand& command, const Connection& connection, const Terminal& terminal) {
  backup::RestoreConfig config;
  config.folder = command.folder;
  config.number = command.number;
  config.state = fs::absolute(state_folder(connection)).lexically_normal();
  config.key_file = command.key_file;
  config.build = server::own_build_id();
  const auto done = backup::restore(config);
  if (!done) return report(terminal, done.error());
  if (command.json) {
    terminal.out << json_of(*done).dump(2) << "\n";
  } else {
    terminal.out << "Restored backup " << done->number << " of " << local_time(done->made_at)
                 << " into " << config.state.string() << ": "
                 << events_text(done->position, done->chain, done->state) << ", " << done->files
                 << " files\n"
                 << otherwise_text(*done)
                 << (done->lacks_authority_key
                         ? "Put ca/ca.key back before the start, or remove ca/ca.pem to have a new "
                           "authority made\n"
                         : "")
                 << "Start the server with the configuration file that it had\n";
  }
  return k_exit_ok;
}

int run(const LogExportCommand& command, const Connection& connection, const Terminal& terminal) {
  const auto view = open_log(command.log, connection);
  if (!view) return report(terminal, view.error());
  Position from(1);
  if (!command.from.empty()) {
    const auto resolved_from = resolved(*view, command.from);
    if (!resolved_from) return report(terminal, resolved_from.error());
    from = *resolved_from;
  }
  const auto to = resolved(*view, command.to);
  if (!to) return report(terminal, to.error());
  if (*to < from) {
    return report(terminal, {ErrorCode::invalid_argument,
                             "--from (position " + std::to_string(from.value()) +
                                 ") is behind --to (position " + std::to_string(to->value()) + ")",
                             ""});
  }
  if (command.file == "-") {
    const auto written = write_events(*view, from, *to, terminal.out);
    terminal.out << std::flush;
    if (!written) return report(terminal, written.error());
    if (!terminal.out) {
      return report(terminal, unwritten().value());
    }
    return k_exit_ok;
  }
  const auto written = write_file(*view, from, *to, command.file);
  if (!written) return report(terminal, written.error());
  terminal.out << "Exported " << range_text(*written);
  return k_exit_ok;
}

int run(const LogImportCommand& command, const Connection& connection, const Terminal& terminal) {
  std::ifstream file;
  if (command.file != "-") {
    file.open(command.file, std::ios::binary);
    if (!file) {
      return report(terminal, {ErrorCode::invalid_argument,
                               "cannot open " + command.file +
                                   ": name a file of atlasflow log "
                                   "export, or - for standard input",
                               ""});
    }
  }
  std::error_code ignored;
  const bool was_there = fs::exists(state_folder(connection), ignored);
  // Held to the end: no server starts on the folder meanwhile.
  const auto state = server::StateDir::open(state_folder(connection));
  if (!state) return report(terminal, state.error());
  // A server may have made it, and ended, since it was looked for.
  const bool own = !was_there && names_if_any(state->events()).empty();
  const auto imported =
      backup::import_events(command.file == "-" ? terminal.in : file, state->root());
  if (!imported) {
    if (own) fs::remove_all(state->root(), ignored);
    return report(terminal, imported.error());
  }
  terminal.out << "Imported " << range_text(*imported);
  return k_exit_ok;
}

int run(const LogRebuildCommand& /*command*/, const Connection& connection,
        const Terminal& terminal) {
  // Held to the end: no server writes what would not be copied.
  const auto state = server::StateDir::open_existing(state_folder(connection));
  if (!state) {
    const int code = report(terminal, state.error());
    return state.error().code == ErrorCode::not_found ? k_exit_usage : code;
  }
  const auto rebuilt = storage::rebuild_log(state->events());
  if (!rebuilt) return report(terminal, rebuilt.error());
  terminal.out << "Rebuilt the indexes of " << rebuilt->last.value() << " events, chain "
               << to_hex(bytes_of(rebuilt->chain)) << "; the log as it was is "
               << state->events().string() << ".before-rebuild\n";
  return k_exit_ok;
}

}  // namespace atlasflow::cli
