// Makes a log's indexes anew from its records, for one whose records and chain are whole and whose
// indexes (streams, heads, dedupe keys) are not: RocksDB notices damage of a table only when a
// look-up meets it. Run by whoever holds the state folder, while no server does.
#pragma once

#include <filesystem>

#include "base/error.hpp"
#include "storage/log/batch_plan.hpp"

namespace atlasflow::storage {

// Copies the records into a log beside the folder, checks that it is whole, and puts it in the
// folder's place in one step; the log as it was stays as <folder>.before-rebuild. corrupt: a
// record is damaged too, or the log is behind its anchor; conflict: an earlier rebuild left a log
// there. Nothing is changed then.
[[nodiscard]] Result<LogTip> rebuild_log(const std::filesystem::path& folder);

}  // namespace atlasflow::storage
