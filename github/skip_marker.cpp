#include "github/skip_marker.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace atlasflow::github {
namespace {

constexpr std::array<std::string_view, 5> k_markers = {"[skip ci]", "[ci skip]", "[no ci]",
                                                       "[skip actions]", "[actions skip]"};
constexpr std::string_view k_trailer = "skip-checks";
constexpr std::string_view k_trailer_marker = "skip-checks: true";

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  while (!lines.empty() && trimmed(lines.back()).empty()) lines.pop_back();
  return lines;
}

struct Trailer {
  std::string_view token;
  std::string_view value;
};

// "Token: value" (git-interpret-trailers(1)); a token has no spaces.
std::optional<Trailer> trailer_of(std::string_view line) {
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  const auto token = trimmed(line.substr(0, colon));
  const bool plain = !token.empty() && std::all_of(token.begin(), token.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
  if (!plain) return std::nullopt;
  return Trailer{token, trimmed(line.substr(colon + 1))};
}

// Of a message in lower case.
bool has_skip_trailer(std::string_view message) {
  const auto lines = lines_of(message);
  bool found = false;
  for (std::size_t i = lines.size(); i-- > 0;) {
    // The first paragraph is the subject: a trailer stands behind an empty line.
    if (trimmed(lines[i]).empty()) return found && i > 0;
    const bool continues = lines[i].front() == ' ' || lines[i].front() == '\t';
    const auto trailer = trailer_of(lines[i]);
    if (!trailer && !continues) return false;
    if (trailer && trailer->token == k_trailer && trailer->value == "true") found = true;
  }
  return false;
}

}  // namespace

std::optional<std::string> skip_marker(std::string_view message) {
  const auto text = lower(message);
  for (const auto marker : k_markers) {
    if (text.find(marker) != std::string::npos) return std::string(marker);
  }
  if (has_skip_trailer(text)) return std::string(k_trailer_marker);
  return std::nullopt;
}

}  // namespace atlasflow::github
