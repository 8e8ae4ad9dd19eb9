// Transaction signatures over DNS messages by a shared secret (RFC 8945), HMAC-SHA256 alone. Values
// and free functions; any thread. The secret is in no error.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::domains {

struct TsigKey {
  std::string name;    // lower case, without a trailing dot
  std::string secret;  // its bytes
};

// A file as BIND has it, key "name" { algorithm hmac-sha256; secret "base64"; };, or just the name
// and the secret in base64 with a blank between them. invalid_argument: it is neither, or wants
// another algorithm.
[[nodiscard]] Result<TsigKey> parse_tsig_key(std::string_view text);

struct SignedMessage {
  std::string bytes;  // the message with its TSIG record
  std::string mac;
};
// `message` has no TSIG record yet. at_s: the time, in s since 1970.
[[nodiscard]] SignedMessage sign_message(std::string message, const TsigKey& key,
                                         std::uint64_t at_s);

// Whether a response is signed by who has the key, for the request of that MAC and about now. Else
// why not, as the end of a sentence that begins with the server's address; unauthorized: the server
// refuses the key, the signature or the time. The rest of the message is not looked at.
[[nodiscard]] Result<void> verify_response(std::string_view response, const TsigKey& key,
                                           std::string_view request_mac, std::uint64_t at_s);

}  // namespace atlasflow::domains
