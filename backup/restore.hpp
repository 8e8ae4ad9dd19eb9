// Makes a state folder out of a backup, and checks backups. Every byte is compared with the digest
// that it was written under, every record with the chain, and the log that comes out with the state
// that the backup says it folds to. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::backup {

struct RestoreConfig {
  std::filesystem::path folder;         // of backups
  std::optional<std::uint64_t> number;  // the newest, unless one is named
  std::filesystem::path state;          // not there yet, or empty
  std::filesystem::path key_file;       // of a backup without keys; empty: none
  std::string build;                    // of this binary
};

struct RestoreReport {
  std::uint64_t number = 0;
  TimestampUs made_at = 0;
  Position position;
  std::string chain;
  std::string state;  // digest of the fold
  std::uint64_t files = 0;
  // Another build made the backup, and this one folds the same events to another state.
  bool folds_otherwise = false;
};

// invalid_argument: no such backup, or no key; conflict: the state folder is not empty; corrupt:
// the backup is damaged (the message names the file) or of a newer format; disk_full. After an
// error the state folder is as empty as it was; after a kill a server refuses it.
[[nodiscard]] Result<RestoreReport> restore(const RestoreConfig& config);

// The same without writing anything: state and key_file are not used.
[[nodiscard]] Result<RestoreReport> check_backup(const RestoreConfig& config);

}  // namespace atlasflow::backup
