// Streams that wait for the next connect attempt. The worker's thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "edge/proxy/intrusive_list.hpp"
#include "edge/proxy/stream.hpp"

namespace atlasflow::edge {

class HoldQueue {
 public:
  // Before a connection is tried again: at once when there is another upstream, else these.
  static constexpr std::array<std::int64_t, 4> k_backoff_ms = {0, 50, 100, 200};

  // `step`: which of the backoffs.
  void hold(Stream& stream, std::size_t step, std::int64_t now_ms);
  // No effect on one that is not held.
  void release(Stream& stream);

  // The next one that is due, released; nullptr when there is none.
  [[nodiscard]] Stream* take_due(std::int64_t now_ms);
  // When the next is due; INT64_MAX: none is held.
  [[nodiscard]] std::int64_t next_due_ms() const;
  [[nodiscard]] std::size_t held_for(std::string_view host) const;

 private:
  // A list for each backoff, so that the first is the next due.
  std::array<IntrusiveList<Stream, &Stream::in_held>, k_backoff_ms.size()> lists_;
  std::unordered_map<std::string, std::size_t> by_host_;  // only while there are any
};

}  // namespace atlasflow::edge
