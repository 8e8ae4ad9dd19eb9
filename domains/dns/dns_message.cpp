#include "domains/dns/dns_message.hpp"

#include <array>
#include <optional>

#include <arpa/inet.h>

#include "domains/dns/dns_wire.hpp"

namespace atlasflow::domains {
namespace {

constexpr std::size_t k_answers_max = 256;

std::optional<DnsType> known_type(std::uint16_t number) {
  for (const DnsType type : {DnsType::a, DnsType::ns, DnsType::cname, DnsType::soa, DnsType::txt,
                             DnsType::aaaa, DnsType::caa}) {
    if (static_cast<std::uint16_t>(type) == number) return type;
  }
  return std::nullopt;
}

std::optional<std::string> address_text(std::string_view data, int family) {
  if (data.size() != (family == AF_INET ? 4U : 16U)) return std::nullopt;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (::inet_ntop(family, data.data(), text.data(), text.size()) == nullptr) return std::nullopt;
  return text.data();
}

std::optional<std::string> text_strings(std::string_view data) {
  std::string joined;
  while (!data.empty()) {
    const auto size = static_cast<std::size_t>(static_cast<unsigned char>(data.front()));
    if (data.size() <= size) return std::nullopt;
    joined += data.substr(1, size);
    data.remove_prefix(1 + size);
  }
  return presentable(joined);
}

// RFC 8659 section 4.1: flags, the tag's length, the tag, and the rest is the value.
std::optional<std::string> caa_text(std::string_view data) {
  if (data.size() < 2) return std::nullopt;
  const auto flags = static_cast<unsigned char>(data[0]);
  const auto tag_size = static_cast<std::size_t>(static_cast<unsigned char>(data[1]));
  if (tag_size == 0 || data.size() < 2 + tag_size) return std::nullopt;
  return std::to_string(flags) + " " + lower_dns_name(presentable(data.substr(2, tag_size))) +
         " \"" + presentable(data.substr(2 + tag_size)) + "\"";
}

std::optional<std::string> value_of(DnsType type, WireReader& reader, std::string_view data) {
  switch (type) {
    case DnsType::a:
      return address_text(data, AF_INET);
    case DnsType::aaaa:
      return address_text(data, AF_INET6);
    case DnsType::txt:
      return text_strings(data);
    case DnsType::caa:
      return caa_text(data);
    case DnsType::cname:
    case DnsType::ns:
    case DnsType::soa:
      return reader.name();
  }
  return std::nullopt;
}

tl::unexpected<Error> broken() {
  return fail(ErrorCode::corrupt, "the answer is no DNS message: it ends too early");
}

}  // namespace

std::string_view name_of(DnsType type) {
  switch (type) {
    case DnsType::a:
      return "A";
    case DnsType::ns:
      return "NS";
    case DnsType::cname:
      return "CNAME";
    case DnsType::soa:
      return "SOA";
    case DnsType::txt:
      return "TXT";
    case DnsType::aaaa:
      return "AAAA";
    case DnsType::caa:
      return "CAA";
  }
  return "";
}

std::string presentable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F && c != '\\') {
      text += c;
    } else {
      text += '\\';
      text += static_cast<char>('0' + byte / 100);
      text += static_cast<char>('0' + byte / 10 % 10);
      text += static_cast<char>('0' + byte % 10);
    }
  }
  return text;
}

Result<DnsMessage> read_dns_message(std::string_view bytes) {
  WireReader reader(bytes);
  DnsMessage message;
  const auto head = reader.take(k_dns_head_bytes);
  if (!head) return broken();
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>((*head)[at]); };
  message.authoritative = (byte(2) & 4U) != 0;
  message.response_code = byte(3) & 15;
  const unsigned questions = (byte(4) << 8U) | byte(5);
  const unsigned answers = (byte(6) << 8U) | byte(7);
  for (unsigned i = 0; i < questions; ++i) {
    if (!reader.name() || !reader.take(4)) return broken();
  }
  for (unsigned i = 0; i < answers && message.answers.size() < k_answers_max; ++i) {
    const auto name = reader.name();
    const auto number = reader.number16();
    const auto of_class = reader.number16();
    const auto lifetime = reader.take(4);
    const auto size = reader.number16();
    const std::size_t begin = reader.at();
    const auto data = size ? reader.take(*size) : std::nullopt;
    if (!name || !number || !of_class || !lifetime || !data) return broken();
    const auto type = known_type(*number);
    if (!type || *of_class != k_dns_class_internet) continue;
    const std::size_t end = reader.at();
    reader.go_to(begin);
    auto value = value_of(*type, reader, *data);
    if (!value) return broken();
    reader.go_to(end);
    message.answers.push_back({*name, *type, std::move(*value)});
  }
  return message;
}

}  // namespace atlasflow::domains
