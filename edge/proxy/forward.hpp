// Writes the heads that the edge passes on: hop-by-hop fields taken out (RFC 9110 section 7.6.1),
// the identity of the client put in, the framing set anew. Pure; the worker's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "edge/proxy/buffer.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {

struct ClientIdentity {
  std::string_view address;
  bool https = false;
  std::uint16_t port = 0;  // of the listener
  std::string_view request_id;
};

// Why a head cannot be passed on although it is well formed: its Connection field names a field
// that is not the hop's to drop.
[[nodiscard]] std::optional<http::HttpError> check_connection_options(
    const std::vector<std::string_view>& options);

void write_request_head(const http::RequestHead& head, const ClientIdentity& client, Buffer& out);

// `framing` is the client's side: `chunked` for a body of unknown length, `until_close` for one to
// an HTTP/1.0 client. `close`: this response is the connection's last.
void write_response_head(const http::ResponseHead& head, http::Framing framing, bool to_head,
                         bool close, bool client_http10, Buffer& out);

void write_chunk(std::string_view bytes, Buffer& out);

// The last chunk, with those trailers that may be passed on (RFC 9110 section 6.5.1).
void write_last_chunk(const std::vector<http::Field>& trailers, Buffer& out);

}  // namespace atlasflow::edge
