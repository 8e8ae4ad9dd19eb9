#include "api/signature.hpp"

#include <charconv>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.hpp"

namespace atlasflow::api {

Sha256 hmac_sha256(std::string_view secret, std::string_view message) {
  Sha256 digest{};
  unsigned int size = 0;
  const auto* made = ::HMAC(::EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                            reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                            digest.data(), &size);
  ATLAS_ASSERT(made != nullptr && size == digest.size(), "OpenSSL cannot make an HMAC-SHA-256");
  return digest;
}

std::optional<Sha256> parsed_signature(std::string_view field) {
  constexpr std::string_view k_scheme = "sha256=";
  Sha256 digest{};
  if (!field.starts_with(k_scheme)) return std::nullopt;
  field.remove_prefix(k_scheme.size());
  if (field.size() != digest.size() * 2) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const char* first = field.data() + i * 2;
    const auto [rest, error] = std::from_chars(first, first + 2, digest[i], 16);
    if (error != std::errc{} || rest != first + 2) return std::nullopt;
  }
  return digest;
}

bool equal_in_constant_time(const Sha256& left, const Sha256& right) {
  return ::CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace atlasflow::api
