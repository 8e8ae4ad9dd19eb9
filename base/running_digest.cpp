#include "base/running_digest.hpp"

#include <openssl/evp.h>

#include "base/assert.hpp"

namespace atlasflow {

struct RunningDigest::Context {
  EVP_MD_CTX* state = EVP_MD_CTX_new();

  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { EVP_MD_CTX_free(state); }
};

RunningDigest::RunningDigest() : context_(std::make_unique<Context>()) {
  ATLAS_ASSERT(
      context_->state != nullptr && EVP_DigestInit_ex2(context_->state, EVP_sha256(), nullptr) == 1,
      "OpenSSL offers no SHA-256");
}
RunningDigest::~RunningDigest() = default;
RunningDigest::RunningDigest(RunningDigest&&) noexcept = default;
RunningDigest& RunningDigest::operator=(RunningDigest&&) noexcept = default;

void RunningDigest::add(std::string_view bytes) {
  ATLAS_ASSERT(EVP_DigestUpdate(context_->state, bytes.data(), bytes.size()) == 1,
               "SHA-256 failed");
}

Digest RunningDigest::finish() {
  Digest digest{};
  unsigned int size = 0;
  ATLAS_ASSERT(
      EVP_DigestFinal_ex(context_->state, digest.data(), &size) == 1 && size == digest.size(),
      "SHA-256 failed");
  return digest;
}

}  // namespace atlasflow
