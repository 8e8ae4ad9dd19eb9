// The verbs of backups as values: what to copy, and where to. They need no server and work beside a
// running one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace atlasflow::cli {

struct BackupCommand {
  std::string folder;
  std::uint64_t keep = 0;  // 0: all
  bool without_keys = false;
  bool check = false;  // make none, look at the newest
  bool json = false;
};
struct RestoreCommand {
  std::string folder;
  std::optional<std::uint64_t> number;  // unset: the newest
  std::string key_file;
  bool json = false;
};
struct LogExportCommand {
  std::string log;   // unset: of the state folder
  std::string file;  // "-": standard output
  std::string from;  // a WHEN
  std::string to;
};
struct LogImportCommand {
  std::string file;  // "-": standard input
};
struct LogRebuildCommand {};

}  // namespace atlasflow::cli
