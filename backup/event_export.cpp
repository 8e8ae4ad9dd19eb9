#include "backup/event_export.hpp"

#include "backup/event_line.hpp"
#include "storage/log/read_stored.hpp"

namespace atlasflow::backup {

Result<TransferReport> export_events(const storage::EventLog& log, Position first, Position last,
                                     const std::function<Result<void>(std::string_view)>& take) {
  ATLAS_TRY(const auto begin, log.read_at(Position(1)));
  if (!begin)
    return fail(ErrorCode::invalid_argument, "the log is empty: nothing has happened yet");
  const auto source = source_of(begin->chain);
  TransferReport report;
  report.first = first;
  Result<void> taken;
  ATLAS_TRYV(
      storage::read_stored(log, first, [&](const storage::Record& record, std::string_view stored) {
        taken = take(event_line(record, stored, source));
        report.last = record.position;
        report.chain = record.chain;
        return taken && record.position < last;
      }));
  if (!taken) return tl::unexpected(taken.error());
  return report;
}

}  // namespace atlasflow::backup
