// What the control plane gives the edge for single hosts: certificates, and answers to a public
// CA's challenges. Values; the chain's and the key's text is parsed here, once, and never in a
// handshake. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "edge/tls/certificate.hpp"

namespace atlasflow::edge {

struct HostCertificate {
  std::string host;         // lower case, without a trailing dot; or "*." and a host
  std::string fingerprint;  // SHA-256 of the leaf's DER form, 64 hex digits
  std::string chain_pem;    // the leaf first, then its issuers
  std::string key_pem;      // secret: in no log line and no error
  friend bool operator==(const HostCertificate&, const HostCertificate&) = default;
};

// An HTTP-01 challenge (RFC 8555 section 8.3): GET http://<host>/.well-known/acme-challenge/<token>
// has the key authorization as its body. Or one of TLS-ALPN-01 (RFC 8737), of which a host has one
// at a time: the last.
struct Challenge {
  std::string host;
  std::string token;  // base64url
  std::string key_authorization;
  bool in_tls = false;
  friend bool operator==(const Challenge&, const Challenge&) = default;
};

// invalid_argument: what was given is no chain and its key, or not for that host,
// or not the one with that fingerprint. Whether the chain
// is one that clients trust is not asked here.
[[nodiscard]] Result<std::shared_ptr<const Certificate>> parse_certificate(
    const HostCertificate& given);

// invalid_argument: no host name, or no token or body that an ACME server makes.
[[nodiscard]] Result<void> check_challenge(const Challenge& challenge);

}  // namespace atlasflow::edge
