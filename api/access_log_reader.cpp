#include "api/access_log_reader.hpp"

#include <chrono>
#include <utility>

#include "base/log.hpp"
#include "base/rfc3339.hpp"

namespace atlasflow::api {
namespace {

constexpr auto k_poll = std::chrono::milliseconds(200);
// With which a line begins, and how much of a time it has: "2026-07-01T12:00:00.123", in UTC.
constexpr std::string_view k_time_key = R"({"time":")";
constexpr std::size_t k_time_bytes = 23;
// Of what has no end of a line: it is none of the edge's.
constexpr std::size_t k_line_bytes_max = std::size_t{1} << 20U;

}  // namespace

AccessLogReader::AccessLogReader(AccessLogQuery query)
    : query_(std::move(query)),
      since_(query_.since ? rfc3339(*query_.since).substr(0, k_time_bytes) : std::string{}) {}

bool AccessLogReader::copy_to(Stream& stream) {
  if (!begin(stream)) return false;
  for (;;) {
    // Looked at before the file: what was written until the end is still read below.
    const bool over = !query_.follow || query_.is_over();
    if (!drain(stream)) return false;
    if (over) return true;
    if (!stream.wait(k_poll)) return false;
  }
}

// The last whole lines. The file may end within one, which is the follower's.
bool AccessLogReader::begin(Stream& stream) {
  if (!query_.tail) return true;
  const auto end = storage::tail(query_.file, *query_.tail + 1);
  if (!end) return tell(end.error());
  cursor_ = end->next;
  const std::string_view bytes = end->bytes;
  const auto whole = bytes.rfind('\n') + 1;
  std::size_t start = whole;
  std::size_t lines = 0;
  for (; start > 0 && lines < *query_.tail; ++lines) {
    start = start < 2 ? 0 : bytes.rfind('\n', start - 2) + 1;
  }
  // Fewer than were looked for may be what a bound has left: then the first has no beginning.
  const std::size_t all = lines + (whole < bytes.size() ? 1 : 0);
  torn_ = start == 0 && all <= *query_.tail && cursor_.offset > bytes.size();
  return take(bytes.substr(start), stream);
}

bool AccessLogReader::drain(Stream& stream) {
  for (;;) {
    const auto chunk = storage::read_from(query_.file, cursor_);
    if (!chunk) return tell(chunk.error());
    if (chunk->bytes.empty()) return true;
    const std::uint64_t start = chunk->next.offset - chunk->bytes.size();
    if (chunk->restarted || start != cursor_.offset) {
      rest_.clear();
      torn_ = start != 0;  // the head of the file was freed up to here
    }
    cursor_ = chunk->next;
    if (!take(chunk->bytes, stream)) return false;
  }
}

bool AccessLogReader::take(std::string_view bytes, Stream& stream) {
  std::string lines;
  for (std::size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
    rest_ += bytes.substr(0, end + 1);
    bytes.remove_prefix(end + 1);
    if (!std::exchange(torn_, false) && is_asked_for(rest_)) lines += rest_;
    rest_.clear();
  }
  rest_ += bytes;
  if (rest_.size() > k_line_bytes_max) {
    rest_.clear();
    torn_ = true;
  }
  return lines.empty() || stream.write(lines);
}

bool AccessLogReader::is_asked_for(std::string_view line) const {
  if (since_.empty()) return true;
  if (!line.starts_with(k_time_key)) return false;
  return line.substr(k_time_key.size(), k_time_bytes) >= since_;
}

bool AccessLogReader::tell(const Error& error) const {
  log_event(LogLevel::error, "api", "access_log_failed",
            {{"file", query_.file.string()}, {"cause", to_string(error)}});
  return false;
}

}  // namespace atlasflow::api
