#include "edge/proxy/grpc.hpp"

#include <charconv>

#include "http/message.hpp"

namespace atlasflow::edge {
namespace {

// The statuses of gRPC (doc/statuscodes.md).
constexpr int k_cancelled = 1;
constexpr int k_unknown = 2;
constexpr int k_deadline_exceeded = 4;
constexpr int k_permission_denied = 7;
constexpr int k_resource_exhausted = 8;
constexpr int k_unimplemented = 12;
constexpr int k_internal = 13;
constexpr int k_unavailable = 14;

// The codes of HTTP/2 (RFC 9113 section 7).
constexpr std::uint32_t k_refused_stream = 7;
constexpr std::uint32_t k_cancel = 8;
constexpr std::uint32_t k_enhance_your_calm = 11;
constexpr std::uint32_t k_inadequate_security = 12;

}  // namespace

bool is_grpc(std::string_view content_type) {
  constexpr std::string_view k_type = "application/grpc";
  if (!http::equal_ignoring_case(content_type.substr(0, k_type.size()), k_type)) return false;
  const std::string_view rest = content_type.substr(k_type.size());
  return rest.empty() || rest.front() == '+' || rest.front() == ';' || rest.front() == ' ';
}

std::optional<std::int64_t> grpc_timeout_ms(std::string_view text) {
  constexpr std::size_t k_digits_max = 8;
  if (text.size() < 2 || text.size() > k_digits_max + 1) return std::nullopt;
  std::int64_t value = 0;
  const char* unit = text.data() + text.size() - 1;
  const auto [end, code] = std::from_chars(text.data(), unit, value);
  if (code != std::errc{} || end != unit || value < 0 || text.front() == '-') return std::nullopt;
  constexpr auto k_divided = [](std::int64_t of, std::int64_t by) { return (of + by - 1) / by; };
  switch (*unit) {
    case 'H':
      return value * 3'600'000;
    case 'M':
      return value * 60'000;
    case 'S':
      return value * 1000;
    case 'm':
      return value;
    case 'u':
      return k_divided(value, 1000);
    case 'n':
      return k_divided(value, 1'000'000);
    default:
      return std::nullopt;
  }
}

// More than doc/http-grpc-status-mapping.md says, which is for clients that have only the HTTP
// status to go by: the edge knows whether it was time or a limit.
int grpc_status_of(int http_status) {
  switch (http_status) {
    case 400:
      return k_internal;
    case 404:
    case 405:
    case 501:
    case 505:
      return k_unimplemented;
    case 408:
    case 504:
      return k_deadline_exceeded;
    case 413:
    case 414:
    case 429:
    case 431:
      return k_resource_exhausted;
    case 421:
    case 502:
    case 503:
      return k_unavailable;
    default:
      return k_unknown;
  }
}

int grpc_status_of_reset(std::uint32_t http2_code) {
  switch (http2_code) {
    case k_refused_stream:
      return k_unavailable;
    case k_cancel:
      return k_cancelled;
    case k_enhance_your_calm:
      return k_resource_exhausted;
    case k_inadequate_security:
      return k_permission_denied;
    default:
      return k_internal;
  }
}

std::string grpc_message(std::string_view text) {
  constexpr std::string_view k_digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out += c;
      continue;
    }
    const auto byte = static_cast<unsigned char>(c);
    out += '%';
    out += k_digits[byte >> 4U];
    out += k_digits[byte & 15U];
  }
  return out;
}

}  // namespace atlasflow::edge
