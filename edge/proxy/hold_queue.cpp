#include "edge/proxy/hold_queue.hpp"

#include <algorithm>

namespace atlasflow::edge {

void HoldQueue::hold(Stream& stream, std::size_t step, std::int64_t now_ms) {
  stream.retry_at_ms = now_ms + k_backoff_ms[step];
  lists_[step].push_back(stream);
  ++by_host_[std::string(stream.head()->host)];
}

void HoldQueue::release(Stream& stream) {
  if (stream.in_held.list == nullptr) return;
  for (auto& list : lists_) {
    if (list.remove(stream)) break;
  }
  const auto it = by_host_.find(std::string(stream.head()->host));
  if (--it->second == 0) by_host_.erase(it);
}

Stream* HoldQueue::take_due(std::int64_t now_ms) {
  if (by_host_.empty()) return nullptr;
  for (auto& list : lists_) {
    Stream* stream = list.front();
    if (stream == nullptr || stream->retry_at_ms > now_ms) continue;
    release(*stream);
    return stream;
  }
  return nullptr;
}

std::int64_t HoldQueue::next_due_ms() const {
  std::int64_t due = INT64_MAX;
  if (by_host_.empty()) return due;
  for (const auto& list : lists_) {
    if (!list.empty()) due = std::min(due, list.front()->retry_at_ms);
  }
  return due;
}

std::size_t HoldQueue::held_for(std::string_view host) const {
  if (by_host_.empty()) return 0;
  const auto it = by_host_.find(std::string(host));
  return it == by_host_.end() ? 0 : it->second;
}

}  // namespace atlasflow::edge
