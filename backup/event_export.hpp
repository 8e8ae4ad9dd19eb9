// A log as lines of JSON (event_line.hpp), and such lines as a log again: with the same positions
// and the same chain, bit for bit. One thread.
#pragma once

#include <filesystem>
#include <functional>
#include <istream>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::backup {

struct TransferReport {
  Position first;
  Position last;
  storage::ChainHash chain{};  // of the last
};

// Hands a line after the other to take. The positions are in the log, first not behind last.
[[nodiscard]] Result<TransferReport> export_events(
    const storage::EventLog& log, Position first, Position last,
    const std::function<Result<void>(std::string_view line)>& take);

// Makes the log in state/events, which must not be there or have no event, of all lines. The caller
// holds the state folder's lock. conflict: there is a log with events; invalid_argument: a line
// that does not fit, with its number. After an error the log is as empty as it was.
[[nodiscard]] Result<TransferReport> import_events(std::istream& lines,
                                                   const std::filesystem::path& state);

}  // namespace atlasflow::backup
