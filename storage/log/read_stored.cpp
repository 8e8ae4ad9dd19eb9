#include "storage/log/read_stored.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/record_codec.hpp"

namespace atlasflow::storage {

Result<void> read_stored(const EventLog& log, Position first,
                         const std::function<bool(const Record&, std::string_view)>& visit) {
  const auto* indexes = dynamic_cast<const LogIndexes*>(&log);
  ATLAS_ASSERT(indexes != nullptr, "this event log does not open its stored bytes");
  const Position start = std::max(first, Position(1));
  if (start > log.last_position()) return {};
  ChainHash before{};
  if (start.value() > 1) {
    ATLAS_TRY(const auto stored, indexes->stored_at(Position(start.value() - 1)));
    const auto chain = chain_of(stored);
    if (!chain) return tl::unexpected(damaged(start, "the record before it is too short"));
    before = *chain;
  }
  RecordSequence records(before);
  Result<void> found;
  ATLAS_TRYV(indexes->scan_stored(start, [&](Position position, std::string_view stored) {
    const auto record = records.next(position, stored);
    if (!record) found = tl::unexpected(record.error());
    return record && visit(**record, stored);
  }));
  return found;
}

}  // namespace atlasflow::storage
