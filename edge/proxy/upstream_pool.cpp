#include "edge/proxy/upstream_pool.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// Of one worker: fewer than an app answers at once would be closed and opened again all the time.
constexpr std::size_t k_idle_per_target_max = 512;

}  // namespace

Target::Cell& UpstreamPool::cell(const Target& target) const {
  return target.cells[context_.index];
}

UpstreamConnection* UpstreamPool::take_idle(Target& target, bool look) {
  auto& idle = cell(target).idle;
  while (!idle.empty()) {
    UpstreamConnection& upstream = *idle.back();
    // What was given back in this turn may have more to say that epoll has had no time to tell.
    const bool is_fresh = upstream.idle_since_us == context_.now_us;
    char byte = 0;
    const bool usable = upstream.idle_until_ms > context_.now_ms && !upstream.socket.hung_up() &&
                        ((!look && !is_fresh) ||
                         (::recv(upstream.socket.fd(), &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN));
    if (!usable) {
      close(upstream);
      continue;
    }
    idle.pop_back();
    idle_.remove(upstream);
    return &upstream;
  }
  return nullptr;
}

UpstreamConnection* UpstreamPool::connect(Target& target) {
  auto [socket, connecting] = dial(target.address);
  if (!socket.valid()) return nullptr;
  UpstreamConnection& made = connections_.add(std::make_unique<UpstreamConnection>(
      std::move(socket), target, context_.slabs, context_.message_limits));
  made.connecting = connecting;
  cell(target).connections.fetch_add(1);
  context_.metrics.upstreams_opened.add();
  made.socket.set_fresh(!made.connecting);
  if (!context_.poller.watch(made.socket.fd(), made, Poller::k_edge_events)) {
    close(made);
    return nullptr;
  }
  return &made;
}

void UpstreamPool::give_back(UpstreamConnection& upstream) {
  Target::Cell& own = cell(upstream.target);
  auto lifetime_ms =
      static_cast<std::int64_t>(context_.shared.config.timeouts.upstream_idle.count());
  if (const auto announced = upstream.parser.head().keep_alive_timeout_s) {
    lifetime_ms = std::min<std::int64_t>(lifetime_ms, std::int64_t{*announced} * 1000 - 1000);
  }
  // Still readable: there may be bytes after the response, which the next request must not be
  // given.
  const bool keep = lifetime_ms > 0 && own.idle.size() < k_idle_per_target_max &&
                    !upstream.target.retired.load() && !upstream.socket.hung_up() &&
                    !upstream.socket.readable();
  upstream.idle_since_us = context_.now_us;
  upstream.idle_until_ms = context_.now_ms + lifetime_ms;
  upstream.reused = true;
  if (keep) {
    upstream.stream = nullptr;
    own.idle.push_back(&upstream);
    idle_.push_back(upstream);
  } else {
    close(upstream);
  }
}

void UpstreamPool::close(UpstreamConnection& upstream) {
  if (upstream.closed) return;
  upstream.closed = true;
  context_.metrics.upstreams_closed.add();
  Target::Cell& own = cell(upstream.target);
  if (idle_.remove(upstream)) std::erase(own.idle, &upstream);
  upstream.socket.close();
  upstream.in.clear();
  connections_.remove(upstream);
  own.connections.fetch_sub(1);  // the last access: the target may be freed after it
}

void UpstreamPool::close_idle(Target& target) {
  auto& idle = cell(target).idle;
  while (!idle.empty()) close(*idle.back());
  h2c_.close_idle(target);
}

void UpstreamPool::close_idle_of_retired_targets() {
  for (std::size_t i = connections_.size(); i-- > 0;) {
    UpstreamConnection& upstream = connections_[i];
    if (upstream.stream == nullptr && upstream.target.retired.load()) close(upstream);
  }
  h2c_.close_idle_of_retired_targets();
}

void UpstreamPool::close_outdated() {
  for (std::size_t i = connections_.size(); i-- > 0;) {
    UpstreamConnection& upstream = connections_[i];
    if (upstream.stream == nullptr && upstream.idle_until_ms <= context_.now_ms) close(upstream);
  }
  h2c_.close_outdated();
}

void UpstreamPool::close_all() {
  while (!connections_.empty()) close(connections_.back());
  h2c_.close_all();
}

bool UpstreamPool::evict_idle() {
  if (idle_.empty()) return h2c_.evict_idle();
  close(*idle_.front());
  return true;
}

}  // namespace atlasflow::edge
