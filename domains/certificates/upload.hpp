// What is asked of a certificate that a user brings, beyond what is asked of a CA's: it may come
// from any authority, in any state. Free functions; any thread. No error names a byte of the key.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "domains/certificates/certificate_store.hpp"

namespace atlasflow::domains {

struct UploadQuestion {
  std::string_view chain_pem;  // the leaf first, each followed by its issuer
  std::string_view key_pem;    // secret
  std::string host;            // that it is to cover
  std::int64_t now_us = 0;
  // Of authorities that a chain may end below; PEM. Empty: the system's.
  std::string roots_file = {};
};

// The certificate as it is to be kept: its key belongs to it and is one that browsers take, the
// chain leads in order to a root that is known or was given (and is left out), it covers the host
// and is valid now. invalid_argument: a sentence with what was found and what is expected.
[[nodiscard]] Result<StoredCertificate> check_upload(const UploadQuestion& question);

}  // namespace atlasflow::domains
