// Sockets as values: addresses and listeners. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow::edge {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
};

// An IPv4 or IPv6 literal with a port, or "unix:/path" (the port is then ignored).
[[nodiscard]] Result<SocketAddress> parse_socket_address(const std::string& text,
                                                         std::uint16_t port);

// The address part of a TCP peer, without the port; "unix" for a unix socket.
[[nodiscard]] std::string address_text(const SocketAddress& address);

// A non-blocking TCP listener that shares its port with others of this process (SO_REUSEPORT).
// `exclusive` first makes sure that nobody else listens there: SO_REUSEPORT alone would let two
// servers steal each other's connections in silence.
[[nodiscard]] Result<FileDescriptor> listen_tcp(const std::string& address, std::uint16_t port,
                                                bool exclusive);

// A non-blocking connection to there, which may still be under way; small writes do not wait for
// each other. Not valid: it failed at once.
struct Dialled {
  FileDescriptor socket;
  bool connecting = false;
};
[[nodiscard]] Dialled dial(const SocketAddress& address);

[[nodiscard]] std::uint16_t local_port(const FileDescriptor& socket);

}  // namespace atlasflow::edge
