// A worker's HTTP/2 connections to applications: made, shared by the streams, closed when they have
// idled, when their target has been replaced, or when their room is wanted. The worker's thread
// only.
#pragma once

#include <cstddef>

#include "edge/h2c/h2c_connection.hpp"
#include "edge/proxy/endpoint.hpp"
#include "edge/proxy/intrusive_list.hpp"
#include "edge/routes/route_snapshot.hpp"

namespace atlasflow::edge {

class Stream;
struct WorkerContext;

class H2cPool {
 public:
  explicit H2cPool(WorkerContext& context) : context_(context) {}

  // The worker's part of a turn: those that have something to send, or had no time to read all that
  // had come. False when there was none.
  bool serve();
  [[nodiscard]] bool is_due() const { return !due_.empty(); }

  // A connection that takes one more request, perhaps still under way. nullptr: there is none, as
  // `full` says, or because none can be made. (Then it failed at once.)
  [[nodiscard]] H2cConnection* take(Target& target, bool& full);

  void close_idle(Target& target);
  void close_idle_of_retired_targets();
  void close_outdated();
  void close_all();
  // The one that idles longest makes room. False when none idles.
  [[nodiscard]] bool evict_idle();
  [[nodiscard]] std::size_t size() const { return connections_.size(); }
  void free_closed() { connections_.free_removed(); }

  // ---- the connections' ----

  void add_due(H2cConnection& connection) {
    if (!due_.contains(connection)) due_.push_back(connection);
  }
  void note_busy(H2cConnection& connection) { idle_.remove(connection); }
  void note_idle(H2cConnection& connection) {
    if (!idle_.contains(connection)) idle_.push_back(connection);
  }
  // Its socket is closed: no stream is given to it any more.
  void forget(H2cConnection& connection);
  // And no stream has a part of it any more.
  void remove(H2cConnection& connection) { connections_.remove(connection); }

 private:
  [[nodiscard]] H2cConnection* connect(Target& target);

  WorkerContext& context_;
  OwningList<H2cConnection> connections_;
  IntrusiveList<H2cConnection, &H2cConnection::in_due> due_;
  IntrusiveList<H2cConnection, &H2cConnection::in_idle> idle_;  // the longest idle first
};

}  // namespace atlasflow::edge
