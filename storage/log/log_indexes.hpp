// The indexes that a log keeps beside its records, and the records as bytes, opened up for verify()
// and for copies. Implemented by every log; reads only, any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "storage/log/batch_plan.hpp"

namespace atlasflow::storage {

class LogIndexes : public LogLookup {
 public:
  // Where the index says that version of the stream is; nothing when it has no such entry.
  [[nodiscard]] virtual Result<std::optional<Position>> find_version(
      const StreamId& stream, StreamVersion version) const = 0;

  // The bytes of a record as they are stored. corrupt: there are none.
  [[nodiscard]] virtual Result<std::string> stored_at(Position position) const = 0;

  // The same from first (inclusive) on, in position order, until visit answers false or the end as
  // of the call. corrupt: one is missing. What is in the bytes is the visitor's to check.
  [[nodiscard]] virtual Result<void> scan_stored(
      Position first,
      const std::function<bool(Position position, std::string_view stored)>& visit) const = 0;

  struct VersionEntry {
    std::string_view stream;
    StreamVersion version;
    Position position;
  };
  struct HeadEntry {
    std::string_view stream;
    StreamHead head;
  };
  struct DedupeEntry {
    std::string_view key;
    Position position;
    std::string_view stream;
  };
  // Each entry of an index, in the order of its keys, until visit answers false. A visitor must not
  // call the log. corrupt: an entry that cannot be read.
  [[nodiscard]] virtual Result<void> scan_versions(
      const std::function<bool(const VersionEntry&)>& visit) const = 0;
  [[nodiscard]] virtual Result<void> scan_heads(
      const std::function<bool(const HeadEntry&)>& visit) const = 0;
  [[nodiscard]] virtual Result<void> scan_dedupe_keys(
      const std::function<bool(const DedupeEntry&)>& visit) const = 0;
};

}  // namespace atlasflow::storage
