// What a worker's parts share: its connections, streams and upstreams, its clock, its snapshot of
// the routes. Owned by the worker, used on its thread only; what all workers share is in Shared,
// which belongs to the edge server.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "edge/edge.hpp"
#include "edge/observe/access_log.hpp"
#include "edge/observe/metrics.hpp"
#include "edge/proxy/admission.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/hold_queue.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/proxy/turn_watch.hpp"
#include "edge/proxy/upstream_pool.hpp"
#include "edge/tls/tls_context.hpp"

namespace atlasflow::edge {

struct Shared {
  EdgeConfig config;
  std::uint16_t https_port = 0;
  std::string hsts;  // the value of Strict-Transport-Security; empty: none is said
  KeptTicketSecret tickets;
  std::atomic<const RouteSnapshot*> snapshot{nullptr};
  std::function<void()> on_adopted;  // a worker uses a new snapshot
  std::function<void()> on_drained;  // a draining target has lost a request
  ConnectionCounts connections;      // of the clients' addresses
  std::uint64_t address_seed = 0;
  RequestRates request_rates;
  ProjectNumbers projects;
  std::unique_ptr<AccessLog> access_log;  // nullptr: none is kept
};

// Lines that whoever sends bad input could have the log filled with: so many a second, and then how
// many were left out.
class LogBudget {
 public:
  [[nodiscard]] bool allows(std::int64_t now_ms);
  [[nodiscard]] std::uint64_t left_out() { return std::exchange(left_out_, 0); }

 private:
  std::int64_t second_ = 0;
  int lines_ = 0;
  std::uint64_t left_out_ = 0;
};

// The worker's epoll.
class Poller {
 public:
  // A connection's: edge-triggered, told once for its whole life.
  static const std::uint32_t k_edge_events;

  [[nodiscard]] bool open();
  [[nodiscard]] bool watch(int fd, Endpoint& endpoint, std::uint32_t events) const;
  void forget(int fd) const;
  [[nodiscard]] int fd() const { return epoll_.get(); }

 private:
  FileDescriptor epoll_;
};

// The streams that serve a request, in no order. Who goes through them goes from the end, as those
// that leave are replaced by the last.
class ActiveStreams {
 public:
  void add(Stream& stream) {
    stream.index = streams_.size();
    streams_.push_back(&stream);
  }
  void remove(Stream& stream) {
    ATLAS_ASSERT(streams_[stream.index] == &stream, "a stream leaves the list that it is in");
    streams_[stream.index] = streams_.back();
    streams_[stream.index]->index = stream.index;
    streams_.pop_back();
  }
  [[nodiscard]] std::size_t size() const { return streams_.size(); }
  [[nodiscard]] Stream& operator[](std::size_t index) const { return *streams_[index]; }

 private:
  std::vector<Stream*> streams_;
};

struct WorkerContext {
  WorkerContext(Shared& of_all, std::size_t worker, std::size_t workers);

  // Whether the connection whose part of the turn this is may read once more; if not it goes on in
  // the next.
  [[nodiscard]] bool may_read() {
    if (reads_left <= 0 || clock.overdue()) return false;
    --reads_left;
    return true;
  }

  Shared& shared;
  const std::size_t index;
  const std::int64_t requests_max;  // unanswered at one instance: this worker's part
  const http::HttpLimits message_limits;

  SlabPool slabs;
  LogBudget log;
  WorkerMetrics metrics;
  TurnClock clock;
  Poller poller;
  std::mt19937_64 random;
  TicketKeys ticket_keys;
  SslContextPtr tls;

  const RouteSnapshot* snapshot = nullptr;
  const CertificateMap* certificates = nullptr;
  std::int64_t now_us = 0;  // of the turn
  std::int64_t now_ms = 0;
  std::size_t rotation = 0;  // of targets with equal load
  bool retiring = false;     // every answer ends its connection
  // Why a request ends that has no answer, and nothing else to blame. With static lifetime.
  std::string_view end_reason = k_client_left;
  int reads_left = 0;

  UpstreamPool upstreams;
  HoldQueue held;
  ActiveStreams streams;
  Admission admission;
  OwningList<ClientConnection> clients;
  // Something came for a stream of theirs. They have one part of the turn for all that came: what
  // several upstreams answer goes to an HTTP/2 client in one piece.
  IntrusiveList<ClientConnection, &ClientConnection::in_woken> woken;
  // Had their part of a turn, and have more to do.
  IntrusiveList<ClientConnection, &ClientConnection::in_run_again> run_again;
};

}  // namespace atlasflow::edge
