// Certificates and private keys between PEM (RFC 7468) and OpenSSL's objects, and the owners of
// these. Free functions; any thread. No error and no log line names a byte of a key.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/error.hpp"

namespace atlasflow {

template <auto Free>
struct OpensslFree {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using X509Ptr = std::unique_ptr<X509, OpensslFree<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, OpensslFree<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, OpensslFree<BIO_free_all>>;

// More than any chain has; the limit on what a stranger may have parsed here.
inline constexpr std::size_t k_chain_certificates_max = 16;

// What OpenSSL said last in this thread, whose queue of errors is empty afterwards.
[[nodiscard]] std::string take_openssl_error();

// All CERTIFICATE blocks in their order; text between them is passed over. invalid_argument: there
// is none, one is damaged, or there are more than k_chain_certificates_max.
[[nodiscard]] Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem);

// The first private key of PKCS #8, SEC 1 or PKCS #1. invalid_argument: there is none, or it is
// sealed with a passphrase, which is never asked for.
[[nodiscard]] Result<KeyPtr> parse_private_key(std::string_view pem);

[[nodiscard]] std::string to_pem(X509* certificate);
// PKCS #8, not encrypted: for memory, and for files that are sealed.
[[nodiscard]] std::string to_pem(EVP_PKEY* key);

// SHA-256 of its DER form, 64 hex digits.
[[nodiscard]] std::string certificate_fingerprint(X509* certificate);

// A new key on the curve P-256.
[[nodiscard]] Result<KeyPtr> make_p256_key();

}  // namespace atlasflow
