// How who asks for a websocket over HTTP/1.1 sees that it was understood (RFC 6455 section 4.1).
// Over HTTP/2 a client does not ask so, and the edge does in its place. Any thread.
#pragma once

#include <random>
#include <string>
#include <string_view>

namespace atlasflow::edge {

// For Sec-WebSocket-Key: 16 bytes in Base64, other ones each time.
[[nodiscard]] std::string make_websocket_key(std::mt19937_64& random);
// What Sec-WebSocket-Accept must say to that.
[[nodiscard]] std::string websocket_accept(std::string_view key);

}  // namespace atlasflow::edge
