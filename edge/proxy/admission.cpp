#include "edge/proxy/admission.hpp"

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/log.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

constexpr int k_accepts_per_turn = 16;
// A handshake costs as much as twenty requests. So many of those within their rate are advanced in
// a turn, and so many of the others: an established connection waits two milliseconds at the worst.
constexpr std::size_t k_handshakes_per_turn = 8;
constexpr std::size_t k_excess_handshakes_per_turn = 2;
// What a connection with TLS takes while it idles (measured: 10,000 of them, 220 MiB), and a stream
// beside its buffers.
constexpr std::size_t k_connection_bytes = 24 * 1024;
constexpr std::size_t k_stream_bytes = 4 * 1024;
// For memory's sake, in one step of a turn.
constexpr int k_shed_per_step = 16;
// The share of connections that is left to upstreams when clients would take all of them.
constexpr std::size_t k_upstream_share = 8;

constexpr std::string_view k_too_many =
    "Retry-After: 5\r\nX-Atlas-Error: too_many_connections\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 53\r\nConnection: close\r\n\r\n"
    "429 Your address has too many connections open here.\n";

std::int32_t rate_of_worker(std::int32_t per_second, std::size_t workers) {
  if (per_second == 0) return 0;
  return std::max<std::int32_t>(1, per_second / static_cast<std::int32_t>(workers));
}

}  // namespace

Admission::Admission(WorkerContext& context, const EdgeLimits& limits, std::size_t workers)
    : context_(context),
      handshake_rates_(rate_of_worker(limits.handshakes_per_address, workers)),
      connections_max_(static_cast<std::size_t>(limits.connections_max) / workers),
      memory_max_(static_cast<std::size_t>(limits.memory_max) / workers) {}

bool Admission::listen(std::vector<FileDescriptor> sockets, bool https) {
  for (FileDescriptor& socket : sockets) {
    const std::uint16_t port = local_port(socket);
    listeners_.push_back(std::make_unique<Listener>(std::move(socket), https, port));
    Listener& listener = *listeners_.back();
    if (!context_.poller.watch(listener.socket.get(), listener, EPOLLIN)) return false;
  }
  return true;
}

void Admission::accept_some(Listener& listener) {
  for (int i = 0; i < k_accepts_per_turn; ++i) {
    if (!make_room_for_client()) {
      // All of them are being served: new ones wait in the kernel's queue until one has ended.
      pause();
      return;
    }
    if (accept_one(listener) == Accepted::stop) return;
  }
}

Admission::Accepted Admission::accept_one(Listener& listener) {
  SocketAddress peer;
  peer.bytes = sizeof peer.storage;
  FileDescriptor socket(::accept4(listener.socket.get(), reinterpret_cast<sockaddr*>(&peer.storage),
                                  &peer.bytes, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.valid()) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      log_event(LogLevel::warn, "edge", "accept",
                {{"result", "paused"}, {"reason", std::generic_category().message(errno)}});
      pause();
      return Accepted::stop;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Accepted::stop;
    return Accepted::none;  // this peer left before it was accepted
  }
  Shared& shared = context_.shared;
  const AddressKey key = address_key(peer, shared.address_seed);
  if (!shared.connections.enter(key, shared.config.limits.connections_per_address)) {
    refuse_address(listener, socket, peer);
    return Accepted::none;
  }
  const bool over_rate = listener.https && !handshake_rates_.take(key, context_.now_ms);
  auto client = std::make_unique<ClientConnection>(
      context_, std::move(socket), listener,
      ClientConnection::Peer{address_text(peer), key, over_rate});
  if (!context_.poller.watch(client->socket().fd(), *client, Poller::k_edge_events)) {
    shared.connections.leave(key);
    return Accepted::none;
  }
  context_.metrics.clients_accepted[listener.https ? 1 : 0].add();
  context_.clients.add(std::move(client)).pump();
  return Accepted::one;
}

void Admission::refuse_address(const Listener& listener, const FileDescriptor& socket,
                               const SocketAddress& peer) {
  context_.metrics.clients_refused.add();
  if (context_.log.allows(context_.now_ms)) {
    log_event(LogLevel::warn, "edge", "accept",
              {{"result", "refused"},
               {"client", address_text(peer)},
               {"reason", "too many connections"}});
  }
  if (listener.https) return;
  std::string refusal = "HTTP/1.1 429 Too Many Requests\r\nDate: ";
  refusal.append(http::date_text(std::time(nullptr))).append("\r\n").append(k_too_many);
  (void)::send(socket.get(), refusal.data(), refusal.size(), MSG_NOSIGNAL);
}

