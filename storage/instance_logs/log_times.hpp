// Time stamps beside a log that has none of its own: "<log>.times" holds pairs of (time, offset),
// each two 64-bit little-endian numbers: microseconds since 1970, and how many bytes the log had by
// then. One writer (log_keeper.hpp) appends; any thread reads. A file that is missing, short or
// torn makes answers coarser and is never an error.
#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::storage {

struct LogTime {
  TimestampUs at = 0;
  std::uint64_t size = 0;
  friend bool operator==(const LogTime&, const LogTime&) = default;
};

[[nodiscard]] TimestampUs time_of(const timespec& time);

[[nodiscard]] std::filesystem::path log_times_path(const std::filesystem::path& log);

// In the order of writing; empty when there is none that can be read. A pair that was cut is left
// out.
[[nodiscard]] std::vector<LogTime> read_log_times(const std::filesystem::path& log);

// How many bytes the log certainly had before `when`: what is behind them may be of that time or
// later. The clock may have been set back: then it is the smallest that fits.
[[nodiscard]] std::uint64_t offset_at(const std::vector<LogTime>& times, TimestampUs when);

// Appends one pair, behind the last whole one.
[[nodiscard]] Result<void> append_log_time(const std::filesystem::path& log, const LogTime& time);
// Replaces all of them.
[[nodiscard]] Result<void> write_log_times(const std::filesystem::path& log,
                                           const std::vector<LogTime>& times);

// The newest half as they are and every second one of those before: older times become coarser and
// the file stays small.
[[nodiscard]] std::vector<LogTime> thinned(const std::vector<LogTime>& times);

}  // namespace atlasflow::storage
