// TLS-ALPN-01 (RFC 8737): a CA proves who serves a name by a handshake that offers the protocol
// acme-tls/1 and nothing else, which is answered by a certificate that says so and by no request.
// Free functions; any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "edge/tls/certificate.hpp"

namespace atlasflow::edge {

inline constexpr std::string_view k_acme_protocol = "acme-tls/1";

// Section 3: signed by its own key, made here, it names the host and nothing else, and has the
// digest of the key authorization in a critical extension. About 0.1 ms.
[[nodiscard]] Result<std::shared_ptr<const Certificate>> make_alpn_proof(
    const std::string& host, std::string_view key_authorization);

// Whether the ALPN extension of a ClientHello, as it came, lists that protocol alone.
[[nodiscard]] bool offers_acme_alone(std::string_view extension);

}  // namespace atlasflow::edge
