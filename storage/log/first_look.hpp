// What is checked of an event log before it is opened, without changing a byte: an open for writing
// flushes, deletes and makes files, and what a damaged log may still tell would be gone; and any
// open may abort over a manifest. Used by whoever is about to open the log, one thread.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <rocksdb/env.h>

#include "base/error.hpp"
#include "storage/log/anchor.hpp"
#include "storage/log/event_log.hpp"
#include "storage/log/rocksdb_options.hpp"

namespace atlasflow::storage {

// The folder's anchor; nothing when it has none, or one that is damaged and the config accepts the
// loss.
[[nodiscard]] Result<std::optional<Anchor>> anchor_to_hold(rocksdb::Env& env,
                                                           const EventLogConfig& config);

// What the log lacks of what its anchor had seen, as the rest of a sentence ("ends at position 7,
// but …"); empty when it lacks nothing.
[[nodiscard]] Result<std::string> missing_since(const Anchor& anchor, const EventLog& log);

// corrupt: the database's manifest begins anew in its middle, which RocksDB takes for a fault of
// its own and aborts over. Whatever else is wrong with it is told by the open. Asked of each folder
// before RocksDB is, also of one that is only read.
[[nodiscard]] Result<void> check_manifest(rocksdb::Env& env, const std::filesystem::path& database);

// corrupt: acknowledged events are missing, or it cannot be told whether they are, and the config
// does not accept the loss. Fine for a folder that has never held a log.
[[nodiscard]] Result<void> look_before_opening(const std::shared_ptr<rocksdb::Env>& env,
                                               const EventLogConfig& config,
                                               const DatabaseTuning& tuning);

}  // namespace atlasflow::storage
