// Who comes in, whose handshake is next, and who has to leave when there is no room: nobody may
// hold so much of what all share that the others are locked out.
#include <algorithm>
#include <cerrno>
#include <ctime>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "edge/proxy/worker.hpp"
#include "http/guard.hpp"

namespace atlasflow::edge {
namespace {

constexpr int k_accepts_per_turn = 16;
constexpr std::uint32_t k_edge_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
// A handshake costs as much as twenty requests. So many of those within their rate are advanced in
// a turn, and so many of the others: an established connection waits two milliseconds at the worst.
constexpr std::size_t k_handshakes_per_turn = 8;
constexpr std::size_t k_excess_handshakes_per_turn = 2;
// The share of connections that is left to upstreams when clients would take all of them.
constexpr std::size_t k_upstream_share = 8;

constexpr std::string_view k_too_many =
    "Retry-After: 5\r\nX-Atlas-Error: too_many_connections\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 53\r\nConnection: close\r\n\r\n"
    "429 Your address has too many connections open here.\n";

// A TLS connection begins with a record of the kind 22 (RFC 8446 section 5.1), a request with the
// letters of its method. Nothing is taken off the socket.
bool speaks_http(const Stream& stream) {
  char first = 0;
  if (::recv(stream.fd(), &first, 1, MSG_PEEK | MSG_DONTWAIT) != 1) return false;
  return (first >= 'A' && first <= 'Z') || (first >= 'a' && first <= 'z');
}

}  // namespace

void Worker::accept_some(Listener& listener) {
  for (int i = 0; i < k_accepts_per_turn; ++i) {
    if (!make_room_for_client()) {
      // All of them are being served: new ones wait in the kernel's queue until one has ended.
      pause_accepting();
      return;
    }
    SocketAddress peer;
    peer.bytes = sizeof peer.storage;
    Fd socket(::accept4(listener.socket.get(), reinterpret_cast<sockaddr*>(&peer.storage),
                        &peer.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.valid()) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        spdlog::warn("edge=accept result=paused reason=\"{}\"",
                     std::generic_category().message(errno));
        pause_accepting();
        return;
      }
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      continue;  // this peer left before it was accepted
    }
    const AddressKey key = address_key(peer, shared_.address_seed);
    if (!shared_.connections.enter(key, shared_.config.limits.connections_per_address)) {
      if (log_.allows(now_ms_)) {
        spdlog::warn("edge=accept result=refused client={} reason=\"too many connections\"",
                     address_text(peer));
      }
      if (!listener.https) {
        std::string refusal = "HTTP/1.1 429 Too Many Requests\r\nDate: ";
        refusal.append(http::date_text(std::time(nullptr))).append("\r\n").append(k_too_many);
        (void)::send(socket.get(), refusal.data(), refusal.size(), MSG_NOSIGNAL);
      }
      continue;
    }
    auto client =
        std::make_unique<ClientConnection>(std::move(socket), listener, slabs_, message_limits_);
    client->address_key = key;
    client->address = address_text(peer);
    client->phase = listener.https ? Phase::handshake : Phase::head;
    client->index = clients_.size();
    if (listener.https) {
      client->over_rate = !handshake_rates_.take(key, now_ms_);
      client->stream.set_fresh(true);  // its hello is not looked for before epoll has told of it
    }
    if (!watch(client->stream.fd(), *client, k_edge_events)) {
      shared_.connections.leave(key);
      continue;
    }
    clients_.push_back(std::move(client));
    pump(*clients_.back());
  }
}

bool Worker::make_room_for_client() {
  const std::size_t mark = connections_max_ - connections_max_ / k_upstream_share;
  while (clients_.size() + upstreams_.size() >= mark) {
    if (!shed_client()) return false;
  }
  return true;
}

bool Worker::make_room_for_upstream() {
  while (clients_.size() + upstreams_.size() >= connections_max_) {
    if (!pooled_.empty()) {
      close_upstream(*pooled_.front());
    } else if (!shed_client()) {
      return false;
    }
  }
  return true;
}

// Closes the connection that has been quiet for longest: an idle one, else one that has not got as
// far as a request. One that is being served is never closed for another.
bool Worker::shed_client() {
  for (auto& list : quiet_) {
    ClientConnection* client = list.front();
    if (client == nullptr) continue;
    if (log_.allows(now_ms_)) {
      spdlog::warn("edge=accept result=shed client={} reason=\"near the limit of connections\"",
                   client->address);
    }
    close_idle_client(*client);
    return true;
  }
  return false;
}

// Keeps the lists by which shed_client() chooses; called when a connection begins to wait.
void Worker::note_quiet(ClientConnection& client) {
  for (auto& list : quiet_) list.remove(client);
  switch (client.wait) {
    case Wait::idle:
      // One that was just accepted may be about to speak: it is not the first to go.
      quiet_[client.requests == 0 ? 1 : 0].push_back(client);
      break;
    case Wait::handshake:
    case Wait::head:
    case Wait::linger:
      quiet_[1].push_back(client);
      break;
    default:
      break;
  }
}

// The listeners would be reported for ever. The next sweep tries again.
void Worker::pause_accepting() {
  for (const auto& listener : listeners_) {
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener->socket.get(), nullptr);
  }
  accepting_ = false;
}

void Worker::resume_accepting() {
  accepting_ = true;
  for (const auto& listener : listeners_) {
    accepting_ = watch(listener->socket.get(), *listener, EPOLLIN) && accepting_;
  }
}

// Whether the instance has as many unanswered requests as one may have: more of them would only
// take the room of other applications' clients.
bool Worker::is_full(const Target& target) const {
  if (cell(target).in_flight.load(std::memory_order_relaxed) < requests_max_) return false;
  return target.in_flight() >= shared_.config.limits.requests_per_instance;
}

void Worker::serve_handshakes() {
  if (handshakes_[0].empty() && handshakes_[1].empty()) return;
  in_handshakes_ = true;
  const std::size_t within = std::min(handshakes_[0].size(), k_handshakes_per_turn);
  const std::size_t beyond = std::min(handshakes_[1].size(), k_excess_handshakes_per_turn);
  for (std::size_t i = 0; i < within + beyond; ++i) {
    ClientConnection* client = handshakes_[i < within ? 0 : 1].pop_front();
    if (client != nullptr) pump(*client);
  }
  in_handshakes_ = false;
}

bool Worker::step_handshake(ClientConnection& client) {
  Stream& stream = client.stream;
  if (!in_handshakes_) {
    auto& list = handshakes_[client.over_rate ? 1 : 0];
    if (stream.readable() && !list.contains(client)) list.push_back(client);
    return false;
  }
  if (stream.tls() == nullptr && speaks_http(stream)) {
    refuse_plain_http(client);
    return true;
  }
  // What a waiting connection holds is small: OpenSSL's part is made when its turn has come.
  if (stream.tls() == nullptr && !stream.start_tls(tls_.get())) {
    close_client(client);
    return true;
  }
  switch (stream.handshake()) {
    case IoStatus::ok: {
      client.phase = Phase::head;
      client.over_rate = false;
      const char* name = SSL_get_servername(stream.tls(), TLSEXT_NAMETYPE_host_name);
      if (name == nullptr || !http::normalise_host(name, client.server_name)) {
        client.server_name.clear();
      }
      return true;
    }
    case IoStatus::would_block:
      return false;
    default:
      close_client(client);
      return true;
  }
}

}  // namespace atlasflow::edge
