// Which fields of a message go on to the other side, whatever version of HTTP it came by (RFC 9110
// sections 6.5.1 and 7.6.1). Pure; any thread.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "http/message.hpp"

namespace atlasflow::edge {

// Names compared without regard to case, and _ taken for -.
namespace field_name {

inline char fold(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c + 32);
  return c == '_' ? '-' : c;  // applications that see CGI names cannot tell the two apart
}

inline bool same_name(std::string_view name, std::string_view lower) {
  if (name.size() != lower.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (fold(name[i]) != lower[i]) return false;
  }
  return true;
}

inline bool has_prefix(std::string_view name, std::string_view lower) {
  return name.size() >= lower.size() && same_name(name.substr(0, lower.size()), lower);
}

}  // namespace field_name

// Of one hop, or about the framing, which the edge writes itself.
[[nodiscard]] inline bool is_hop_field(std::string_view name) {
  switch (field_name::fold(name.front())) {
    case 'c':
      return field_name::same_name(name, "connection") ||
             field_name::same_name(name, "content-length");
    case 'k':
      return field_name::same_name(name, "keep-alive");
    case 'p':
      return field_name::same_name(name, "proxy") || field_name::has_prefix(name, "proxy-");
    case 't':
      return field_name::same_name(name, "te") || field_name::same_name(name, "transfer-encoding");
    case 'u':
      return field_name::same_name(name, "upgrade");
    default:
      return false;
  }
}

// Of who the client is, which the edge says itself.
[[nodiscard]] inline bool is_identity_field(std::string_view name) {
  switch (field_name::fold(name.front())) {
    case 'f':
      return field_name::same_name(name, "forwarded");
    case 'h':
      return field_name::same_name(name, "host");
    case 'x':
      return field_name::has_prefix(name, "x-forwarded-") ||
             field_name::same_name(name, "x-real-ip") ||
             field_name::same_name(name, "x-request-id");
    default:
      return false;
  }
}

// What Connection names goes no further (at most 32 names; a head without Connection is the usual
// case).
[[nodiscard]] inline bool is_nominated(const std::vector<std::string_view>& options,
                                       std::string_view name) {
  return std::any_of(options.begin(), options.end(), [&](std::string_view option) {
    return http::equal_ignoring_case(option, name);
  });
}

[[nodiscard]] bool may_be_trailer(std::string_view name);

// Why a head cannot be passed on although it is well formed: its Connection field names a field
// that is not the hop's to drop.
[[nodiscard]] std::optional<http::HttpError> check_connection_options(
    const std::vector<std::string_view>& options);

}  // namespace atlasflow::edge
