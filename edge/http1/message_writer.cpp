#include "edge/http1/message_writer.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace atlasflow::edge {
namespace {

char fold(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c + 32);
  return c == '_' ? '-' : c;  // applications that see CGI names cannot tell the two apart
}

bool same_name(std::string_view name, std::string_view lower) {
  if (name.size() != lower.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (fold(name[i]) != lower[i]) return false;
  }
  return true;
}

bool has_prefix(std::string_view name, std::string_view lower) {
  return name.size() >= lower.size() && same_name(name.substr(0, lower.size()), lower);
}

// Fields of one hop, and those that the edge writes itself.
bool is_hop_field(std::string_view name) {
  switch (fold(name.front())) {
    case 'c':
      return same_name(name, "connection") || same_name(name, "content-length");
    case 'k':
      return same_name(name, "keep-alive");
    case 'p':
      return same_name(name, "proxy") || has_prefix(name, "proxy-");
    case 't':
      return same_name(name, "te") || same_name(name, "transfer-encoding");
    case 'u':
      return same_name(name, "upgrade");
    default:
      return false;
  }
}

bool is_identity_field(std::string_view name) {
  switch (fold(name.front())) {
    case 'f':
      return same_name(name, "forwarded");
    case 'h':
      return same_name(name, "host");
    case 'x':
      return has_prefix(name, "x-forwarded-") || same_name(name, "x-real-ip") ||
             same_name(name, "x-request-id");
    default:
      return false;
  }
}

// What Connection names goes no further (at most 32 names; a head without Connection is the usual
// case).
bool is_nominated(const std::vector<std::string_view>& options, std::string_view name) {
  return std::any_of(options.begin(), options.end(), [&](std::string_view option) {
    return http::equal_ignoring_case(option, name);
  });
}

void write_field(std::string_view name, std::string_view value, Buffer& out) {
  out.append(name);
  out.append(": ");
  out.append(value);
  out.append("\r\n");
}

void write_number_field(std::string_view name, std::uint64_t value, Buffer& out) {
  std::array<char, 24> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  write_field(name, {text.data(), static_cast<std::size_t>(end - text.data())}, out);
}

void write_status_line(int status, std::string_view reason, Buffer& out) {
  out.append("HTTP/1.1 ");
  std::array<char, 4> digits{};
  std::to_chars(digits.data(), digits.data() + digits.size(), status);
  out.append({digits.data(), 3});
  out.append(" ");
  out.append(reason);
  out.append("\r\n");
}

void write_persistence(const ResponseOptions& options, Buffer& out) {
  if (options.close) {
    out.append("Connection: close\r\n");
  } else if (options.client_http10) {
    out.append("Connection: keep-alive\r\n");
  }
}

bool may_be_trailer(std::string_view name) {
  return !is_hop_field(name) && !is_identity_field(name) && !has_prefix(name, "content-") &&
         !same_name(name, "authorization") && !same_name(name, "cookie") &&
         !same_name(name, "set-cookie") && !same_name(name, "trailer") &&
         !same_name(name, "location") && !same_name(name, "cache-control");
}

}  // namespace

std::optional<http::HttpError> check_connection_options(
    const std::vector<std::string_view>& options) {
  for (const std::string_view option : options) {
    if (!http::is_token(option)) return http::HttpError{400, "Connection is not a list of names."};
    if (is_identity_field(option) || has_prefix(option, "content-") ||
        same_name(option, "transfer-encoding") || same_name(option, "cookie") ||
        same_name(option, "authorization")) {
      return http::HttpError{400, "Connection names a field that is not this hop's to drop."};
    }
  }
  return std::nullopt;
}

void write_request_head(const http::RequestHead& head, const ClientIdentity& client, Buffer& out) {
  out.append(head.method);
  out.append(" ");
  out.append(head.path);
  out.append(" HTTP/1.1\r\n");
  write_field("Host", head.authority, out);
  for (const http::Field& field : head.fields) {
    if (is_hop_field(field.name) || is_identity_field(field.name) ||
        is_nominated(head.connection_options, field.name)) {
      continue;
    }
    write_field(field.name, field.value, out);
  }
  if (head.upgrade_websocket) out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
  if (head.framing == http::Framing::chunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (head.framing == http::Framing::length) {
    write_number_field("Content-Length", head.content_length, out);
  } else if (http::find_field(head.fields, "Content-Length") != nullptr) {
    out.append("Content-Length: 0\r\n");
  }
  write_field("X-Forwarded-For", client.address, out);
  write_field("X-Forwarded-Proto", client.https ? "https" : "http", out);
  write_field("X-Forwarded-Host", head.authority, out);
  write_number_field("X-Forwarded-Port", client.port, out);
  write_field("X-Real-IP", client.address, out);
  write_field("X-Request-Id", client.request_id, out);
  out.append("\r\n");
}

void write_response_head(const http::ResponseHead& head, http::Framing framing,
                         const ResponseOptions& options, Buffer& out) {
  write_status_line(head.status, head.reason, out);
  for (const http::Field& field : head.fields) {
    if (is_hop_field(field.name) || is_nominated(head.connection_options, field.name)) continue;
    write_field(field.name, field.value, out);
  }
  const bool may_have_body = head.status >= 200 && head.status != 204;
  if (framing == http::Framing::chunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (framing == http::Framing::length) {
    write_number_field("Content-Length", head.content_length, out);
  } else if (framing == http::Framing::none && may_have_body) {
    // The length that a GET would have had is passed on to a HEAD; it is the empty body's
    // otherwise.
    const bool announced = http::find_field(head.fields, "Content-Length") != nullptr;
    if (announced) {
      write_number_field("Content-Length", head.content_length, out);
    } else if (!options.to_head && head.status != 304) {
      out.append("Content-Length: 0\r\n");
    }
  }
  if (head.upgrade_websocket) {
    out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
  } else if (head.status >= 200) {
    write_persistence(options, out);
  }
  out.append("\r\n");
}

void write_own_response(const OwnResponse& response, const ResponseOptions& options, Buffer& out) {
  write_status_line(response.status, http::reason_phrase(response.status), out);
  for (const auto& [name, value] : response.fields) write_field(name, value, out);
  write_persistence(options, out);
  out.append("\r\n");
  if (!options.to_head) out.append(response.body);
}

void write_chunk(std::string_view bytes, Buffer& out) {
  std::array<char, 20> size{};
  const auto end = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16).ptr;
  out.append({size.data(), static_cast<std::size_t>(end - size.data())});
  out.append("\r\n");
  out.append(bytes);
  out.append("\r\n");
}

void write_last_chunk(const std::vector<http::Field>& trailers, Buffer& out) {
  out.append("0\r\n");
  for (const http::Field& field : trailers) {
    if (may_be_trailer(field.name)) write_field(field.name, field.value, out);
  }
  out.append("\r\n");
}

}  // namespace atlasflow::edge
