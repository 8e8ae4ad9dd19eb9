#include "events/environment.hpp"

#include <cstdint>
#include <string_view>

namespace atlasflow {
namespace {

constexpr std::string_view k_preview_prefix = "preview/";
constexpr std::string_view k_pull_prefix = "pull/";
constexpr std::string_view k_label_prefix = "pr-";
constexpr std::size_t k_label_bytes_max = 63;

// Six characters of [a-z2-7] that tell names apart; FNV-1a.
std::string short_hash(const std::string& text) {
  constexpr std::string_view k_alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  std::uint64_t hash = 1469598103934665603ULL;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 1099511628211ULL;
  hash ^= hash >> 32U;
  std::string characters;
  for (int i = 0; i < 6; ++i) {
    characters += k_alphabet[hash & 31U];
    hash >>= 5U;
  }
  return characters;
}

}  // namespace

std::string preview_environment(const std::string& branch) {
  return std::string(k_preview_prefix) + branch;
}

std::string pull_request_environment(std::int64_t number) {
  return std::string(k_pull_prefix) + std::to_string(number);
}

bool is_preview(const std::string& environment) {
  return environment.starts_with(k_preview_prefix) || pull_request_of(environment) != 0;
}

std::string branch_of(const std::string& environment) {
  return environment.starts_with(k_preview_prefix) ? environment.substr(k_preview_prefix.size())
                                                   : "";
}

std::int64_t pull_request_of(const std::string& environment) {
  if (!environment.starts_with(k_pull_prefix)) return 0;
  std::int64_t number = 0;
  for (const char c : environment.substr(k_pull_prefix.size())) {
    if (c < '0' || c > '9') return 0;
    number = number * 10 + (c - '0');
    if (number > k_pull_request_max) return 0;
  }
  return number;
}

bool is_pull_request_label(const std::string& name) {
  if (!name.starts_with(k_label_prefix)) return false;
  const auto end = name.find('-', k_label_prefix.size());
  if (end == std::string::npos || end == k_label_prefix.size()) return false;
  const auto number = name.substr(k_label_prefix.size(), end - k_label_prefix.size());
  return number.find_first_not_of("0123456789") == std::string::npos;
}

std::string preview_label(const std::string& environment, const std::string& project) {
  if (const auto number = pull_request_of(environment); number != 0) {
    return std::string(k_label_prefix) + std::to_string(number) + "-" + project;
  }
  const auto branch = branch_of(environment);
  const std::string tail = "--" + project;
  std::string slug;
  for (const char c : branch) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (letter) {
      slug += c;
    } else if (c >= 'A' && c <= 'Z') {
      slug += static_cast<char>(c - 'A' + 'a');
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  while (!slug.empty() && slug.back() == '-') slug.pop_back();
  if (slug == branch && slug.size() + tail.size() <= k_label_bytes_max) return slug + tail;
  const auto hash = short_hash(branch);
  const auto room = k_label_bytes_max - tail.size() - hash.size() - 1;
  if (slug.size() > room) slug.resize(room);
  while (!slug.empty() && slug.back() == '-') slug.pop_back();
  return (slug.empty() ? "" : slug + "-") + hash + tail;
}

}  // namespace atlasflow
