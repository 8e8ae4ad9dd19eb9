// The bytes of DNS messages (RFC 1035 section 4): read in order, with nothing read twice nor beyond
// their end, and written without compression. Values and free functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atlasflow::domains {

inline constexpr std::size_t k_dns_head_bytes = 12;
inline constexpr std::uint16_t k_dns_class_internet = 1;

// Lower case, without trailing dots.
[[nodiscard]] std::string lower_dns_name(std::string_view text);

// Reads on; nothing once there is too little left.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}

  [[nodiscard]] std::optional<std::uint16_t> number16();
  [[nodiscard]] std::optional<std::string_view> take(std::size_t size);
  // As lower_dns_name() has it; with the pointers of RFC 1035 section 4.1.4, whose loops c-ares
  // finds.
  [[nodiscard]] std::optional<std::string> name();
  [[nodiscard]] std::size_t at() const { return at_; }
  void go_to(std::size_t place) { at_ = place; }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

// Big-endian, as many bytes as the number has.
[[nodiscard]] std::string wire16(std::uint16_t number);
[[nodiscard]] std::string wire32(std::uint32_t number);
// Of a name in lower case whose labels have at most 63 bytes each.
[[nodiscard]] std::string wire_of_name(std::string_view name);

}  // namespace atlasflow::domains
