// Protobuf's wire format (protobuf.dev/programming-guides/encoding), read in place: what a check of
// every record needs of it, with nothing copied. Only the plain form is taken, as Protobuf's own
// writer makes it; whoever meets another one lets Protobuf read the bytes. Values, one thread each.
#pragma once

#include <algorithm>
#include <cstddef>
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
    if (!varint(value, k_tag_bytes_max) || value > UINT32_MAX) return false;
    number = static_cast<std::uint32_t>(value >> 3U);
    type = static_cast<WireType>(value & 7U);
    return number != 0 && (type == WireType::varint || type == WireType::fixed64 ||
                           type == WireType::length || type == WireType::fixed32);
  }

  // A longer one is not plain: Protobuf refuses it, or reads only some of its bits.
  [[nodiscard]] bool varint(std::uint64_t& value, std::size_t bytes_max = k_number_bytes_max) {
    value = 0;
    for (std::size_t i = 0; i < std::min(rest_.size(), bytes_max); ++i) {
      const auto byte = static_cast<unsigned char>(rest_[i]);
      // Of a tenth byte only the lowest bit fits; what Protobuf makes of the others is its affair.
      if (i + 1 == k_number_bytes_max && byte != 1) return false;
      value |= static_cast<std::uint64_t>(byte & 0x7FU) << (7 * i);
      if (byte < 0x80) {
        rest_.remove_prefix(i + 1);
        return true;
      }
    }
    return false;
  }

  [[nodiscard]] bool bytes(std::string_view& value) {
    std::uint64_t size = 0;
    if (!varint(size, k_tag_bytes_max) || size > INT32_MAX || size > rest_.size()) return false;
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
  static constexpr std::size_t k_number_bytes_max = 10;  // 64 bits, seven in each
  static constexpr std::size_t k_tag_bytes_max = 5;      // 32 bits, of a tag or a length

  std::string_view rest_;
};

}  // namespace atlasflow::storage
