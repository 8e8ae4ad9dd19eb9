// The reading side of build and run logs: plain append-only files that builders and VM drivers
// write, <log folder>/<deployment or effect id>.build.log and .run.log. Bytes come out as they went
// in. The head of a log that grew too long is a hole in the file (log_keeper.hpp): offsets stay
// what they were, and readers begin behind the hole. All of it is free functions and values: any
// thread, and no file is kept open between calls.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::storage {

enum class InstanceLog : std::uint8_t { build, run };

// invalid_argument: the id has other characters than [A-Za-z0-9._-] or starts with a dot, so it
// could lead out of the folder.
[[nodiscard]] Result<std::filesystem::path> instance_log_path(const std::filesystem::path& folder,
                                                              std::string_view id,
                                                              InstanceLog kind);

// Where a reader has got to. The default is the beginning of a file that need not exist yet.
struct LogCursor {
  std::uint64_t offset = 0;
  std::uint64_t file = 0;  // which file the offset is in (its inode); 0 before the first read

  friend bool operator==(const LogCursor&, const LogCursor&) = default;
};

struct LogChunk {
  std::string bytes;
  LogCursor next;          // read on from here
  bool restarted = false;  // the file was cut or replaced: these bytes are from its new beginning
};

inline constexpr std::size_t k_tail_bytes_max = 1ULL << 20U;
inline constexpr std::size_t k_chunk_bytes_max = 64ULL << 10U;

// The last lines of the file, of which bytes_max bytes at most; the last one may still lack its
// newline. Empty when there is no file. Following from `next` misses nothing and repeats nothing.
[[nodiscard]] Result<LogChunk> tail(const std::filesystem::path& path, std::size_t lines,
                                    std::size_t bytes_max = k_tail_bytes_max);

// What was written since the cursor, bytes_max at most; empty when there is nothing new or no file.
// A file that became shorter or was replaced is read from its beginning; what has been freed at its
// head is passed over.
[[nodiscard]] Result<LogChunk> read_from(const std::filesystem::path& path, const LogCursor& cursor,
                                         std::size_t bytes_max = k_chunk_bytes_max);

// Where the lines begin that were written at `when` or later, by the file's time stamps
// (log_times.hpp). Never too far: what the time stamps do not tell apart is included, all of it
// when there are none.
[[nodiscard]] Result<LogCursor> cursor_since(const std::filesystem::path& path, TimestampUs when);

}  // namespace atlasflow::storage
