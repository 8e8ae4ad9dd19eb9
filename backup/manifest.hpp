// What one backup consists of: a JSON file that is written last and whole, so that a backup without
// one is none. Its name carries the digest of its bytes. Values; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "backup/object_store.hpp"
#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::backup {

// Of the backup folder and its manifests. A newer one is refused.
inline constexpr int k_backup_format = 1;

// Records of the log, first to last, as a log_segment.
struct LogSegment {
  Position first;
  Position last;
  std::string chain;  // of the last record, hex
  Object object;
};

struct SavedFile {
  std::string path;  // in the state folder: relative, without ".."
  std::uint32_t mode = 0600;
  std::uint64_t size = 0;
  std::uint64_t hole = 0;     // so many bytes at its begin are a hole and in no object
  std::int64_t mtime_ns = 0;  // since 1970
  Object object;
};

struct Manifest {
  std::uint64_t number = 0;  // from 1, in the order of making
  TimestampUs made_at = 0;
  std::string build;       // that made it
  int layout = 1;          // of the state folder
  Position position;       // of the newest event
  std::string chain;       // of it, hex
  Epoch epoch;             // the newest that is known to have been taken
  std::string state;       // digest of the fold of everything up to there (log_contents.hpp)
  bool keys = true;        // whether it holds what opens the sealed values
  std::string key_digest;  // of the key file, for telling one key from another; empty: none
  std::vector<LogSegment> log;
  std::vector<SavedFile> files;  // sorted by path
};

[[nodiscard]] std::string text_of(const Manifest& manifest);
// file is for the messages. corrupt: it is not what text_of() wrote, a newer Atlasflow made it, or
// a path leads out of a state folder.
[[nodiscard]] Result<Manifest> parse_manifest(const std::string& text,
                                              const std::filesystem::path& file);

// "000003-<the first 16 hex digits of SHA-256(text)>.json".
[[nodiscard]] std::string manifest_name(std::uint64_t number, const std::string& text);

}  // namespace atlasflow::backup
