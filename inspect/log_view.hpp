// An event log as it was when it was opened, for looking at any moment of it. Read-only: beside a
// running server, on a copy or on a backup. Owned by one verb, one thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "inspect/lifetimes.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::inspect {

// A deployment's stream up to a version of it.
struct DeploymentVersion {
  DeploymentId id;
  StreamVersion version;
};
// A moment of the log, as a user may name it; none: its end.
struct AtEnd {};
using When = std::variant<AtEnd, Position, TimestampUs, DeploymentVersion>;

class LogView {
 public:
  // folder: of the log itself, "<state folder>/events".
  [[nodiscard]] static Result<LogView> open(const std::filesystem::path& folder,
                                            SnapshotFolder snapshots = {});
  explicit LogView(std::unique_ptr<storage::EventLog> log, SnapshotFolder snapshots = {})
      : log_(std::move(log)), snapshots_(std::move(snapshots)) {}

  [[nodiscard]] const storage::EventLog& log() const { return *log_; }
  [[nodiscard]] Position end() const { return log_->last_position(); }
  // The newest position that the moment sees. invalid_argument: it is before the first event or
  // past the end, or there is no such stream; the sentence says what there is. Times are searched
  // for as if the clock had never been set back.
  [[nodiscard]] Result<Position> resolve(const When& when) const;
  [[nodiscard]] Result<storage::Record> record(Position position) const;

  // A stream's records up to a position, in order.
  [[nodiscard]] Result<std::vector<storage::Record>> stream(const StreamId& stream,
                                                            Position until) const;
  // Read when it is first asked for. Null: there is no snapshot to begin with.
  [[nodiscard]] Result<const Lifetimes*> lifetimes() const;
  // Every record up to a position, until visit answers false.
  [[nodiscard]] Result<void> walk(Position until,
                                  const std::function<bool(const storage::Record&)>& visit) const;

 private:
  [[nodiscard]] Result<Position> position_at(TimestampUs at) const;

  std::unique_ptr<storage::EventLog> log_;
  SnapshotFolder snapshots_;
  mutable bool looked_for_lifetimes_ = false;
  mutable std::optional<Lifetimes> lifetimes_;
};

}  // namespace atlasflow::inspect
