// Numbers as hexadecimal digits, without a call for each. Pure; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace atlasflow::edge {

// Both digits of each byte.
inline constexpr std::array<char, 512> k_hex_of_bytes = [] {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::array<char, 512> table{};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    table[2 * byte] = k_digits[byte / 16];
    table[2 * byte + 1] = k_digits[byte % 16];
  }
  return table;
}();

// The lowest `bytes` of the number, the highest of them first.
inline void write_hex(std::uint64_t number, std::size_t bytes, char* out) {
  for (std::size_t i = bytes; i-- > 0; number >>= 8U) {
    std::memcpy(out + 2 * i, &k_hex_of_bytes[2 * (number & 0xFFU)], 2);
  }
}

}  // namespace atlasflow::edge
