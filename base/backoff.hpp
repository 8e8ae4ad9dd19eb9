// How long to wait before something that failed is tried again. A free function; any thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>

namespace atlasflow {

// 1 s, doubled so many times, at most `longest`.
[[nodiscard]] constexpr std::chrono::seconds doubled_pause(std::size_t doublings,
                                                           std::chrono::seconds longest) {
  constexpr std::size_t k_doublings_max = 30;
  return std::min(std::chrono::seconds(1LL << std::min(doublings, k_doublings_max)), longest);
}

}  // namespace atlasflow
