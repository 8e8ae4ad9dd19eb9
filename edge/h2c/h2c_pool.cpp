#include "edge/h2c/h2c_pool.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// To one target, of one worker. Together they carry more requests than an instance may have.
constexpr std::size_t k_connections_max = 32;
constexpr std::size_t k_served_per_turn = 64;

}  // namespace

bool H2cPool::serve() {
  // Those that queue up meanwhile have their part in the next round.
  const std::size_t count = std::min(due_.size(), k_served_per_turn);
  for (std::size_t i = 0; i < count; ++i) {
    H2cConnection* connection = due_.pop_front();
    if (connection == nullptr) break;
    connection->pump();
  }
  return count != 0;
}

// The one with room that was made first: requests share few connections, and the others idle out.
H2cConnection* H2cPool::take(Target& target, bool& full) {
  auto& connections = target.cells[context_.index].h2c;
  for (std::size_t i = 0; i < connections.size();) {
    H2cConnection& connection = *connections[i];
    if (connection.takes_more() && connection.idle()) connection.look();
    if (connection.closed()) continue;  // it has left the list
    if (connection.takes_more()) return &connection;
    ++i;
  }
  full = connections.size() >= k_connections_max;
  return full || !context_.admission.make_room_for_upstream() ? nullptr : connect(target);
}

H2cConnection* H2cPool::connect(Target& target) {
  auto [socket, connecting] = dial(target.address);
  if (!socket.valid()) return nullptr;
  auto made = std::make_unique<H2cConnection>(context_, std::move(socket), target, connecting);
  if (!made->begin() || !context_.poller.watch(made->socket().fd(), *made, Poller::k_edge_events)) {
    return nullptr;
  }
  H2cConnection& connection = connections_.add(std::move(made));
  Target::Cell& own = target.cells[context_.index];
  own.connections.fetch_add(1);
  own.h2c.push_back(&connection);
  context_.metrics.upstreams_opened.add();
  add_due(connection);
  return &connection;
}

void H2cPool::forget(H2cConnection& connection) {
  due_.remove(connection);
  idle_.remove(connection);
  std::erase(connection.target().cells[context_.index].h2c, &connection);
}

void H2cPool::close_idle(Target& target) {
  auto& connections = target.cells[context_.index].h2c;
  for (std::size_t i = connections.size(); i-- > 0;) {
    if (connections[i]->idle() || target.retired.load()) connections[i]->close();
  }
}

void H2cPool::close_idle_of_retired_targets() {
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (i >= connections_.size()) continue;
    H2cConnection& connection = connections_[i];
    if (!connection.closed() && connection.idle() && connection.target().retired.load()) {
      connection.close();
    }
  }
}

void H2cPool::close_outdated() {
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (i >= connections_.size()) continue;
    H2cConnection& connection = connections_[i];
    if (!connection.closed() && connection.idle() &&
        connection.idle_until_ms() <= context_.now_ms) {
      connection.close();
    }
  }
}

void H2cPool::close_all() {
  for (std::size_t i = connections_.size(); i-- > 0;) {
    if (i < connections_.size()) connections_[i].close();
  }
}

bool H2cPool::evict_idle() {
  if (idle_.empty()) return false;
  idle_.front()->close();
  return true;
}

}  // namespace atlasflow::edge
