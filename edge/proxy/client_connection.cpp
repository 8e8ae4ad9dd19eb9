#include "edge/proxy/client_connection.hpp"

#include <algorithm>
#include <utility>

#include <sys/socket.h>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "edge/http1/http1_codec.hpp"
#include "edge/http2/http2_codec.hpp"
#include "edge/proxy/worker_context.hpp"
#include "edge/tls/alpn_proof.hpp"
#include "http/guard.hpp"

namespace atlasflow::edge {
namespace {

// Then others have a turn: the bound of everything that a peer can make a worker do at once. What
// is left goes on in the next turn.
constexpr int k_rounds_per_pump = 32;
constexpr int k_reads_per_pump = 8;
constexpr std::size_t k_linger_bytes = std::size_t{1024} * 1024;
constexpr std::int64_t k_linger_ms = 2'000;

// A TLS connection begins with a record of the kind 22 (RFC 8446 section 5.1), a request with the
// letters of its method. Nothing is taken off the socket.
bool speaks_http(const TransportSocket& socket) {
  char first = 0;
  if (::recv(socket.fd(), &first, 1, MSG_PEEK | MSG_DONTWAIT) != 1) return false;
  return (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z');
}

void set_reset_on_close(const TransportSocket& socket, bool on) {
  const linger at_once{on ? 1 : 0, 0};
  (void)::setsockopt(socket.fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace

ClientConnection::ClientConnection(WorkerContext& context, FileDescriptor socket,
                                   const Listener& from, Peer peer)
    : Endpoint(Kind::client),
      context_(context),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      https_(from.https),
      local_port_(from.port),
      phase_(Phase::handshake),
      in_(context.slabs),
      out_(context.slabs) {
  if (https_) {
    socket_.set_fresh(true);  // its hello is not looked for before epoll has told of it
  } else {
    open();
  }
}

void ClientConnection::open() {
  http2_ = socket_.protocol() == "h2";
  if (http2_) {
    codec_ = std::make_unique<Http2Codec>(context_, *this);
  } else {
    codec_ = std::make_unique<Http1Codec>(context_, *this);
  }
  phase_ = Phase::open;
  if (context_.retiring) (void)codec_->begin_farewell();
}

void ClientConnection::pump() {
  if (closed_) return;
  context_.clock.step();
  context_.clock.heed();  // what was meant for the step before
  context_.run_again.remove(*this);
  context_.woken.remove(*this);
  // Each upstream that woke it may be read once.
  context_.reads_left = k_reads_per_pump + std::exchange(wakes_, 0);
  bool any_progress = false;
  for (int round = 0; round < k_rounds_per_pump && context_.reads_left > 0; ++round) {
    bool progress = flush();
    if (closed_) return;
    switch (phase_) {
      case Phase::handshake:
        progress |= step_handshake();
        break;
      case Phase::open:
        progress |= codec_->step();
        break;
      case Phase::closing:
        progress |= step_closing();
        break;
    }
    if (closed_) return;
    if (context_.clock.overdue()) {
      cut_overdue();
      return;
    }
    any_progress |= progress;
    if (!progress && context_.reads_left > 0) {
      update_deadlines(any_progress);
      return;
    }
  }
  update_deadlines(any_progress);
  context_.run_again.push_back(*this);
}

void ClientConnection::retire() {
  if (codec_ && codec_->begin_farewell()) pump();
}

void ClientConnection::wake(Stream& stream) {
  if (closed_) return;
  codec_->wake(stream);
  ++wakes_;
  if (!context_.woken.contains(*this)) context_.woken.push_back(*this);
}

// The watch has found that this connection alone has kept the worker for a second.
void ClientConnection::cut_overdue() {
  context_.clock.heed();
  log_event(LogLevel::error, "edge", "watchdog",
            {{"result", "connection_cut"},
             {"worker", context_.index},
             {"client", address()},
             {"host", codec_ ? codec_->host() : "-"},
             {"phase", static_cast<int>(phase_)},
             {"reason", "it kept the worker for over a second"}});
  context_.end_reason = "watchdog";
  close();
  context_.end_reason = k_client_left;
}

bool ClientConnection::flush() {
  bool progress = false;
  while (!out_.empty() && socket_.writable()) {
    const IoResult result = socket_.write(out_.view());
    if (result.status == IoStatus::failed) {
      close();
      return true;
    }
    if (result.status != IoStatus::ok) break;
    out_.consume(result.bytes);
    progress = wrote_ = true;
  }
  return progress;
}

bool ClientConnection::fill() {
  if (ended_ || !socket_.readable() || in_.size() >= k_slab_bytes) return false;
  if (!context_.may_read()) return false;
  char* space = in_.reserve(k_slab_bytes - in_.size());
  const IoResult result = socket_.read(space, in_.room());
  if (result.status == IoStatus::ok) {
    in_.commit(result.bytes);
    return true;
  }
  if (in_.empty()) in_.clear();
  if (result.status == IoStatus::would_block) return false;
  ended_ = true;
  broken_ = result.status == IoStatus::failed;
  deadline_.renew();  // from now on it is waited for otherwise
  if (codec_) codec_->client_ended();
  return true;
}

bool ClientConnection::step_handshake() {
  if (!context_.admission.may_shake_hands(*this)) return false;
  if (socket_.tls() == nullptr && speaks_http(socket_)) {
    // In the clear, as the client speaks.
    open();
    codec_->refuse({400, "plain_http", "This port speaks https",
                    "The request came as plain http to a port that speaks https. Begin the "
                    "address with https://."});
    return true;
  }
  // What a waiting connection holds is small: OpenSSL's part is made when its turn has come.
  if (socket_.tls() == nullptr && !socket_.start_tls(context_.tls.get())) {
    close();
    return true;
  }
  switch (socket_.handshake()) {
    case IoStatus::ok: {
      // The handshake was all of it (RFC 8737 section 3).
      if (socket_.protocol() == k_acme_protocol) {
        socket_.shutdown_write();
        close();
        return true;
      }
      const char* name = SSL_get_servername(socket_.tls(), TLSEXT_NAMETYPE_host_name);
      if (name == nullptr || !http::normalise_host(name, server_name_)) server_name_.clear();
      open();
      return true;
    }
    case IoStatus::would_block:
      return false;
    default:
      context_.metrics.handshakes_failed.add();
      close();
      return true;
  }
}

void ClientConnection::begin_request() { context_.admission.leave_quiet(*this); }

void ClientConnection::end_request() {
  ++requests_;
  deadline_.renew();
}

void ClientConnection::begin_closing(std::size_t linger_bytes) {
  linger_left_ = linger_bytes;
  phase_ = Phase::closing;
}

bool ClientConnection::step_closing() {
  if (!out_.empty()) return false;
  if (ended_ || (linger_left_ == 0 && in_.empty() && write_closed_)) {
    close();
    return true;
  }
  if (!write_closed_) {
    shutdown_write();
    if (!in_.empty() && linger_left_ == 0) linger_left_ = k_linger_bytes;
    return true;
  }
  linger_left_ -= std::min(linger_left_, in_.size());
  in_.clear();
  return fill();
}

void ClientConnection::shutdown_write() {
  if (std::exchange(end_means_whole_, false)) set_reset_on_close(socket_, false);
  socket_.shutdown_write();
  write_closed_ = true;
}

void ClientConnection::end_means_whole() {
  set_reset_on_close(socket_, true);
  end_means_whole_ = true;
}

void ClientConnection::close() {
  if (closed_) return;
  closed_ = true;
  if (codec_) codec_->abandon();
  context_.run_again.remove(*this);
  context_.woken.remove(*this);
  context_.admission.forget(*this);
  socket_.close();
  in_.clear();
  out_.clear();
  context_.clients.remove(*this);
}

bool ClientConnection::serves() const {
  return phase_ == Phase::open && codec_->wait() == Wait::none;
}

// A TLS client is told, so that it knows that nothing was cut (RFC 8446 section 6.1).
void ClientConnection::close_orderly() {
  if (closed_) return;
  ATLAS_ASSERT(!serves(), "a connection that serves a request is not closed for another's sake");
  const Wait wait = current_wait();
  const bool idle =
      phase_ == Phase::open && (wait == Wait::idle || wait == Wait::farewell || wait == Wait::head);
  if (idle && socket_.tls() != nullptr) {
    codec_->say_goodbye();
    (void)flush();
    if (closed_) return;
    socket_.shutdown_write();
  }
  close();
}

bool ClientConnection::tend() {
  if (!codec_) return false;
  if (deadline_.wait() == Wait::idle) codec_->release_memory();
  if (phase_ != Phase::open || codec_->farewell_ends_ms() > context_.now_ms) return false;
  codec_->end_farewell();
  pump();
  return true;
}

Wait ClientConnection::current_wait() const {
  switch (phase_) {
    case Phase::handshake:
      return Wait::handshake;
    case Phase::closing:
      return out_.empty() ? Wait::linger : Wait::client_write;
    case Phase::open:
      break;
  }
  return codec_->wait();
}

std::int64_t ClientConnection::limit_ms(Wait wait) const {
  const EdgeTimeouts& timeouts = context_.shared.config.timeouts;
  switch (wait) {
    case Wait::handshake:
      return timeouts.tls_handshake.count();
    case Wait::head:
      return timeouts.request_head.count();
    case Wait::client_write:
      return timeouts.client_write_idle.count();
    case Wait::linger:
      return k_linger_ms;
    default:
      return (requests_ == 0 ? timeouts.request_head : timeouts.keep_alive).count();
  }
}

void ClientConnection::update_deadlines(bool progress) {
  if (phase_ == Phase::open) codec_->update_deadlines(progress);
  const Wait wait = current_wait();
  // What the client sends does not show that it takes anything.
  const bool wrote = std::exchange(wrote_, false);
  if (wait == Wait::client_write) progress = wrote;
  if (!deadline_.begins(wait, progress)) return;
  context_.admission.note_wait(*this);
  if (wait == Wait::none || wait == Wait::farewell) {
    deadline_.set_never();  // tend() ends the latter
  } else {
    deadline_.set(context_.now_ms + limit_ms(wait));
  }
}

void ClientConnection::expire() {
  // A request may be on its way, so an HTTP/2 client is asked before.
  if (deadline_.wait() == Wait::idle && codec_->begin_farewell()) {
    pump();
    return;
  }
  if (deadline_.wait() != Wait::head) {
    close_orderly();
    return;
  }
  codec_->refuse(bad_request({408, "The request head took too long to arrive."}));
  pump();
}

}  // namespace atlasflow::edge
