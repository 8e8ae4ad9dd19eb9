// The lines of a project's access log (edge/observe writes it), whole ones only, and those that
// come while somebody follows. A value; one thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "api/exchange.hpp"
#include "events/ids.hpp"
#include "storage/instance_logs/instance_log.hpp"

namespace atlasflow::api {

struct AccessLogQuery {
  std::filesystem::path file;
  std::optional<std::size_t> tail;  // lines; unset: everything
  std::optional<TimestampUs> since;
  bool follow = false;
  std::function<bool()> is_over;  // nothing more will come
};

class AccessLogReader {
 public:
  explicit AccessLogReader(AccessLogQuery query);

  // True at the log's end; false when the client left or the file cannot be read.
  [[nodiscard]] bool copy_to(Stream& stream);

 private:
  [[nodiscard]] bool begin(Stream& stream);
  [[nodiscard]] bool drain(Stream& stream);
  // Writes the whole lines among them that are asked for.
  [[nodiscard]] bool take(std::string_view bytes, Stream& stream);
  [[nodiscard]] bool is_asked_for(std::string_view line) const;
  [[nodiscard]] bool tell(const Error& error) const;

  const AccessLogQuery query_;
  const std::string since_;  // as lines have it; empty: whenever
  storage::LogCursor cursor_;
  std::string rest_;   // of a line that is not whole
  bool torn_ = false;  // what comes begins within a line
};

}  // namespace atlasflow::api
