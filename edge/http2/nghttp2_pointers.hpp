// What nghttp2's sessions are made of, owned; and its bytes as text. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <nghttp2/nghttp2.h>

namespace atlasflow::edge {

using OptionPtr = std::unique_ptr<nghttp2_option, decltype(&nghttp2_option_del)>;
using CallbacksPtr =
    std::unique_ptr<nghttp2_session_callbacks, decltype(&nghttp2_session_callbacks_del)>;

// Null: out of memory.
[[nodiscard]] inline OptionPtr new_options() {
  nghttp2_option* made = nullptr;
  if (nghttp2_option_new(&made) != 0) made = nullptr;
  return {made, nghttp2_option_del};
}
[[nodiscard]] inline CallbacksPtr new_callbacks() {
  nghttp2_session_callbacks* made = nullptr;
  if (nghttp2_session_callbacks_new(&made) != 0) made = nullptr;
  return {made, nghttp2_session_callbacks_del};
}

[[nodiscard]] inline std::string_view text_of(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace atlasflow::edge
