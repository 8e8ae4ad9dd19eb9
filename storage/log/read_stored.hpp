// Records in order, decoded and held to the chain, beside the bytes that they are stored as. Reads
// only, any thread.
#pragma once

#include <functional>
#include <string_view>

#include "storage/log/event_log.hpp"

namespace atlasflow::storage {

// Visits the records from first on, each with its stored bytes, until visit answers false. This
// is what read_all() does. The log has to implement LogIndexes.
[[nodiscard]] Result<void> read_stored(
    const EventLog& log, Position first,
    const std::function<bool(const Record&, std::string_view stored)>& visit);

}  // namespace atlasflow::storage
