#include "api/url.hpp"

#include <algorithm>
#include <charconv>

namespace atlasflow::api {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> percent_decoded(std::string_view text, PlusSign plus) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus == PlusSign::space) {
      decoded += ' ';
    } else if (text[i] != '%') {
      decoded += text[i];
    } else {
      if (text.size() - i < 3) return std::nullopt;
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return decoded;
}

std::optional<QueryItems> parsed_query(std::string_view text) {
  QueryItems items;
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const auto item = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (item.empty()) continue;
    // Not item.find(): GCC 12 at -O2 believes that it may read beyond the item, and warns.
    const auto equals = static_cast<std::size_t>(std::ranges::find(item, '=') - item.begin());
    auto name = percent_decoded(item.substr(0, equals), PlusSign::space);
    auto value = percent_decoded(item.substr(std::min(equals + 1, item.size())), PlusSign::space);
    if (!name || !value) return std::nullopt;
    items.emplace_back(*std::move(name), *std::move(value));
  }
  return items;
}

std::optional<std::uint64_t> parsed_number(std::string_view text, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || rest != end || value > max) return std::nullopt;
  return value;
}

}  // namespace atlasflow::api
