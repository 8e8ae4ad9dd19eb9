#include "cli/backup_options.hpp"

#include <memory>

#include "cli/add_verb.hpp"

namespace atlasflow::cli {

void add_backup_verbs(CLI::App& app, Command& chosen) {
  auto backup = std::make_shared<BackupCommand>();
  auto* verb = add_verb(app, chosen, backup, "backup",
                        "Back up the state folder, also while the server runs");
  verb->add_option("DIR", backup->folder, "Of backups; a second one adds only what is new")
      ->required();
  auto* keep = verb->add_option("--keep", backup->keep, "Remove all but the newest so many backups")
                   ->check(CLI::PositiveNumber);
  auto* without = verb->add_flag("--without-keys", backup->without_keys,
                                 "Leave out what opens the sealed values and signs certificates");
  auto* check = verb->add_flag("--check", backup->check,
                               "Make none: read the newest one in DIR and check every byte of it");
  check->excludes(keep)->excludes(without);
  verb->add_flag("--json", backup->json, "Print JSON");

  auto restore = std::make_shared<RestoreCommand>();
  verb = add_verb(app, chosen, restore, "restore",
                  "Make a new state folder (--state-dir) out of a backup");
  verb->add_option("DIR", restore->folder, "Of backups")->required();
  verb->add_option("--backup", restore->number, "Its number (default: the newest)")
      ->check(CLI::PositiveNumber);
  verb->add_option("--key", restore->key_file,
                   "The server's secret.key, for a backup that was made without keys");
  verb->add_flag("--json", restore->json, "Print JSON");
}

void add_log_copy_verbs(CLI::App& log, Command& chosen) {
  auto out = std::make_shared<LogExportCommand>();
  auto* verb =
      add_verb(log, chosen, out, "export", "Write the events as lines of JSON (CloudEvents 1.0)");
  verb->add_option("FILE", out->file, "- for standard output")->required();
  verb->add_option("--from", out->from, "From this moment on (default: the first event)")
      ->type_name("WHEN");
  verb->add_option("--to", out->to, "Up to this moment (default: the newest)")->type_name("WHEN");
  verb->add_option("--log", out->log, "A copy of a state folder, or of its events folder");

  auto in = std::make_shared<LogImportCommand>();
  verb = add_verb(log, chosen, in, "import",
                  "Make the event log of a state folder without events from such lines");
  verb->add_option("FILE", in->file, "- for standard input")->required();

  add_verb(log, chosen, std::make_shared<LogRebuildCommand>(), "rebuild",
           "Make the event log's indexes anew from its records; stop the server first");
}

}  // namespace atlasflow::cli
