// What a reader of a stream without an end needs: its lines, and what to do when it breaks. Values,
// one thread each.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace atlasflow::cli {

// A longer line is handed on in pieces of this size.
inline constexpr std::size_t k_line_bytes_max = 1U << 20U;

// Cuts a stream of bytes into lines; the last one may lack its line break.
class LineSplitter {
 public:
  template <typename Take>
  void feed(std::string_view bytes, const Take& take) {
    while (!bytes.empty()) {
      const auto end = std::min(bytes.find('\n'), bytes.size());
      const auto taken = std::min(end, k_line_bytes_max - rest_.size());
      rest_ += bytes.substr(0, taken);
      bytes.remove_prefix(taken);
      if (bytes.empty()) return;
      if (bytes.front() == '\n') bytes.remove_prefix(1);
      take(take_rest());
    }
  }
  [[nodiscard]] std::string take_rest() { return std::exchange(rest_, {}); }

 private:
  std::string rest_;  // no line break is in it
};

// How long to wait after a stream broke, so that a server which breaks each one is not asked again
// and again without a pause.
class BrokenStreams {
 public:
  using Duration = std::chrono::steady_clock::duration;

  // Nothing: none of the last ones brought a byte or held for a while, and it is time to give up.
  [[nodiscard]] std::optional<Duration> pause_after(bool brought_bytes, Duration held) {
    if (brought_bytes || held >= k_held_well) in_a_row_ = 0;
    if (++in_a_row_ >= k_in_a_row_max) return std::nullopt;
    return k_first_pause * (1 << (in_a_row_ - 1));
  }

 private:
  static constexpr int k_in_a_row_max = 5;
  static constexpr std::chrono::milliseconds k_first_pause{500};  // then doubled: up to 4 s
  // An app may have nothing to say from one restart of the server to the next.
  static constexpr std::chrono::seconds k_held_well{10};

  int in_a_row_ = 0;
};

}  // namespace atlasflow::cli
