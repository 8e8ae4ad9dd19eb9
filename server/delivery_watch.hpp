// Asks GitHub for those deliveries again that did not arrive, as GitHub repeats none by itself: at
// a start, which is when some were missed, and every few minutes. They come as any other, so the
// project's actor tells a push that is late or known. Owned by the composition root; a thread of
// its own.
#pragma once

#include <chrono>
#include <thread>

#include "github/connected_app.hpp"

namespace atlasflow::server {

inline constexpr std::chrono::milliseconds k_delivery_watch_interval{3 * 60 * 1000};

class DeliveryWatch {
 public:
  // connected must outlive it. Looks at once, then after each interval; while the looks fail, the
  // pauses between them double, up to 16 intervals, unless another App is connected.
  explicit DeliveryWatch(github::ConnectedApp& connected,
                         std::chrono::milliseconds interval = k_delivery_watch_interval);

 private:
  std::jthread thread_;  // stopped and joined by its destructor
};

}  // namespace atlasflow::server
