// What the verbs of time travel share: which log, which moment, and how an event reads on a line.
// Main's thread.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.hpp"
#include "cli/command_line.hpp"
#include "inspect/log_view.hpp"

namespace atlasflow::cli {

// The log that --log names (a state folder, or its events/), else that of the state folder.
[[nodiscard]] Result<inspect::LogView> open_log(const std::string& named,
                                                const Connection& connection);
// Where the log itself lies by that.
[[nodiscard]] std::filesystem::path log_folder(const std::string& named,
                                               const Connection& connection);
// Where a server keeps the snapshots of that log.
[[nodiscard]] std::filesystem::path snapshots_beside(const std::filesystem::path& log_folder);
// A moment as it was written; empty: the end.
[[nodiscard]] Result<Position> resolved(const inspect::LogView& view, const std::string& when);

// "Built  dockerfile in 1.2 s", without control characters.
[[nodiscard]] std::string event_text(const storage::Record& record);

}  // namespace atlasflow::cli
