// Makes a backup of a state folder, beside a running server or without one. It asks the server for
// nothing and changes nothing in the state folder.
//
// The log is read first and the files after it: what an event names exists before the event does.
// What the server removes meanwhile, because nothing reaches it any more, shows as missing from
// the files; then the log, which no longer reaches it either, is read on and all is looked at
// again. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::backup {

struct BackupConfig {
  std::filesystem::path state;   // of a server
  std::filesystem::path folder;  // of backups; made when it is missing
  bool keys = true;              // with what opens the sealed values and signs certificates
  std::uint64_t keep = 0;        // the newest so many whole ones stay; 0: all
  std::string build;             // of this binary
  TimestampUs now = 0;
  // Called in each round when the log is read and the files are not yet; for tests.
  std::function<void()> between_log_and_files;
};

struct BackupReport {
  std::uint64_t number = 0;
  Position position;
  std::string chain;  // of the event there, hex
  std::string state;  // digest of the fold
  std::uint64_t events_added = 0;
  std::uint64_t files = 0;
  std::uint64_t objects_added = 0;
  std::uint64_t bytes_added = 0;
  std::vector<std::uint64_t> removed;  // backups that went, as `keep` says
  // Of the state folder itself: what the log still reaches and is not there, and files whose bytes
  // are not what their name says. The backup is made all the same.
  std::vector<std::string> missing;
  std::vector<std::string> damaged;
  // Files of branches and tags that were pushed under a name that is no UTF-8: they are left out.
  std::vector<std::string> nameless;
  // Of the backup folder: manifests that are newer than the backup this one goes on from, and whose
  // bytes are not what their name says.
  std::vector<std::string> damaged_manifests;
};

// invalid_argument: no state folder, an unsuitable backup folder, or one of another log; corrupt:
// the event log is damaged; disk_full. After an error the folder's backups are what they were.
[[nodiscard]] Result<BackupReport> make_backup(const BackupConfig& config);

}  // namespace atlasflow::backup
