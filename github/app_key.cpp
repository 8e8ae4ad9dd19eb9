#include "github/app_key.hpp"

#include <array>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/assert.hpp"
#include "base/base64.hpp"
#include "base/digest.hpp"

namespace atlasflow::github {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using PublicKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using DigestContext = std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)>;

constexpr std::size_t k_pem_bytes_max = 64 << 10;  // a key of 16384 bits has 13 KiB
constexpr int k_bits_min = 2048;                   // RFC 7518 section 3.3

const unsigned char* in(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

tl::unexpected<Error> wrong(const std::string& what) {
  return fail(
      ErrorCode::invalid_argument,
      "the private key " + what +
          "; download one in the App's settings on GitHub, under \"Private keys\", and give "
          "that file as it is");
}

// Without it OpenSSL would ask on the terminal.
int no_passphrase(char* /*into*/, int /*size*/, int /*writing*/, void* /*user*/) { return -1; }

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

struct Lookalike {
  std::string_view mark;
  const char* what;
};
// What people give instead, by what only it holds.
constexpr std::array k_lookalikes = {
    Lookalike{"-----BEGIN OPENSSH PRIVATE KEY-----", "is one for SSH"},
    Lookalike{"-----BEGIN PUBLIC KEY-----", "is a public key"},
    Lookalike{"-----BEGIN RSA PUBLIC KEY-----", "is a public key"},
    Lookalike{"ssh-rsa ", "is a public key for SSH"},
    Lookalike{"-----BEGIN CERTIFICATE-----", "is a certificate"},
    Lookalike{"-----BEGIN EC PRIVATE KEY-----", "is one for elliptic curves, and GitHub wants RSA"},
    Lookalike{"-----BEGIN DSA PRIVATE KEY-----", "is one for DSA, and GitHub wants RSA"},
    Lookalike{"-----BEGIN ENCRYPTED PRIVATE KEY-----",
              "is locked by a passphrase (openssl pkey -in FILE unlocks it)"},
    Lookalike{"Proc-Type: 4,ENCRYPTED",
              "is locked by a passphrase (openssl pkey -in FILE unlocks it)"},
    Lookalike{"-----BEGIN PGP", "is one for PGP"},
};

Result<void> check_text(std::string_view pem) {
  if (pem.find_first_not_of(" \t\r\n") == std::string_view::npos) return wrong("is empty");
  if (pem.size() > k_pem_bytes_max) return wrong("is larger than 64 KiB, so it is none");
  for (const auto& lookalike : k_lookalikes) {
    if (contains(pem, lookalike.mark)) return wrong(lookalike.what);
  }
  const auto keys = count(pem, "PRIVATE KEY-----") / 2;
  if (!contains(pem, "-----BEGIN ")) {
    // ASN.1: a sequence with a length of two bytes.
    if (pem.starts_with("\x30\x82")) {
      return wrong("is binary (DER), not PEM (openssl pkey -inform DER -in FILE converts it)");
    }
    return wrong("is not PEM: there is no line \"-----BEGIN RSA PRIVATE KEY-----\"");
  }
  if (contains(pem, "\\n")) {
    return wrong("has \\n where line breaks belong, as text for an environment variable has");
  }
  if (keys > 1) return wrong("is more than one: the file has " + std::to_string(keys) + " keys");
  if (keys == 0) return wrong("is cut off or is of another kind: no line ends it");
  return {};
}

}  // namespace

struct AppKey::Handle {
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key{nullptr, &EVP_PKEY_free};
};

Result<AppKey> AppKey::parse(const Secret& pem) {
  const auto& text = pem.reveal();
  ATLAS_TRYV(check_text(text));
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
  ATLAS_ASSERT(bio != nullptr, "OpenSSL has no memory for a key");
  auto handle = std::make_shared<Handle>();
  handle->key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  // What OpenSSL says of it is for those who know ASN.1.
  ERR_clear_error();
  if (handle->key == nullptr) return wrong("is damaged: it does not decode");
  if (EVP_PKEY_get_base_id(handle->key.get()) != EVP_PKEY_RSA) {
    return wrong("is not for RSA, and GitHub wants RSA");
  }
  if (const int bits = EVP_PKEY_get_bits(handle->key.get()); bits < k_bits_min) {
    return wrong("has " + std::to_string(bits) + " bits, and 2048 are the least");
  }
  return AppKey(std::move(handle));
}

std::string AppKey::sign(std::string_view bytes) const {
  const DigestContext context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_get_size(handle_->key.get()));
  std::string signature(size, '\0');
  // EVP_DigestSign changes no key; it takes the pointer without const.
  const bool done =
      context != nullptr &&
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, handle_->key.get()) == 1 &&
      EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size,
                     in(bytes), bytes.size()) == 1;
  ATLAS_ASSERT(done, "OpenSSL makes no RSA signature");
  signature.resize(size);
  return signature;
}

std::string AppKey::fingerprint() const {
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(handle_->key.get(), &der);
  ATLAS_ASSERT(size > 0, "OpenSSL writes no public key");
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> owner(
      der, [](unsigned char* bytes) { OPENSSL_free(bytes); });
  Sha256 hash;
  const auto digest = hash.of({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
  return "SHA256:" + base64(bytes_of(digest));
}

}  // namespace atlasflow::github
