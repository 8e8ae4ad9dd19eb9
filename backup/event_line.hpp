// A record of the event log as a line of JSON: a CloudEvents 1.0 envelope in its JSON format
// (github.com/cloudevents/spec, "JSON Event Format"). docs/backup.md has every member.
//
// The log's chain is over stored bytes, and Protobuf's encoding is not canonical, so a line carries
// those bytes as they are (`record`, Base64) beside what people and tools read (`data`): only the
// former make a log again. Pure; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "storage/log/event_log.hpp"

namespace atlasflow::backup {

// Names a log: "/atlasflow/log/<the first 16 hex digits of its first record's chain>".
[[nodiscard]] std::string source_of(const storage::ChainHash& first);

// With its line break. No reference to a sealed value is in `data`.
[[nodiscard]] std::string event_line(const storage::Record& record, std::string_view stored,
                                     const std::string& source);

// The stored bytes that a line carries. invalid_argument: it is no such line; the message is the
// rest of a sentence that begins with the line's number.
[[nodiscard]] Result<std::string> stored_in(std::string_view line);

// Whether all else in the line is what its record says: members may be left out, not changed.
// invalid_argument as above.
[[nodiscard]] Result<void> compare_line(std::string_view line, const storage::Record& record,
                                        std::string_view stored, const std::string& source);

}  // namespace atlasflow::backup
