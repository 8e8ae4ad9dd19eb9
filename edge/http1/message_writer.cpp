#include "edge/http1/message_writer.hpp"

#include <array>
#include <charconv>

#include "edge/proxy/field_rules.hpp"
#include "edge/proxy/trace_context.hpp"

namespace atlasflow::edge {
namespace {

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

}  // namespace

bool is_passed_on(const http::Field& field, const http::RequestHead& head,
                  const ClientIdentity& client) {
  return !is_hop_field(field.name) && !is_identity_field(field.name) &&
         !http::equal_ignoring_case(field.name, "Expect") &&
         !is_vain_trace_field(field.name, client.trace_parent) &&
         !is_nominated(head.connection_options, field.name);
}

void write_request_head(const http::RequestHead& head, const ClientIdentity& client, Buffer& out) {
  out.append(head.method);
  out.append(" ");
  out.append(head.path);
  out.append(" HTTP/1.1\r\n");
  write_field("Host", head.authority, out);
  for (const http::Field& field : head.fields) {
    if (!is_passed_on(field, head, client)) continue;
    write_field(field.name, field.value, out);
  }
  if (head.upgrade_websocket) out.append("Connection: Upgrade\r\nUpgrade: websocket\r\n");
  // What an HTTP/1.0 client or one without a body expects means nothing (RFC 9110 section 10.1.1).
  if (head.expect_continue) write_field("Expect", "100-continue", out);
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
  if (!options.hsts.empty() &&
      http::find_field(head.fields, "Strict-Transport-Security") == nullptr) {
    write_field("Strict-Transport-Security", options.hsts, out);
  }
  if (!options.request_id.empty() && http::find_field(head.fields, "X-Request-Id") == nullptr) {
    write_field("X-Request-Id", options.request_id, out);
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
