// Protobuf's wire format (protobuf.dev/programming-guides/encoding), read in place: what a check of
// every record needs of it, with nothing copied. Only the plain form is taken, as Protobuf's own
// writer makes it; whoever meets another one lets Protobuf read the bytes. Values, one thread each.
#pragma once

#include <cstdint>
#include <string_view>

namespace atlasflow::storage {

enum class WireType : std::uint8_t { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };

class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool at_end() const { return rest_.empty(); }

  // Of the next field: its number, not 0, and how its value stands. False: not plain.
  [[nodiscard]] bool tag(std::uint32_t& number, WireType& type) {
    std::uint64_t value = 0;
    if (!varint(value) || value > UINT32_MAX) return false;
    number = static_cast<std::uint32_t>(value >> 3U);
    type = static_cast<WireType>(value & 7U);
    return number != 0 && (type == WireType::varint || type == WireType::fixed64 ||
                           type == WireType::length || type == WireType::fixed32);
  }

  [[nodiscard]] bool varint(std::uint64_t& value) {
    constexpr std::size_t k_longest = 9;  // 63 bits; a tenth byte is that of a negative number
    value = 0;
    std::size_t size = 0;
    while (size < rest_.size() && size < k_longest) {
      const auto byte = static_cast<unsigned char>(rest_[size]);
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << (7 * size);
      ++size;
      if (byte < 0x80) {
        rest_.remove_prefix(size);
        return true;
      }
    }
    // Only its lowest bit fits; Protobuf drops the others, and so may have meant anything.
    if (size != k_longest || size == rest_.size() || rest_[size] != 1) return false;
    value |= 1ULL << 63U;
    rest_.remove_prefix(size + 1);
    return true;
  }

  [[nodiscard]] bool bytes(std::string_view& value) {
    std::uint64_t size = 0;
    if (!varint(size) || size > rest_.size()) return false;
    value = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  [[nodiscard]] bool skip(std::size_t size) {
    if (size > rest_.size()) return false;
    rest_.remove_prefix(size);
    return true;
  }

 private:
  std::string_view rest_;
};

}  // namespace atlasflow::storage
