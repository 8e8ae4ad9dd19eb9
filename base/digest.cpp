#include "base/digest.hpp"

#include <openssl/evp.h>

#include "base/assert.hpp"

namespace atlasflow {

struct Sha256::Context {
  // Fetched once: the implicit fetch of EVP_sha256() takes a lock at every init.
  EVP_MD* algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  EVP_MD_CTX* state = EVP_MD_CTX_new();

  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() {
    EVP_MD_CTX_free(state);
    EVP_MD_free(algorithm);
  }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  ATLAS_ASSERT(context_->algorithm != nullptr && context_->state != nullptr,
               "OpenSSL offers no SHA-256");
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Digest Sha256::of(std::string_view first, std::string_view second) {
  Digest digest{};
  unsigned int size = 0;
  const bool done = EVP_DigestInit_ex2(context_->state, context_->algorithm, nullptr) == 1 &&
                    EVP_DigestUpdate(context_->state, first.data(), first.size()) == 1 &&
                    EVP_DigestUpdate(context_->state, second.data(), second.size()) == 1 &&
                    EVP_DigestFinal_ex(context_->state, digest.data(), &size) == 1;
  ATLAS_ASSERT(done && size == digest.size(), "SHA-256 failed");
  return digest;
}

std::string_view bytes_of(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

std::string to_hex(std::string_view bytes) {
  static constexpr std::string_view k_digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    text.push_back(k_digits[value >> 4U]);
    text.push_back(k_digits[value & 15U]);
  }
  return text;
}

std::optional<Digest> digest_of_hex(std::string_view text) {
  static constexpr std::string_view k_digits = "0123456789abcdef";
  Digest digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const auto high = k_digits.find(text[2 * i]);
    const auto low = k_digits.find(text[2 * i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    digest[i] = static_cast<std::uint8_t>(high << 4U | low);
  }
  return digest;
}

std::string sha256_hex(std::string_view bytes) { return to_hex(bytes_of(Sha256().of(bytes))); }

std::string short_id(std::string_view seed) {
  static constexpr std::string_view k_alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  constexpr std::size_t k_characters = 8;
  const Digest digest = Sha256().of(seed);
  std::uint64_t bits = 0;  // eight characters of five bits each are the first five bytes
  for (std::size_t i = 0; i < 5; ++i) bits = (bits << 8U) | digest[i];
  std::string id(k_characters, ' ');
  for (std::size_t i = 0; i < k_characters; ++i) {
    const std::size_t value = (bits >> (5 * (k_characters - 1 - i))) & 31U;
    id[i] = k_alphabet[i == 0 ? value % 26 : value];
  }
  return id;
}

}  // namespace atlasflow
