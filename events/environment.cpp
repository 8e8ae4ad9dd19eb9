#include "events/environment.hpp"

#include <cstdint>
#include <string_view>

namespace atlasflow {
namespace {

constexpr std::string_view k_preview_prefix = "preview/";
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

bool is_preview(const std::string& environment) {
  return environment.starts_with(k_preview_prefix);
}

std::string branch_of(const std::string& environment) {
  return is_preview(environment) ? environment.substr(k_preview_prefix.size()) : "";
}

std::string preview_label(const std::string& environment, const std::string& project) {
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
