// The end of a log as a person reads it in a terminal after a failure. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace atlasflow::cli {

// One line without terminal escapes (ISO 6429) and what a carriage return overwrote.
[[nodiscard]] std::string plain_line(std::string_view line);

// The last lines, without terminal escapes (ISO 6429) and what a carriage return overwrote. Of an
// access log's lines that are the same but for their numbers, as a health check makes them, only
// the last is shown, and how many there were.
[[nodiscard]] std::string readable_tail(std::string_view log, std::size_t lines_max);

}  // namespace atlasflow::cli
