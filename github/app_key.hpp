// The private key of a GitHub App: parsed once, signs by RS256 (RFC 7518 section 3.3). GitHub hands
// it out as PEM of PKCS#1; one that was converted to PKCS#8 is as good. Immutable, any thread;
// copies share the key.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/secret.hpp"

namespace atlasflow::github {

class AppKey {
 public:
  // invalid_argument names what the text is instead, and what to do. No error holds any of it.
  [[nodiscard]] static Result<AppKey> parse(const Secret& pem);

  // RSASSA-PKCS1-v1_5 with SHA-256 over the bytes.
  [[nodiscard]] std::string sign(std::string_view bytes) const;

  // As GitHub shows it beside the key in the App's settings: "SHA256:" and base64 of the SHA-256 of
  // the public key's DER.
  [[nodiscard]] std::string fingerprint() const;

 private:
  struct Handle;
  explicit AppKey(std::shared_ptr<const Handle> handle) : handle_(std::move(handle)) {}
  std::shared_ptr<const Handle> handle_;
};

}  // namespace atlasflow::github
