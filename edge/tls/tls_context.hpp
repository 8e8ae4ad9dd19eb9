// The SSL_CTX of a worker: TLS 1.2 and 1.3, certificate by SNI from the published map. Each worker
// has its own; all have the same ticket keys, so that a session resumes on any of them.
#pragma once

#include "base/error.hpp"
#include "edge/tls/certificate.hpp"
#include "edge/tls/ticket_keys.hpp"

namespace atlasflow::edge {

// `current` points to the worker's pointer to the map of its snapshot; read during handshakes, on
// the worker's thread, and outlives the context, as the keys do.
[[nodiscard]] Result<SslContextPtr> make_tls_context(const CertificateMap* const* current,
                                                     TicketKeys& ticket_keys);

}  // namespace atlasflow::edge
