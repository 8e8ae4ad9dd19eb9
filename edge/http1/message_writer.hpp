// Writes HTTP/1.1 messages: the heads that are passed on, hop-by-hop fields taken out (RFC 9110
// section 7.6.1), the identity of the client put in, the framing set anew; chunks; own answers.
// Pure; the worker's thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "edge/proxy/buffer.hpp"
#include "edge/proxy/error_page.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {

struct ClientIdentity {
  std::string_view address;
  bool https = false;
  std::uint16_t port = 0;  // of the listener
  std::string_view request_id;
  std::string_view trace_parent = {};  // the valid one that it brought; empty: none
};

// Whether the application gets this field of the request as it came, whatever version of HTTP it
// speaks.
[[nodiscard]] bool is_passed_on(const http::Field& field, const http::RequestHead& head,
                                const ClientIdentity& client);

void write_request_head(const http::RequestHead& head, const ClientIdentity& client, Buffer& out);

struct ResponseOptions {
  bool to_head = false;        // the request was a HEAD
  bool close = false;          // this response is the connection's last
  bool client_http10 = false;  // the client speaks HTTP/1.0
  // Said where the application does not; empty: nothing.
  std::string_view hsts{};
  std::string_view request_id{};
};

// `framing` is the client's side: `chunked` for a body of unknown length, `until_close` for one to
// an HTTP/1.0 client.
void write_response_head(const http::ResponseHead& head, http::Framing framing,
                         const ResponseOptions& options, Buffer& out);

// Head and body.
void write_own_response(const OwnResponse& response, const ResponseOptions& options, Buffer& out);

void write_chunk(std::string_view bytes, Buffer& out);

// The last chunk, with those trailers that may be passed on (RFC 9110 section 6.5.1).
void write_last_chunk(const std::vector<http::Field>& trailers, Buffer& out);

}  // namespace atlasflow::edge
