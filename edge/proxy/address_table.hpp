// What single client addresses have a share of: connections, and handshakes per second. Tables of a
// fixed size, however many addresses there are: each address counts in two of their cells, and the
// lower is taken, so that another address in one of them does no harm. The hash is keyed anew by
// each process: nobody can choose an address that shares both cells with somebody else's.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "edge/proxy/socket.hpp"

namespace atlasflow::edge {

struct AddressKey {
  std::uint64_t hash = 0;
};

// An IPv4 address, or the first 64 bits of an IPv6 one: a household has all of a /64.
[[nodiscard]] inline AddressKey address_key(const SocketAddress& address, std::uint64_t seed) {
  std::uint64_t bits = 0;
  if (address.family() == AF_INET) {
    bits = reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr.s_addr;
  } else if (address.family() == AF_INET6) {
    std::memcpy(&bits, &reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr,
                sizeof bits);
  }
  // The finaliser of MurmurHash3, twice around the key.
  for (const std::uint64_t key : {seed, ~seed}) {
    bits ^= key;
    bits ^= bits >> 33U;
    bits *= 0xff51afd7ed558ccdULL;
    bits ^= bits >> 33U;
    bits *= 0xc4ceb9fe1a85ec53ULL;
    bits ^= bits >> 33U;
  }
  return {bits};
}

// Connections by address; all workers share one.
class ConnectionCounts {
 public:
  // False when the address has its share already; otherwise leave() is due once.
  [[nodiscard]] bool enter(AddressKey key, std::int32_t max) {
    const std::int32_t first = cell(key, 0).fetch_add(1, std::memory_order_relaxed);
    const std::int32_t second = cell(key, 1).fetch_add(1, std::memory_order_relaxed);
    if (std::min(first, second) < max) return true;
    leave(key);
    return false;
  }
  void leave(AddressKey key) {
    cell(key, 0).fetch_sub(1, std::memory_order_relaxed);
    cell(key, 1).fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  static constexpr std::size_t k_cells = 16'384;
  [[nodiscard]] std::atomic<std::int32_t>& cell(AddressKey key, unsigned row) {
    return cells_[row * k_cells + (key.hash >> (row * 32U)) % k_cells];
  }
  std::vector<std::atomic<std::int32_t>> cells_ =
      std::vector<std::atomic<std::int32_t>>(2 * k_cells);
};

// Whether an address keeps to a rate, with bursts of some seconds' worth (the generic cell rate
// algorithm, one time in each cell). One thread.
class AddressRates {
 public:
  // per_second 0: everybody does.
  explicit AddressRates(std::int32_t per_second)
      : interval_us_(per_second == 0 ? 0 : 1'000'000 / per_second) {}

  // Takes one of the address's share. False when there is none now.
  [[nodiscard]] bool take(AddressKey key, std::int64_t now_ms) {
    const std::int64_t now_us = now_ms * 1000;
    std::int64_t& first = next_us_[key.hash % k_cells];
    std::int64_t& second = next_us_[k_cells + (key.hash >> 32U) % k_cells];
    const std::int64_t next = std::max(std::min(first, second), now_us);
    if (next - now_us > k_burst_us) return false;
    first = std::max(first, next + interval_us_);
    second = std::max(second, next + interval_us_);
    return true;
  }

 private:
  static constexpr std::size_t k_cells = 4'096;
  static constexpr std::int64_t k_burst_us = 4'000'000;
  std::int64_t interval_us_;
  std::vector<std::int64_t> next_us_ = std::vector<std::int64_t>(2 * k_cells);
};

// The same of requests to single projects, each with a rate of its own; all workers share one, as a
// client's connections may be any worker's. Two of them that count in one cell at once may let a
// request through that is one too many.
class RequestRates {
 public:
  // Takes one of the address's share of that project. Otherwise how long until there is one again.
  [[nodiscard]] std::int64_t take(AddressKey key, std::uint64_t project, std::int32_t per_second,
                                  std::int64_t now_us) {
    const std::int64_t interval_us = std::max<std::int64_t>(1'000'000 / per_second, 1);
    std::uint64_t hash = key.hash ^ (project * 0x9e3779b97f4a7c15ULL);
    hash = (hash ^ (hash >> 33U)) * 0xff51afd7ed558ccdULL;
    hash ^= hash >> 33U;
    std::atomic<std::int64_t>& first = next_us_[hash % k_cells];
    std::atomic<std::int64_t>& second = next_us_[k_cells + (hash >> 32U) % k_cells];
    const std::int64_t at_first = first.load(std::memory_order_relaxed);
    const std::int64_t at_second = second.load(std::memory_order_relaxed);
    const std::int64_t next = std::max(std::min(at_first, at_second), now_us);
    const std::int64_t wait_us = next + interval_us - now_us - k_burst_us;
    if (wait_us > 0) return wait_us;
    first.store(std::max(at_first, next + interval_us), std::memory_order_relaxed);
    second.store(std::max(at_second, next + interval_us), std::memory_order_relaxed);
    return 0;
  }

 private:
  static constexpr std::size_t k_cells = 16'384;
  static constexpr std::int64_t k_burst_us = 4'000'000;
  std::vector<std::atomic<std::int64_t>> next_us_ =
      std::vector<std::atomic<std::int64_t>>(2 * k_cells);
};

}  // namespace atlasflow::edge
