// Which certificate an edge shows for a host: asked as a visitor asks, by a handshake. A free
// function; it blocks, any thread. Whoever calls it ignores SIGPIPE.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/error.hpp"

namespace atlasflow::edge {

// SHA-256 of the leaf's DER form, 64 hex digits. Whether it is to be trusted is not asked. The
// address is the one that the edge listens on; an unspecified one stands for this machine. Errors:
//   not_found    it shows none for this host
//   unavailable  there was no handshake: nobody answers, or not within the time
[[nodiscard]] Result<std::string> shown_fingerprint(const std::string& address, std::uint16_t port,
                                                    const std::string& host,
                                                    std::chrono::milliseconds timeout);

}  // namespace atlasflow::edge
