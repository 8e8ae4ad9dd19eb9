#include "base/x509.hpp"

#include <array>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/assert.hpp"
#include "base/digest.hpp"

namespace atlasflow {
namespace {

BioPtr reading(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string text_in(BIO* bio) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio, &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

// Without one of ours OpenSSL would ask on the terminal.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

}  // namespace

std::string take_openssl_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return {};
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

Result<std::vector<X509Ptr>> parse_certificates(std::string_view pem) {
  ERR_clear_error();
  const BioPtr bio = reading(pem);
  std::vector<X509Ptr> found;
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
    found.emplace_back(certificate);
    if (found.size() > k_chain_certificates_max) {
      return fail(ErrorCode::invalid_argument,
                  "there are more than " + std::to_string(k_chain_certificates_max) +
                      " certificates in it; leave those of the server and its issuers");
    }
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const auto cause = take_openssl_error();
  if (!at_end) {
    return fail(ErrorCode::invalid_argument,
                "certificate " + std::to_string(found.size() + 1) +
                    " in it is damaged; export the chain again, as PEM",
                cause);
  }
  if (found.empty()) {
    return fail(ErrorCode::invalid_argument,
                "there is no certificate in it; give PEM, which has lines such as "
                "-----BEGIN CERTIFICATE-----");
  }
  return found;
}

Result<KeyPtr> parse_private_key(std::string_view pem) {
  ERR_clear_error();
  const BioPtr bio = reading(pem);
  bool passphrase_asked = false;
  KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, &passphrase_asked));
  // Its text could quote what it could not read.
  ERR_clear_error();
  if (key) return key;
  if (passphrase_asked) {
    return fail(ErrorCode::invalid_argument,
                "the private key is sealed with a passphrase; take that off first: openssl pkey "
                "-in sealed.key -out server.key");
  }
  return fail(ErrorCode::invalid_argument,
              "there is no private key in it; give PEM, which has a line such as "
              "-----BEGIN PRIVATE KEY-----");
}

std::string to_pem(X509* certificate) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  ATLAS_ASSERT(bio && PEM_write_bio_X509(bio.get(), certificate) == 1,
               "OpenSSL encodes no certificate");
  return text_in(bio.get());
}

std::string to_pem(EVP_PKEY* key) {
  // Wiped when it is freed.
  const BioPtr bio(BIO_new(BIO_s_secmem()));
  ATLAS_ASSERT(bio && PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr,
                                                    nullptr) == 1,
               "OpenSSL encodes no private key");
  return text_in(bio.get());
}

std::string certificate_fingerprint(X509* certificate) {
  Digest digest{};
  unsigned size = 0;
  ATLAS_ASSERT(X509_digest(certificate, EVP_sha256(), digest.data(), &size) == 1,
               "OpenSSL digests no certificate");
  return to_hex(bytes_of(digest));
}

Result<KeyPtr> make_p256_key() {
  KeyPtr key(EVP_EC_gen("P-256"));
  if (!key) {
    return fail(ErrorCode::internal, "OpenSSL makes no key on P-256", take_openssl_error());
  }
  return key;
}

}  // namespace atlasflow
