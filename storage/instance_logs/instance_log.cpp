#include "storage/instance_logs/instance_log.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.hpp"
#include "base/file.hpp"
#include "storage/instance_logs/log_times.hpp"

namespace atlasflow::storage {
namespace {

struct OpenLog {
  FileDescriptor fd;
  std::uint64_t size = 0;
  std::uint64_t file = 0;
  TimestampUs written_at = 0;  // the last time
};

// Nothing when there is no such file.
Result<std::optional<OpenLog>> open_log(const std::filesystem::path& path) {
  OpenLog log;
  log.fd = FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!log.fd.valid()) {
    Error error = errno_error("cannot open the log " + path.string());
    if (error.code == ErrorCode::not_found) return std::optional<OpenLog>{};
    return tl::unexpected(std::move(error));
  }
  struct stat status {};
  if (::fstat(log.fd.get(), &status) != 0) {
    return tl::unexpected(errno_error("cannot look at the log " + path.string()));
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorCode::invalid_argument, path.string() + " is not a log file");
  }
  log.size = static_cast<std::uint64_t>(status.st_size);
  log.file = status.st_ino;
  log.written_at = time_of(status.st_mtim);
  return std::optional<OpenLog>{std::move(log)};
}

// The first byte that has not been freed. A file system without holes has freed none.
std::uint64_t data_start(const OpenLog& log) {
  const off_t start = ::lseek(log.fd.get(), 0, SEEK_DATA);
  if (start >= 0) return std::min(static_cast<std::uint64_t>(start), log.size);
  return errno == ENXIO ? log.size : 0;
}

// Drops from bytes, which were read at offset, what was freed while they were: it reads as zeros.
void drop_freed(const OpenLog& log, std::uint64_t& offset, std::string& bytes) {
  const auto start = data_start(log);
  if (start <= offset) return;
  const auto freed = std::min<std::uint64_t>(start - offset, bytes.size());
  bytes.erase(0, freed);
  offset += freed;
}

// Where the last `lines` lines of bytes start, or nothing when bytes hold fewer. A newline at the
// very end ends the last line and starts none.
std::optional<std::size_t> start_of_last_lines(std::string_view bytes, std::size_t lines) {
  std::size_t at = bytes.ends_with('\n') ? bytes.size() - 1 : bytes.size();
  for (std::size_t found = 0; found < lines; ++found) {
    at = at == 0 ? std::string_view::npos : bytes.rfind('\n', at - 1);
    if (at == std::string_view::npos) return std::nullopt;
  }
  return at + 1;
}

}  // namespace

Result<std::filesystem::path> instance_log_path(const std::filesystem::path& folder,
                                                std::string_view id, InstanceLog kind) {
  static constexpr std::string_view k_allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  if (id.empty() || id.front() == '.' || id.find_first_not_of(k_allowed) != id.npos) {
    return fail(ErrorCode::invalid_argument,
                "that is no id of a deployment; atlasflow deployment list shows them");
  }
  return folder / (std::string(id) + (kind == InstanceLog::build ? ".build.log" : ".run.log"));
}

Result<LogChunk> tail(const std::filesystem::path& path, std::size_t lines, std::size_t bytes_max) {
  ATLAS_TRY(auto log, open_log(path));
  LogChunk chunk;
  if (!log) return chunk;
  const std::uint64_t end = log->size;  // what is appended from now on belongs to the follower
  chunk.next = {end, log->file};
  if (lines == 0) return chunk;

  constexpr std::size_t k_block_bytes = 64ULL << 10U;
  std::uint64_t start = end;
  const auto first = data_start(*log);
  while (start > first && chunk.bytes.size() < bytes_max) {
    const std::size_t room = std::min(k_block_bytes, bytes_max - chunk.bytes.size());
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(room, start - first));
    ATLAS_TRY(auto block, read_at_most(log->fd.get(), start - size, size, path.string()));
    if (block.size() < size) {
      // Cut while we read: what was read is of no file that still exists.
      chunk.bytes.clear();
      chunk.next = {0, log->file};
      return chunk;
    }
    ATLAS_ASSERT(block.size() == size && size <= start, "a block ends before it begins");
    start -= size;
    chunk.bytes.insert(0, block);
    if (const auto at = start_of_last_lines(chunk.bytes, lines)) {
      chunk.bytes.erase(0, *at);
      start += *at;
      break;
    }
  }
  ATLAS_ASSERT(chunk.bytes.size() <= bytes_max, std::to_string(chunk.bytes.size()) + " bytes");
  ATLAS_ASSERT_EQ(start + chunk.bytes.size(), end);
  drop_freed(*log, start, chunk.bytes);
  return chunk;
}

Result<LogChunk> read_from(const std::filesystem::path& path, const LogCursor& cursor,
                           std::size_t bytes_max) {
  ATLAS_TRY(auto log, open_log(path));
  LogChunk chunk;
  chunk.next = cursor;
  if (!log) return chunk;
  const bool replaced = cursor.file != 0 && cursor.file != log->file;
  chunk.restarted = replaced || log->size < cursor.offset;
  std::uint64_t offset = std::max(chunk.restarted ? 0 : cursor.offset, data_start(*log));
  ATLAS_ASSERT(offset <= log->size, "a read begins behind the end of the log");
  const auto size =
      static_cast<std::size_t>(std::min<std::uint64_t>(bytes_max, log->size - offset));
  ATLAS_TRY(auto bytes, read_at_most(log->fd.get(), offset, size, path.string()));
  chunk.bytes = std::move(bytes);
  drop_freed(*log, offset, chunk.bytes);
  chunk.next = {offset + chunk.bytes.size(), log->file};
  ATLAS_ASSERT(chunk.next.offset <= log->size, "the next read begins behind this one's end");
  return chunk;
}

Result<LogCursor> cursor_since(const std::filesystem::path& path, TimestampUs when) {
  ATLAS_TRY(auto log, open_log(path));
  if (!log) return LogCursor{};
  const std::uint64_t size = log->size;
  if (log->written_at < when) return LogCursor{size, log->file};
  std::uint64_t offset = offset_at(read_log_times(path), when);
  if (offset > size) offset = 0;  // the time stamps are of a file that is no more
  offset = std::max(offset, data_start(*log));
  // Back to the beginning of the line that the time stamp fell into.
  constexpr std::uint64_t k_line_bytes_max = 64ULL << 10U;
  const std::uint64_t from =
      std::max(offset > k_line_bytes_max ? offset - k_line_bytes_max : 0, data_start(*log));
  if (from < offset) {
    ATLAS_TRY(
        const auto before,
        read_at_most(log->fd.get(), from, static_cast<std::size_t>(offset - from), path.string()));
    const auto newline = before.rfind('\n');
    if (newline != std::string::npos) offset = from + newline + 1;
  }
  ATLAS_ASSERT(offset <= size, "a cursor is behind the end of its log");
  return LogCursor{offset, log->file};
}

}  // namespace atlasflow::storage
