#include "edge/tls/shown_certificate.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "edge/proxy/socket.hpp"
#include "edge/tls/certificate.hpp"

namespace atlasflow::edge {
namespace {

std::string reachable(const std::string& address) {
  if (address == "0.0.0.0") return "127.0.0.1";
  return address == "::" ? "::1" : address;
}

Result<FileDescriptor> connect_to(const std::string& address, std::uint16_t port,
                                  std::chrono::milliseconds timeout) {
  ATLAS_TRY(const auto place, parse_socket_address(reachable(address), port));
  FileDescriptor socket(::socket(place.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Of each wait; connect() keeps to it as well (socket(7)).
  const timeval each{timeout.count() / 1000, (timeout.count() % 1000) * 1000};
  if (!socket || ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &each, sizeof each) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &each, sizeof each) != 0 ||
      ::connect(socket.get(), place.get(), place.bytes) != 0) {
    return fail(ErrorCode::unavailable,
                "the edge does not answer on " + address + ":" + std::to_string(port));
  }
  return socket;
}

}  // namespace

Result<std::string> shown_fingerprint(const std::string& address, std::uint16_t port,
                                      const std::string& host, std::chrono::milliseconds timeout) {
  ATLAS_TRY(const auto socket, connect_to(address, port, timeout));
  const SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  const SslPtr ssl(context ? SSL_new(context.get()) : nullptr);
  if (!ssl || SSL_set_tlsext_host_name(ssl.get(), host.c_str()) != 1 ||
      SSL_set_fd(ssl.get(), socket.get()) != 1) {
    return fail(ErrorCode::internal, "cannot set TLS up", take_openssl_error());
  }
  ERR_clear_error();
  if (SSL_connect(ssl.get()) != 1) {
    const bool refused = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_TLSV1_UNRECOGNIZED_NAME;
    const auto cause = take_openssl_error();
    if (refused) return fail(ErrorCode::not_found, "the edge shows no certificate for " + host);
    return fail(ErrorCode::unavailable, "the edge makes no handshake for " + host, cause);
  }
  const X509Ptr leaf(SSL_get1_peer_certificate(ssl.get()));
  // An end that says so, or the edge would take this for a visitor who was cut off.
  static_cast<void>(SSL_shutdown(ssl.get()));
  if (!leaf) return fail(ErrorCode::not_found, "the edge shows no certificate for " + host);
  return certificate_fingerprint(leaf.get());
}

}  // namespace atlasflow::edge
