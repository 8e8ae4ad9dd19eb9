// JSON Web Signatures as ACME uses them (RFC 8555 section 6.2): ES256 by an account's key, and the
// HS256 that binds a new account to one that the CA's customer has. Free functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/x509.hpp"

namespace atlasflow::domains {

// The public half of a P-256 key (RFC 7518 section 6.2): {"crv","kty","x","y"}, in this order.
[[nodiscard]] nlohmann::ordered_json jwk_of(EVP_PKEY* key);
// RFC 7638: SHA-256 over the JWK's required members in lexicographic order.
[[nodiscard]] std::string thumbprint_of(EVP_PKEY* key);
// RFC 8555 section 8.1: what proves to the CA that whoever serves the token has the account's key.
[[nodiscard]] std::string key_authorization(std::string_view token, EVP_PKEY* account_key);

// 64 bytes, r and s (RFC 7518 section 3.4), over the two parts with a dot between them.
[[nodiscard]] std::string es256(EVP_PKEY* key, std::string_view protected_part,
                                std::string_view payload_part);

// The flattened JSON serialisation (RFC 7515 section 7.2.2) of that header and payload.
[[nodiscard]] std::string sign_es256(EVP_PKEY* key, const nlohmann::ordered_json& header,
                                     std::string_view payload);
[[nodiscard]] nlohmann::ordered_json sign_hs256(std::string_view hmac_key,
                                                const nlohmann::ordered_json& header,
                                                std::string_view payload);

}  // namespace atlasflow::domains
