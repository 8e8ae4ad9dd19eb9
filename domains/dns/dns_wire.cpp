#include "domains/dns/dns_wire.hpp"

#include <algorithm>
#include <memory>

#include <ares.h>

namespace atlasflow::domains {
namespace {

constexpr std::size_t k_label_bytes_max = 63;

struct AresFree {
  void operator()(char* text) const { ares_free_string(text); }
};

}  // namespace

std::string lower_dns_name(std::string_view text) {
  std::string made(text);
  for (char& c : made) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  while (made.ends_with('.')) made.pop_back();
  return made;
}

std::optional<std::uint16_t> WireReader::number16() {
  const auto bytes = take(2);
  if (!bytes) return std::nullopt;
  return static_cast<std::uint16_t>((static_cast<unsigned char>((*bytes)[0]) << 8U) |
                                    static_cast<unsigned char>((*bytes)[1]));
}

std::optional<std::string_view> WireReader::take(std::size_t size) {
  if (at_ > bytes_.size() || bytes_.size() - at_ < size) return std::nullopt;
  const auto part = bytes_.substr(at_, size);
  at_ += size;
  return part;
}

std::optional<std::string> WireReader::name() {
  const auto* begin = reinterpret_cast<const unsigned char*>(bytes_.data());
  char* text = nullptr;
  long size = 0;
  if (at_ >= bytes_.size() || ares_expand_name(begin + at_, begin, static_cast<int>(bytes_.size()),
                                               &text, &size) != ARES_SUCCESS) {
    return std::nullopt;
  }
  const std::unique_ptr<char, AresFree> owned(text);
  at_ += static_cast<std::size_t>(size);
  return lower_dns_name(text);
}

std::string wire16(std::uint16_t number) {
  return {static_cast<char>(number >> 8U), static_cast<char>(number & 255U)};
}

std::string wire32(std::uint32_t number) {
  return wire16(static_cast<std::uint16_t>(number >> 16U)) +
         wire16(static_cast<std::uint16_t>(number & 0xFFFFU));
}

std::string wire_of_name(std::string_view name) {
  std::string wire;
  while (!name.empty()) {
    const auto label = name.substr(0, std::min(name.find('.'), k_label_bytes_max));
    wire += static_cast<char>(label.size());
    wire += label;
    name.remove_prefix(std::min(label.size() + 1, name.size()));
  }
  return wire + '\0';
}

}  // namespace atlasflow::domains
