// Record <-> stored bytes: a Protobuf envelope (record.proto) followed by the chain hash. The
// format is docs/event-format.md. One codec belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::pb {
class StoredRecord;
}

namespace atlasflow::storage {

// What this binary writes, and the newest that it understands.
inline constexpr std::uint32_t k_record_format = 1;
// The oldest reader that understands what this binary writes.
inline constexpr std::uint32_t k_record_compat = 1;

class RecordCodec {
 public:
  RecordCodec();
  ~RecordCodec();

  // The bytes to store. Sets record.chain, and record.event to exactly what a later decode gives:
  // text that is not UTF-8 is replaced by U+FFFD, because Protobuf would write it and then never
  // read it again.
  [[nodiscard]] std::string encode(Record& record, const ChainHash& previous);

  // Error corrupt: the bytes do not parse, or a newer version wrote them. The chain is taken over
  // as stored; check_chain compares it.
  [[nodiscard]] static Result<Record> decode(std::string_view stored);
  // The same into a record that is used again and again, which saves a replay most allocations.
  // After an error its content is unspecified.
  [[nodiscard]] Result<void> decode_into(std::string_view stored, Record& record);

  // Whether the stored hash follows from the previous one and the stored bytes.
  [[nodiscard]] bool check_chain(std::string_view stored, const ChainHash& previous);

 private:
  Sha256 sha256_;
  std::unique_ptr<pb::StoredRecord> envelope_;  // parsed into, for its buffers
};

// Decodes records in the order of their positions and holds each to the one before.
class RecordSequence {
 public:
  // before: the chain of the record ahead of the first one.
  explicit RecordSequence(const ChainHash& before) : previous_(before) {}

  // The record is used again for the next one. corrupt: it does not follow.
  [[nodiscard]] Result<const Record*> next(Position position, std::string_view stored);

 private:
  RecordCodec codec_;
  ChainHash previous_;
  Record record_;
};

// The chain of a record as it is stored; nothing when the bytes are too short to have one.
[[nodiscard]] std::optional<ChainHash> chain_of(std::string_view stored);

// "<stream>@<version>".
[[nodiscard]] std::string event_id_of(const StreamId& stream, StreamVersion version);

// The refusal of a record that cannot be read, wherever that is noticed.
[[nodiscard]] Error damaged(Position position, const std::string& what);
// The same of an index, which can be made anew from the records; without a position where none is
// known.
[[nodiscard]] Error damaged_index(std::optional<Position> position, const std::string& what);
// An error of the codec, which does not know the position, with it.
[[nodiscard]] Error at_position(Position position, Error error);

}  // namespace atlasflow::storage
