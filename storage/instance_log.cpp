#include "storage/instance_log.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>

#include "storage/posix_file.hpp"

namespace atlasflow::storage {
namespace {

struct OpenLog {
  UniqueFd fd;
  std::uint64_t size = 0;
  std::uint64_t file = 0;
};

// Nothing when there is no such file.
Result<std::optional<OpenLog>> open_log(const std::filesystem::path& path) {
  OpenLog log;
  log.fd = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
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
  return std::optional<OpenLog>{std::move(log)};
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
  auto log = open_log(path);
  if (!log) return tl::unexpected(std::move(log.error()));
  LogChunk chunk;
  if (!*log) return chunk;
  const std::uint64_t end = (*log)->size;  // what is appended from now on belongs to the follower
  chunk.next = {end, (*log)->file};
  if (lines == 0) return chunk;

  constexpr std::size_t k_block_bytes = 64ULL << 10U;
  std::uint64_t start = end;
  while (start > 0 && chunk.bytes.size() < bytes_max) {
    const std::size_t room = std::min(k_block_bytes, bytes_max - chunk.bytes.size());
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(room, start));
    auto block = read_at_most((*log)->fd.get(), start - size, size, path.string());
    if (!block) return tl::unexpected(std::move(block.error()));
    if (block->size() < size) {
      // Cut while we read: what was read is of no file that still exists.
      chunk.bytes.clear();
      chunk.next = {0, (*log)->file};
      return chunk;
    }
    start -= size;
    chunk.bytes.insert(0, *block);
    if (const auto at = start_of_last_lines(chunk.bytes, lines)) {
      chunk.bytes.erase(0, *at);
      return chunk;
    }
  }
  return chunk;
}

Result<LogChunk> read_from(const std::filesystem::path& path, const LogCursor& cursor,
                           std::size_t bytes_max) {
  auto log = open_log(path);
  if (!log) return tl::unexpected(std::move(log.error()));
  LogChunk chunk;
  chunk.next = cursor;
  if (!*log) return chunk;
  const bool replaced = cursor.file != 0 && cursor.file != (*log)->file;
  chunk.restarted = replaced || (*log)->size < cursor.offset;
  const std::uint64_t offset = chunk.restarted ? 0 : cursor.offset;
  const auto size =
      static_cast<std::size_t>(std::min<std::uint64_t>(bytes_max, (*log)->size - offset));
  auto bytes = read_at_most((*log)->fd.get(), offset, size, path.string());
  if (!bytes) return tl::unexpected(std::move(bytes.error()));
  chunk.bytes = std::move(*bytes);
  chunk.next = {offset + chunk.bytes.size(), (*log)->file};
  return chunk;
}

}  // namespace atlasflow::storage
