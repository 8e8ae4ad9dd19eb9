// The append-only event log: the only state there is. One owner (the log-writer actor appends, from
// one thread); reads are safe from any thread at any time and see whole batches only.
//
// The interface fits a replicated log as well: expected version per stream, dense global order,
// dedupe keys, a fencing epoch. Formats: docs/event-format.md.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "events/event.pb.h"
#include "events/ids.hpp"
#include "events/principal.hpp"

namespace atlasflow::storage {

using ChainHash = std::array<std::uint8_t, 32>;  // SHA-256; all zero before the first record

// One event as it stands in the log.
struct Record {
  Position position;
  StreamId stream;
  StreamVersion stream_version;
  TimestampUs recorded_at = 0;
  Epoch writer_epoch;
  std::string event_id;         // "<stream>@<version>"
  std::string correlation_id;   // what set it off: the delivery or command id
  Position causation_position;  // the event that caused it; 0 for none
  std::string build_id;         // of the binary that wrote it
  // Who asked for it, the text of a principal; a log of an older build has the name of the actor
  // that wrote it: "root", "deployment".
  std::string actor;
  std::string dedupe_key;  // on the first event of its append only; mostly empty
  pb::Event event;
  ChainHash chain{};  // SHA-256(previous chain || stored record bytes)
};

struct AppendRequest {
  StreamId stream;
  StreamVersion expected_version;  // 0: the stream must not exist yet
  std::vector<pb::Event> events;   // at least one
  std::string dedupe_key;          // empty: none. Kept for ever; unique over the whole log
  std::string correlation_id;
  Position causation_position;  // of the first event; the others follow each from the one before
  Principal actor;              // who asked for it
};

struct Appended {
  Position first_position;
  StreamVersion last_version;
  std::vector<Record> records;
};
struct WrongVersion {
  StreamVersion actual;
};
// Of the first event that carried the key.
struct Duplicate {
  Position position;
  StreamId stream;
};
struct Fenced {
  Epoch current;
};
using AppendOutcome = std::variant<Appended, WrongVersion, Duplicate, Fenced>;

class EventLog {
 public:
  virtual ~EventLog() = default;

  // Appends all requests in order as one atomic, synced batch; outcome i belongs to request i. A
  // request that is refused (wrong version, duplicate, fenced) leaves the others untouched; later
  // requests of the batch see the versions that earlier ones made. An Error means that the disk
  // failed: nothing of the batch may be acknowledged and the log must not be used again (never
  // retry an fsync). Only after disk_full it can be used on: it refuses in the same way until there
  // is room, and the records of the batch that was refused may be found in it then, as after a
  // crash. now: recorded_at of every record of the batch.
  [[nodiscard]] virtual Result<std::vector<AppendOutcome>> append(
      const std::vector<AppendRequest>& requests, TimestampUs now) = 0;

  // Takes the next writer epoch: durable before it returns. Appends made with this object carry it.
  [[nodiscard]] virtual Result<Epoch> begin_epoch() = 0;

  // Visits records from first (inclusive) in position order until visit answers false or the end as
  // of the call. Error corrupt: a gap, a bad checksum, bytes that do not parse.
  [[nodiscard]] virtual Result<void> read_all(
      Position first, const std::function<bool(const Record&)>& visit) const = 0;
  // The same for one stream, from version first on.
  [[nodiscard]] virtual Result<void> read_stream(
      const StreamId& stream, StreamVersion first,
      const std::function<bool(const Record&)>& visit) const = 0;
  [[nodiscard]] virtual Result<std::optional<Record>> read_at(Position position) const = 0;

  [[nodiscard]] virtual Result<StreamVersion> version_of(const StreamId& stream) const = 0;
  // Notes beside the log how far it has come, so that a start sees it when a cut takes off the end.
  // append() does so once a second of appends; this is for the last ones before a pause. After an
  // error the log must not be used again.
  [[nodiscard]] virtual Result<void> note_end(TimestampUs /*now*/) { return {}; }
  // disk_full: appends are refused just now. Any thread.
  [[nodiscard]] virtual Result<void> has_room() const { return {}; }
  // Position of the newest record; 0 for an empty log.
  [[nodiscard]] virtual Position last_position() const = 0;
};

}  // namespace atlasflow::storage
