// Keys for tests: the one of RFC 7515, which everybody has, and such as are made here.
#pragma once

#include <memory>
#include <string>

#include <openssl/evp.h>

namespace atlasflow::github {

// The key of RFC 7515 appendix A.2 as PEM of PKCS#1.
[[nodiscard]] const std::string& rfc_7515_key();

using TestKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
[[nodiscard]] TestKey make_rsa_key(unsigned bits);

[[nodiscard]] std::string pkcs1_pem(EVP_PKEY* key);  // "BEGIN RSA PRIVATE KEY", as GitHub's
[[nodiscard]] std::string pkcs8_pem(EVP_PKEY* key);  // "BEGIN PRIVATE KEY"
// PKCS#8, or PKCS#1 with the headers of RFC 1421, locked by a passphrase.
[[nodiscard]] std::string locked_pem(EVP_PKEY* key, bool pkcs8);
[[nodiscard]] std::string public_pem(EVP_PKEY* key);
[[nodiscard]] std::string private_der(EVP_PKEY* key);
// Of the public key; in hex.
[[nodiscard]] std::string modulus_hex(EVP_PKEY* key);

}  // namespace atlasflow::github
