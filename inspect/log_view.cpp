#include "inspect/log_view.hpp"

#include "base/assert.hpp"
#include "base/rfc3339.hpp"
#include "inspect/json.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::inspect {

Result<LogView> LogView::open(const std::filesystem::path& folder, SnapshotFolder snapshots) {
  auto log = storage::open_event_log_for_reading(folder);
  if (!log) return tl::unexpected(log.error());
  return LogView(std::move(*log), std::move(snapshots));
}

Result<const Lifetimes*> LogView::lifetimes() const {
  if (!looked_for_lifetimes_) {
    ATLAS_TRY(lifetimes_, Lifetimes::of(*log_, snapshots_));
    looked_for_lifetimes_ = true;
  }
  return lifetimes_ ? &*lifetimes_ : nullptr;
}

Result<Position> LogView::resolve(const When& when) const {
  if (end() == Position{}) {
    return fail(ErrorCode::invalid_argument, "the log is empty: nothing has happened yet");
  }
  if (const auto* position = std::get_if<Position>(&when)) {
    if (*position > end() || *position == Position{}) {
      return fail(ErrorCode::invalid_argument,
                  "there is no position " + std::to_string(position->value()) +
                      "; the log goes from 1 to " + std::to_string(end().value()));
    }
    return *position;
  }
  if (const auto* at = std::get_if<TimestampUs>(&when)) return position_at(*at);
  if (const auto* version = std::get_if<DeploymentVersion>(&when)) {
    Position found;
    StreamVersion last;
    const auto read = log_->read_stream(deployment_stream(version->id), StreamVersion(1),
                                        [&](const storage::Record& record) {
                                          last = record.stream_version;
                                          if (last == version->version) found = record.position;
                                          return found == Position{};
                                        });
    if (!read) return tl::unexpected(read.error());
    if (found != Position{}) return found;
    return fail(ErrorCode::invalid_argument,
                last == StreamVersion{}
                    ? "there is no deployment " + version->id.str() + " in this log"
                    : "deployment " + version->id.str() + " has versions 1 to " +
                          std::to_string(last.value()) + ", not " +
                          std::to_string(version->version.value()));
  }
  return end();
}

// Binary search for the last record that is not younger.
Result<Position> LogView::position_at(TimestampUs at) const {
  const auto first = record(Position(1));
  if (!first) return tl::unexpected(first.error());
  if (first->recorded_at > at) {
    return fail(
        ErrorCode::invalid_argument,
        rfc3339(at) + " is before the first event, which is of " + rfc3339(first->recorded_at));
  }
  std::uint64_t low = 1;  // not younger than `at`
  std::uint64_t high = end().value() + 1;
  while (high - low > 1) {
    const auto middle = low + (high - low) / 2;
    const auto each = record(Position(middle));
    if (!each) return tl::unexpected(each.error());
    (each->recorded_at <= at ? low : high) = middle;
  }
  ATLAS_ASSERT(low >= 1 && low <= end().value(), std::to_string(low));
  return Position(low);
}

Result<storage::Record> LogView::record(Position position) const {
  auto found = log_->read_at(position);
  if (!found) return tl::unexpected(found.error());
  if (*found) return std::move(**found);
  return fail(ErrorCode::invalid_argument,
              "there is no position " + std::to_string(position.value()) +
                  "; the log goes from 1 to " + std::to_string(end().value()));
}

Result<std::vector<storage::Record>> LogView::stream(const StreamId& stream, Position until) const {
  std::vector<storage::Record> records;
  const auto read = log_->read_stream(stream, StreamVersion(1), [&](const storage::Record& record) {
    if (record.position > until) return false;
    records.push_back(record);
    return true;
  });
  if (!read) return tl::unexpected(read.error());
  return records;
}

Result<void> LogView::walk(Position until,
                           const std::function<bool(const storage::Record&)>& visit) const {
  return log_->read_all(Position(1), [&](const storage::Record& record) {
    return record.position <= until && visit(record);
  });
}

}  // namespace atlasflow::inspect
