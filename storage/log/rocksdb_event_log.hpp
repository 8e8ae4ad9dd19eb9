// The event log on RocksDB. See event_log.hpp for the contract and docs/event-format.md for the
// format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

struct EventLogConfig {
  std::filesystem::path folder;
  std::string build_id;  // stamped on every record
  // Start although the log is behind its anchor (appends LogTailLost), or has none that is whole.
  bool accept_loss = false;
  std::uint64_t reserve_bytes = 0;  // of the file that holds room back for the log; 0: none
};

// Opens for writing. unavailable: another process holds it. disk_full: there is no room to open it,
// and nothing was changed. corrupt: behind its anchor or without one, damaged, of a newer format;
// nothing was changed.
[[nodiscard]] Result<std::unique_ptr<EventLog>> open_event_log(const EventLogConfig& config);

// A read-only view of a log that another process may be writing (OpenAsSecondary). Sees what was
// there at the call. Its manifest is looked at before RocksDB looks at it. corrupt: damaged, or of
// a newer format.
[[nodiscard]] Result<std::unique_ptr<EventLog>> open_event_log_for_reading(
    const std::filesystem::path& folder);

struct Verification {
  Position last_position;
  ChainHash chain{};
};
// How many of its steps are done. From the thread that verifies, some times a second.
using VerifyProgress = std::function<void(std::uint64_t done, std::uint64_t total)>;
// Walks the whole log and checks positions, versions, dedupe keys, heads and the hash chain, in
// memory that does not grow with the log. Nobody may append to this object meanwhile.
[[nodiscard]] Result<Verification> verify(const EventLog& log, const VerifyProgress& progress = {});

// A log to be read in a folder, which a server may be writing.
struct CheckedLog {
  std::unique_ptr<EventLog> log;
  Epoch epoch;  // the newest that its anchor knows
};
// Its anchor, its manifest and its write-ahead logs are looked at before RocksDB looks at them.
// corrupt: acknowledged events are missing, or it cannot be told whether they are. Changes nothing.
[[nodiscard]] Result<CheckedLog> open_checked_event_log(const std::filesystem::path& folder);
// That, and verify().
[[nodiscard]] Result<Verification> verify_folder(const std::filesystem::path& folder,
                                                 const VerifyProgress& progress = {});

}  // namespace atlasflow::storage
