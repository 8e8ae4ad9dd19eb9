#include "edge/http2/websocket_key.hpp"

#include <array>
#include <cstring>

#include <openssl/sha.h>

#include "base/base64.hpp"

namespace atlasflow::edge {

std::string make_websocket_key(std::mt19937_64& random) {
  const std::array<std::uint64_t, 2> bits{random(), random()};
  std::string bytes(sizeof bits, '\0');
  std::memcpy(bytes.data(), bits.data(), sizeof bits);
  return base64(bytes);
}

std::string websocket_accept(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::string digest(SHA_DIGEST_LENGTH, '\0');
  ::SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return base64(digest);
}

}  // namespace atlasflow::edge