bool Admission::make_room_for_client() {
  const std::size_t mark = connections_max_ - connections_max_ / k_upstream_share;
  while (context_.clients.size() + context_.upstreams.size() >= mark) {
    if (!shed_client("near the limit of connections")) return false;
  }
  return make_room_in_memory();
}

std::size_t Admission::memory_in_use() const {
  return context_.slabs.lent() +
         k_connection_bytes * (context_.clients.size() + context_.upstreams.size()) +
         k_stream_bytes * context_.streams.size();
}

bool Admission::make_room_in_memory() {
  for (int i = 0; memory_in_use() >= memory_max_; ++i) {
    if (i == k_shed_per_step) return false;
    if (!context_.upstreams.evict_idle() && !shed_client("near the limit of memory")) return false;
  }
  return true;
}

bool Admission::make_room_for_upstream() {
  while (context_.clients.size() + context_.upstreams.size() >= connections_max_) {
    if (!context_.upstreams.evict_idle() && !shed_client("near the limit of connections")) {
      return false;
    }
  }
  return true;
}

// Closes the connection that has been quiet for longest: an idle one, else one that has not got as
// far as a request. One that is being served is never closed for another.
bool Admission::shed_client(const char* why) {
  for (auto& list : quiet_) {
    ClientConnection* client = list.front();
    if (client == nullptr) continue;
    if (context_.log.allows(context_.now_ms)) {
      log_event(LogLevel::warn, "edge", "accept",
                {{"result", "shed"}, {"client", client->address()}, {"reason", why}});
    }
    context_.metrics.clients_shed.add();
    client->close_orderly();
    return true;
  }
  return false;
}

void Admission::note_wait(ClientConnection& client) {
  leave_quiet(client);
  switch (client.deadline().wait()) {
    case Wait::idle:
      // One that was just accepted may be about to speak: it is not the first to go.
      quiet_[client.requests() == 0 ? 1 : 0].push_back(client);
      break;
    case Wait::farewell:
      quiet_[0].push_back(client);
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

void Admission::leave_quiet(ClientConnection& client) {
  if (client.in_quiet.list == nullptr) return;
  for (auto& list : quiet_) list.remove(client);
}

void Admission::forget(ClientConnection& client) {
  leave_quiet(client);
  for (auto& list : handshakes_) list.remove(client);
  context_.shared.connections.leave(client.address_key());
  context_.metrics.clients_closed[client.https() ? 1 : 0].add();
}

// The listeners would be reported for ever. The next sweep tries again.
void Admission::pause() {
  context_.metrics.accept_pauses.add();
  for (const auto& listener : listeners_) context_.poller.forget(listener->socket.get());
  accepting_ = false;
}

void Admission::resume() {
  accepting_ = true;
  for (const auto& listener : listeners_) {
    accepting_ = context_.poller.watch(listener->socket.get(), *listener, EPOLLIN) && accepting_;
  }
}

void Admission::close_listeners() {
  for (const auto& listener : listeners_) {
    // Another process may listen on the same socket: closing ours would not end the watch.
    context_.poller.forget(listener->socket.get());
    listener->socket.reset();
  }
}

bool Admission::may_shake_hands(ClientConnection& client) {
  if (in_handshakes_) return true;
  auto& list = handshakes_[client.over_rate() ? 1 : 0];
  if (client.socket().readable() && !list.contains(client)) list.push_back(client);
  return false;
}

bool Admission::handshakes_wait() const {
  return !handshakes_[0].empty() || !handshakes_[1].empty();
}

void Admission::serve_handshakes() {
  if (!handshakes_wait()) return;
  in_handshakes_ = true;
  const std::size_t within = std::min(handshakes_[0].size(), k_handshakes_per_turn);
  const std::size_t beyond = std::min(handshakes_[1].size(), k_excess_handshakes_per_turn);
  for (std::size_t i = 0; i < within + beyond; ++i) {
    ClientConnection* client = handshakes_[i < within ? 0 : 1].pop_front();
    if (client != nullptr) client->pump();
  }
  in_handshakes_ = false;
}

}  // namespace atlasflow::edge
