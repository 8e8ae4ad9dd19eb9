// The SSL_CTX of a worker: TLS 1.2 and 1.3, certificate by SNI from the published map. Each worker
// has its own, all share the ticket keys so that a session resumes on any of them.
#pragma once

#include <array>

#include "base/error.hpp"
#include "edge/tls/certificate.hpp"

namespace atlasflow::edge {

using TicketKeys = std::array<unsigned char, 80>;

[[nodiscard]] Result<TicketKeys> make_ticket_keys();

// `current` points to the worker's pointer to the map of its snapshot; read during handshakes, on
// the worker's thread, and outlives the context.
[[nodiscard]] Result<SslContextPtr> make_tls_context(const CertificateMap* const* current,
                                                     const TicketKeys& ticket_keys);

}  // namespace atlasflow::edge
