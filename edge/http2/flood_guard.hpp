// Frames that cost a client next to nothing and us some work: resets, pings, settings, priorities,
// window updates, empty data. Real clients send them in some proportion to what they are sent; one
// that goes far beyond it is not worth its connection. A token bucket, one connection's. (HEADERS
// without an end, CONTINUATION, and acknowledgements that are not taken are bounded by nghttp2.)
#pragma once

#include <algorithm>
#include <cstdint>

namespace atlasflow::edge {

class FloodGuard {
 public:
  // Such a frame has come. False: it is one too many.
  [[nodiscard]] bool takes_frame(std::int64_t now_ms) {
    const std::int64_t earned = (now_ms - last_ms_) * k_per_second / 1000;
    last_ms_ += earned * 1000 / k_per_second;
    tokens_ = std::min(k_burst, tokens_ + earned);
    return --tokens_ >= 0;
  }
  // Something was done for the client that such frames may answer: data was sent, a request served.
  void earn() { tokens_ = std::min(k_burst, tokens_ + k_per_answer); }

 private:
  static constexpr std::int64_t k_burst = 400;
  static constexpr std::int64_t k_per_second = 50;
  static constexpr std::int64_t k_per_answer = 4;
  std::int64_t tokens_ = k_burst;
  std::int64_t last_ms_ = 0;
};

}  // namespace atlasflow::edge
