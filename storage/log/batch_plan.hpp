// What one batch of append requests comes to: the rules of versions, dedupe keys and fencing, the
// same for every log. Pure but for the lookups; the caller owns the state and writes the rows.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "storage/log/event_log.hpp"
#include "storage/log/record_codec.hpp"

namespace atlasflow::storage {

struct StreamHead {
  StreamVersion version;  // 0: no such stream
  Position position;      // of its newest event
};

// What the log holds before the batch.
class LogLookup {
 public:
  virtual ~LogLookup() = default;
  [[nodiscard]] virtual Result<StreamHead> head_of(const StreamId& stream) const = 0;
  [[nodiscard]] virtual Result<std::optional<Duplicate>> find_dedupe_key(
      const std::string& key) const = 0;
};

struct LogTip {
  Position last;      // 0 for an empty log
  ChainHash chain{};  // of that record
};

struct WriterIdentity {
  Epoch own;     // what the writer took with begin_epoch; 0 when it took none
  Epoch stored;  // the newest that anyone took
  std::string build_id;
};

struct PlannedRow {
  Position position;
  StreamId stream;
  StreamVersion version;
  std::string value;       // the bytes to store
  std::string dedupe_key;  // to be entered for this position; mostly empty
};

struct BatchPlan {
  std::vector<AppendOutcome> outcomes;   // one per request
  std::vector<PlannedRow> rows;          // in position order; none when every request was refused
  std::map<StreamId, StreamHead> heads;  // of the streams that change
  LogTip tip;                            // after the batch
};

// Order of the checks: fenced, duplicate, wrong version. A repeat of an append that went through is
// therefore a Duplicate and not a WrongVersion, although its stream has moved on.
[[nodiscard]] Result<BatchPlan> plan_batch(const std::vector<AppendRequest>& requests,
                                           TimestampUs now, const WriterIdentity& writer,
                                           const LogTip& tip, const LogLookup& log,
                                           RecordCodec& codec);

}  // namespace atlasflow::storage
