// What is asked of a certificate that a CA gave before it is kept: that its key is the one that we
// have, that the chain is in order, which names and times it has. Where the chain ends is the CA's.
// Free functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/x509.hpp"
#include "events/event.pb.h"

namespace atlasflow::domains {

// The leaf's facts, as the log has them. Times that can't be read are 0.
[[nodiscard]] pb::CertificateIssued facts_of(X509* leaf);

// What people know them by: the common name, or the organisation.
[[nodiscard]] std::string subject_of(X509* certificate);
[[nodiscard]] std::string issuer_of(X509* certificate);

// Whether a certificate's name covers the host: itself, or "*." and all but the first label
// (RFC 6125 section 6.4.3). Both in lower case.
[[nodiscard]] bool covers(std::string_view certificate_name, std::string_view host);

struct ChainQuestion {
  std::string chain_pem;  // the leaf first, each followed by its issuer
  EVP_PKEY* key = nullptr;
  std::vector<std::string> hosts;  // the certificate has to cover all of them
  std::int64_t now_us = 0;
  std::int64_t clock_behind_us = 0;  // so much later may it begin
};

// The chain as it is to be served: PEM, without a root that clients have or do not trust anyhow.
// invalid_argument: a sentence with what was found and what is expected.
struct CheckedChain {
  std::string chain_pem;
  pb::CertificateIssued facts;
};
[[nodiscard]] Result<CheckedChain> check_chain(const ChainQuestion& question);

// A request for a certificate (RFC 2986) for these names, in DER: they stand in subjectAltName, the
// subject is empty.
[[nodiscard]] Result<std::string> make_csr(EVP_PKEY* key, const std::vector<std::string>& names);

// base64url(keyIdentifier of the authority) "." base64url(serial), RFC 9773 section 4.1; empty: the
// certificate names no authority.
[[nodiscard]] std::string renewal_id_of(X509* leaf);

}  // namespace atlasflow::domains
