#include "edge/proxy/transport_socket.hpp"

#include <algorithm>
#include <cerrno>

#include <openssl/err.h>
#include <sys/epoll.h>

namespace atlasflow::edge {
namespace {

constexpr std::size_t k_record_bytes_max = std::size_t{16} * 1024;
// Reads that bring only records without data, such as key updates, between two that bring some:
// each record costs as much as a small request, and none of them shows above this class.
constexpr int k_quiet_reads_max = 8;

TransportSocket& socket_of(BIO* bio) { return *static_cast<TransportSocket*>(BIO_get_data(bio)); }

// OpenSSL's own socket BIO writes without MSG_NOSIGNAL, so a peer that left would raise SIGPIPE.
int bio_write(BIO* bio, const char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent = socket_of(bio).transmit(bytes, static_cast<std::size_t>(size));
  if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int bio_read(BIO* bio, char* bytes, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = socket_of(bio).receive(bytes, static_cast<std::size_t>(size));
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) BIO_set_retry_read(bio);
  if (got == 0) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return static_cast<int>(got);
}

long bio_control(BIO* bio, int command, long, void*) {
  switch (command) {
    case BIO_CTRL_FLUSH:
      return 1;
    case BIO_CTRL_EOF:
      return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
    default:
      return 0;
  }
}

const BIO_METHOD* bio_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "atlasflow socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

}  // namespace

bool TransportSocket::start_tls(SSL_CTX* context) {
  ssl_.reset(SSL_new(context));
  BIO* bio = ssl_ ? BIO_new(bio_method()) : nullptr;
  if (bio == nullptr) return false;
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);  // takes the BIO over
  SSL_set_accept_state(ssl_.get());
  return true;
}

std::string_view TransportSocket::protocol() const {
  const unsigned char* name = nullptr;
  unsigned bytes = 0;
  if (ssl_) SSL_get0_alpn_selected(ssl_.get(), &name, &bytes);
  return {reinterpret_cast<const char*>(name), bytes};
}

void TransportSocket::on_events(std::uint32_t events) {
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up_ = true;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) reset_ = true;
  if ((events & EPOLLIN) != 0 || hung_up_) {
    readable_ = true;
    drained_ = false;
  }
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
}

void TransportSocket::close() {
  ssl_.reset();
  socket_.reset();
}

ssize_t TransportSocket::receive(char* bytes, std::size_t size) {
  ssize_t got = 0;
  do {
    got = ::recv(socket_.get(), bytes, size, 0);
  } while (got < 0 && errno == EINTR);
  // A short read has emptied the socket: edge-triggered epoll will report what comes next.
  starved_ = got < 0;
  drained_ = got < 0 || (static_cast<std::size_t>(got) < size && !hung_up_);
  return got;
}

ssize_t TransportSocket::transmit(const char* bytes, std::size_t size) {
  ssize_t sent = 0;
  do {
    sent = ::send(socket_.get(), bytes, size, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

IoStatus TransportSocket::handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    // The client's first request may have come with the end of its handshake: it lies in OpenSSL's
    // buffer then, and epoll knows nothing of it.
    readable_ = true;
    return IoStatus::ok;
  }
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      readable_ = false;
      return IoStatus::would_block;
    case SSL_ERROR_WANT_WRITE:
      writable_ = false;
      return IoStatus::would_block;
    default:
      broken_ = true;
      return IoStatus::failed;
  }
}

IoResult TransportSocket::read(char* bytes, std::size_t size) {
  if (ssl_) return read_tls(bytes, size);
  const ssize_t got = receive(bytes, size);
  if (got > 0) {
    if (drained_) readable_ = false;
    return {IoStatus::ok, static_cast<std::size_t>(got)};
  }
  if (got == 0) return {IoStatus::closed, 0};
  if (errno != EAGAIN && errno != EWOULDBLOCK) return {IoStatus::failed, 0};
  readable_ = false;
  return {};
}

IoResult TransportSocket::read_tls(char* bytes, std::size_t size) {
  // The context has no SSL_MODE_AUTO_RETRY: OpenSSL returns when it has used up what one receive
  // brought, and a peer cannot keep it busy within one call.
  for (;;) {
    ERR_clear_error();
    starved_ = false;
    const int got = SSL_read(ssl_.get(), bytes, static_cast<int>(size));
    if (got > 0) {
      quiet_reads_ = 0;
      if (drained_ && SSL_has_pending(ssl_.get()) == 0) readable_ = false;
      return {IoStatus::ok, static_cast<std::size_t>(got)};
    }
    switch (SSL_get_error(ssl_.get(), got)) {
      case SSL_ERROR_WANT_READ:
        if (!starved_ && ++quiet_reads_ <= k_quiet_reads_max) continue;
        if (!starved_) break;
        readable_ = false;
        return {};
      case SSL_ERROR_WANT_WRITE:
        readable_ = writable_ = false;
        return {};
      case SSL_ERROR_ZERO_RETURN:
        return {IoStatus::closed, 0};
      default:
        break;
    }
    broken_ = true;
    return {IoStatus::failed, 0};
  }
}

IoResult TransportSocket::write(std::string_view bytes) {
  if (ssl_) return write_tls(bytes);
  const ssize_t sent = transmit(bytes.data(), bytes.size());
  if (sent >= 0) {
    if (static_cast<std::size_t>(sent) < bytes.size()) writable_ = false;
    return {IoStatus::ok, static_cast<std::size_t>(sent)};
  }
  if (errno != EAGAIN && errno != EWOULDBLOCK) return {IoStatus::failed, 0};
  writable_ = false;
  return {};
}

IoResult TransportSocket::write_tls(std::string_view bytes) {
  ERR_clear_error();
  const std::size_t size = std::min(bytes.size(), k_record_bytes_max);
  const int sent = SSL_write(ssl_.get(), bytes.data(), static_cast<int>(size));
  if (sent > 0) return {IoStatus::ok, static_cast<std::size_t>(sent)};
  switch (SSL_get_error(ssl_.get(), sent)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      writable_ = false;
      return {};
    default:
      broken_ = true;
      return {IoStatus::failed, 0};
  }
}

void TransportSocket::shutdown_write() {
  if (ssl_ && !broken_ && SSL_is_init_finished(ssl_.get()) != 0) {
    ERR_clear_error();
    (void)SSL_shutdown(ssl_.get());  // sends close_notify; the peer's is not waited for
  }
  (void)::shutdown(socket_.get(), SHUT_WR);
}

}  // namespace atlasflow::edge
