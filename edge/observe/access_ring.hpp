// Records on their way from a worker to the thread that writes the access log: a ring of bytes of a
// fixed size with one writer and one reader, and no lock. Whoever finds it full drops its record
// and goes on.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/assert.hpp"

namespace atlasflow::edge {

inline constexpr std::size_t k_access_texts = 11;

// One request, as it is remembered when it is over. Its texts follow it in the ring.
struct AccessRecord {
  static constexpr std::uint64_t k_never = UINT64_MAX;

  std::uint32_t bytes = 0;    // with its texts, rounded up
  std::uint16_t status = 0;   // 0: the client left before there was one
  std::uint8_t protocol = 1;  // 0: HTTP/1.0, 1: HTTP/1.1, 2: HTTP/2, 3: a websocket
  std::uint8_t phase = 0;     // access_log.hpp's list
  bool https = false;
  std::uint32_t attempts = 0;  // connections that were used or tried
  std::int64_t ended_ms = 0;   // since 1970
  // Microseconds since its beginning, by the turns of the worker's loop.
  std::uint64_t sent_us = k_never;        // the first byte went to the application
  std::uint64_t first_byte_us = k_never;  // its first byte came
  std::uint64_t duration_us = 0;
  std::uint64_t request_bytes = 0;
  std::uint64_t response_bytes = 0;
  // The texts' lengths, in their order.
  std::array<std::uint16_t, k_access_texts> lengths{};
};
static_assert(std::is_trivially_copyable_v<AccessRecord>);

class AccessRing {
 public:
  using Texts = std::array<std::string_view, k_access_texts>;

  // `bytes`: a power of two.
  explicit AccessRing(std::size_t bytes)
      : storage_(std::make_unique_for_overwrite<char[]>(bytes)), bytes_(bytes), mask_(bytes - 1) {
    ATLAS_ASSERT((bytes & mask_) == 0, "a ring's size is a power of two");
  }

  // The worker's. False: there is no room.
  [[nodiscard]] bool put(AccessRecord record, const Texts& texts) {
    std::size_t size = sizeof record;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      record.lengths[i] = static_cast<std::uint16_t>(texts[i].size());
      size += texts[i].size();
    }
    size = (size + k_align - 1) & ~(k_align - 1);
    record.bytes = static_cast<std::uint32_t>(size);
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    // A record lies in one piece: what is left before the end is passed over when it is too short.
    const std::size_t at = head & mask_;
    const std::size_t skipped = bytes_ - at < size ? bytes_ - at : 0;
    if (head + skipped + size - seen_tail_ > bytes_) {
      seen_tail_ = tail_.load(std::memory_order_acquire);
      if (head + skipped + size - seen_tail_ > bytes_) return false;
    }
    if (skipped != 0) {
      const std::uint32_t none = 0;
      std::memcpy(storage_.get() + at, &none, sizeof none);
    }
    char* to = storage_.get() + ((head + skipped) & mask_);
    std::memcpy(to, &record, sizeof record);
    to += sizeof record;
    for (const std::string_view text : texts) {
      if (!text.empty()) std::memcpy(to, text.data(), text.size());
      to += text.size();
    }
    head_.store(head + skipped + size, std::memory_order_release);
    return true;
  }

  // The worker's: whether the reader should look before its time. By what it last knew of it.
  [[nodiscard]] bool half_full() {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);
    if (head - seen_tail_ <= bytes_ / 2) return false;
    seen_tail_ = tail_.load(std::memory_order_acquire);
    return head - seen_tail_ > bytes_ / 2;
  }

  // The reader's: calls `take(record, texts)` for each.
  template <typename Take>
  void drain(const Take& take) {
    const std::uint64_t head = head_.load(std::memory_order_acquire);
    std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    while (tail != head) {
      const char* from = storage_.get() + (tail & mask_);
      std::uint32_t size = 0;
      std::memcpy(&size, from, sizeof size);
      if (size == 0) {
        tail += bytes_ - (tail & mask_);
        continue;
      }
      AccessRecord record;
      std::memcpy(&record, from, sizeof record);
      from += sizeof record;
      Texts texts;
      for (std::size_t i = 0; i < texts.size(); ++i) {
        texts[i] = {from, record.lengths[i]};
        from += record.lengths[i];
      }
      take(record, texts);
      tail += size;
      tail_.store(tail, std::memory_order_release);
    }
    tail_.store(tail, std::memory_order_release);
  }

 private:
  static constexpr std::size_t k_align = 8;  // so that a length always fits before the end

  std::unique_ptr<char[]> storage_;
  const std::size_t bytes_;
  const std::size_t mask_;
  alignas(64) std::atomic<std::uint64_t> head_{0};
  std::uint64_t seen_tail_ = 0;  // the writer's
  alignas(64) std::atomic<std::uint64_t> tail_{0};
};

}  // namespace atlasflow::edge
