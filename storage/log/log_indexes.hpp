// The indexes that a log keeps beside its records, and the records as bytes, opened up for verify()
// and for copies. Implemented by every log; reads only, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "storage/log/batch_plan.hpp"

namespace atlasflow::storage {

class LogIndexes : public LogLookup {
 public:
  // Where the index says that version of the stream is; nothing when it has no such entry.
  [[nodiscard]] virtual Result<std::optional<Position>> find_version(
      const StreamId& stream, StreamVersion version) const = 0;

  // The bytes of a record as they are stored. corrupt: there are none.
  [[nodiscard]] virtual Result<std::string> stored_at(Position position) const = 0;

  struct Counts {
    std::uint64_t streams = 0;
    std::uint64_t versions = 0;
    std::uint64_t dedupe_keys = 0;
  };
  [[nodiscard]] virtual Result<Counts> count_entries() const = 0;
};

}  // namespace atlasflow::storage
