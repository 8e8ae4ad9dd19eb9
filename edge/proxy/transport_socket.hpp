// A non-blocking socket, plain or TLS, under edge-triggered epoll. Remembers whether the kernel may
// have more to read or room to write, so that no call is made only to hear EAGAIN. Its worker's
// thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "edge/proxy/socket.hpp"
#include "edge/tls/certificate.hpp"

namespace atlasflow::edge {

enum class IoStatus : std::uint8_t { ok, would_block, closed, failed };

struct IoResult {
  IoStatus status = IoStatus::would_block;
  std::size_t bytes = 0;
};

class TransportSocket {
 public:
  explicit TransportSocket(FileDescriptor socket) : socket_(std::move(socket)) {}
  TransportSocket(const TransportSocket&) = delete;
  TransportSocket& operator=(const TransportSocket&) = delete;

  // Puts TLS on the socket as the server. False: out of memory.
  [[nodiscard]] bool start_tls(SSL_CTX* context);
  [[nodiscard]] IoStatus handshake();

  [[nodiscard]] IoResult read(char* bytes, std::size_t size);
  [[nodiscard]] IoResult write(std::string_view bytes);
  void shutdown_write();

  // Takes what epoll reported.
  void on_events(std::uint32_t events);

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] SSL* tls() const { return ssl_.get(); }
  // What was agreed on for after the handshake (ALPN, RFC 7301); empty when nothing was.
  [[nodiscard]] std::string_view protocol() const;
  [[nodiscard]] bool readable() const { return readable_; }
  [[nodiscard]] bool writable() const { return writable_; }
  [[nodiscard]] bool hung_up() const { return hung_up_; }
  [[nodiscard]] bool reset() const { return reset_; }
  void assume_readable() { readable_ = true; }
  // A socket that was just made has nothing to read; under way to its peer it has no room either.
  void set_fresh(bool writable) {
    readable_ = false;
    writable_ = writable;
  }
  void close();

  // The socket side of the TLS layer; called by its BIO.
  [[nodiscard]] ssize_t receive(char* bytes, std::size_t size);
  [[nodiscard]] ssize_t transmit(const char* bytes, std::size_t size);

 private:
  [[nodiscard]] IoResult read_tls(char* bytes, std::size_t size);
  [[nodiscard]] IoResult write_tls(std::string_view bytes);

  FileDescriptor socket_;
  SslPtr ssl_;
  bool readable_ = true;
  bool writable_ = true;
  bool hung_up_ = false;  // the peer has sent its last byte, or the socket is broken
  bool reset_ = false;    // it is broken
  bool drained_ = false;  // the last receive emptied the socket
  bool starved_ = false;  // the last receive found nothing
  int quiet_reads_ = 0;   // of TLS records without data, since the last with some
  bool broken_ = false;   // after a fatal TLS error nothing may be sent, not even the close
};

}  // namespace atlasflow::edge
