// A worker's connections to upstreams: made, lent to a stream, kept for the next one, closed. The
// worker's thread only.
#pragma once

#include <cstdint>

#include "edge/h2c/h2c_pool.hpp"
#include "edge/proxy/buffer.hpp"
#include "edge/proxy/endpoint.hpp"
#include "edge/proxy/intrusive_list.hpp"
#include "edge/proxy/transport_socket.hpp"
#include "edge/routes/route_snapshot.hpp"
#include "http/parser.hpp"

namespace atlasflow::edge {

class Stream;
struct WorkerContext;

// Values without behaviour: the stream that has it drives it.
struct UpstreamConnection : Endpoint {
  UpstreamConnection(FileDescriptor connecting_to, Target& of, SlabPool& slabs,
                     const http::HttpLimits& limits)
      : Endpoint(Kind::upstream),
        socket(std::move(connecting_to)),
        target(of),
        in(slabs),
        parser(limits) {}

  TransportSocket socket;
  Target& target;
  Buffer in;
  http::ResponseParser parser;
  Stream* stream = nullptr;  // nullptr: idle in its target's pool
  bool connecting = false;
  bool reused = false;  // has served a request before
  bool wrote = false;   // a byte of this request has been handed to the kernel
  bool write_failed = false;
  bool ended = false;  // end of stream seen
  bool ended_cleanly = false;
  bool closed = false;
  std::int64_t idle_since_us = 0;  // by the worker's clock, which stands still for a turn
  std::int64_t idle_until_ms = 0;
  std::size_t index = 0;                  // in the pool's list
  ListHook<UpstreamConnection> in_pools;  // all targets'; the longest idle first
};

class UpstreamPool {
 public:
  explicit UpstreamPool(WorkerContext& context) : context_(context), h2c_(context) {}

  // This worker's counts of a target.
  [[nodiscard]] Target::Cell& cell(const Target& target) const;

  // An idle connection that is fit for a request, or nullptr. As far as epoll has told; look: by
  // the socket, too, which costs a call. Its upstream may just have left, or have said something
  // that nobody asked for, which the next request would take for its answer.
  [[nodiscard]] UpstreamConnection* take_idle(Target& target, bool look);
  // A new one, perhaps still under way. nullptr: it failed at once.
  [[nodiscard]] UpstreamConnection* connect(Target& target);
  // Its exchange is over: it is kept if it can be.
  void give_back(UpstreamConnection& upstream);
  void close(UpstreamConnection& upstream);

  void close_idle(Target& target);
  void close_idle_of_retired_targets();
  void close_outdated();
  void close_all();
  // The one that idles longest makes room. False when none idles.
  [[nodiscard]] bool evict_idle();

  [[nodiscard]] std::size_t size() const { return connections_.size() + h2c_.size(); }
  void free_closed() {
    connections_.free_removed();
    h2c_.free_closed();
  }

  // Those that carry many requests at a time. What is closed above is so among them as well.
  [[nodiscard]] H2cPool& h2c() { return h2c_; }
  [[nodiscard]] const H2cPool& h2c() const { return h2c_; }

 private:
  WorkerContext& context_;
  H2cPool h2c_;
  OwningList<UpstreamConnection> connections_;
  IntrusiveList<UpstreamConnection, &UpstreamConnection::in_pools> idle_;
};

}  // namespace atlasflow::edge
