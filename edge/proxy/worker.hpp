// One worker: a thread with an epoll loop, its listeners, its connections, its upstream pools.
// Owned by the edge server. start(), post(), adopted() and stop() may be called from any thread,
// all else runs on the worker's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "edge/edge.hpp"
#include "edge/proxy/connection.hpp"
#include "edge/proxy/error_page.hpp"
#include "edge/tls/tls_context.hpp"

namespace atlasflow::edge {

// What the workers share with the edge server that owns them.
struct Shared {
  EdgeConfig config;
  std::uint16_t https_port = 0;
  TicketKeys ticket_keys{};
  std::atomic<const RouteSnapshot*> snapshot{nullptr};
  std::function<void()> on_adopted;  // a worker uses a new snapshot
  std::function<void()> on_drained;  // a draining target has lost a request
};

class Worker {
 public:
  Worker(Shared& shared, std::size_t index) : shared_(shared), index_(index) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] Result<void> start(std::vector<Fd> http, std::vector<Fd> https);
  void stop();

  void wake();
  // Runs on the worker's thread soon.
  void post(std::function<void(Worker&)> command);
  // The snapshot that this worker has switched to; it holds no pointer into an older one.
  [[nodiscard]] std::uint64_t adopted() const { return adopted_.load(std::memory_order_acquire); }

  // Commands.
  [[nodiscard]] std::uint64_t cut(const Target& target);
  void close_idle(Target& target);
  // Accepts nothing more; returns how many clients there still are.
  [[nodiscard]] std::size_t retire();

 private:
  // worker.cpp: the loop.
  void run();
  void adopt_snapshot();
  void run_commands();
  void dispatch(Endpoint& endpoint, std::uint32_t events);
  void accept_some(Listener& listener);
  void pause_accepting();
  void sweep();
  void expire(ClientConnection& client);
  void serve_held();
  [[nodiscard]] int poll_timeout_ms() const;
  void update_clock();
  [[nodiscard]] bool watch(int fd, Endpoint& endpoint, std::uint32_t events) const;
  [[nodiscard]] Target::Cell& cell(const Target& target) const { return target.cells[index_]; }

  // worker.cpp: connections and pools.
  void close_client(ClientConnection& client);
  void close_upstream(UpstreamConnection& upstream);
  [[nodiscard]] UpstreamConnection* take_idle(Target& target, bool must_be_alive);
  [[nodiscard]] UpstreamConnection* connect(Target& target);
  void pool_upstream(UpstreamConnection& upstream);

  // client.cpp: the client's side of a connection.
  void pump(ClientConnection& client);
  [[nodiscard]] bool flush(ClientConnection& client);
  [[nodiscard]] bool fill(ClientConnection& client);
  [[nodiscard]] bool step_handshake(ClientConnection& client);
  [[nodiscard]] bool step_head(ClientConnection& client);
  [[nodiscard]] bool step_discard(ClientConnection& client);
  [[nodiscard]] bool step_tunnel(ClientConnection& client);
  [[nodiscard]] bool step_closing(ClientConnection& client);
  [[nodiscard]] Wait wait_of(const ClientConnection& client) const;
  [[nodiscard]] std::chrono::milliseconds limit_of(const ClientConnection& client, Wait wait) const;
  void update_deadline(ClientConnection& client, bool progress);
  void begin_request(ClientConnection& client);
  [[nodiscard]] bool answered_by_edge(ClientConnection& client);
  [[nodiscard]] const RouteEntry* find_ready_route(ClientConnection& client);
  void answer(ClientConnection& client, const EdgeAnswer& answer);
  void end_request(ClientConnection& client);
  void refuse_message(ClientConnection& client, const http::HttpError& error);
  void make_request_id(ClientConnection& client);

  // exchange.cpp: the upstream's side.
  void attempt(ClientConnection& client);
  void attempt_failed(ClientConnection& client);
  [[nodiscard]] Target* pick(const RouteEntry& route) const;
  [[nodiscard]] bool step_request(ClientConnection& client);
  [[nodiscard]] bool step_upstream(ClientConnection& client);
  [[nodiscard]] bool send_request(ClientConnection& client, UpstreamConnection& upstream);
  [[nodiscard]] bool read_response(ClientConnection& client, UpstreamConnection& upstream);
  [[nodiscard]] bool take_response(ClientConnection& client, UpstreamConnection& upstream);
  void take_response_head(ClientConnection& client, UpstreamConnection& upstream);
  void finish_response(ClientConnection& client);
  void upstream_ended(ClientConnection& client, bool clean);
  [[nodiscard]] bool may_retry(const ClientConnection& client) const;
  [[nodiscard]] bool has_alternative(const ClientConnection& client) const;
  void fail_response(ClientConnection& client, const EdgeAnswer& reason);
  void leave_target(ClientConnection& client);
  void drop_upstream(ClientConnection& client);

  Shared& shared_;
  const std::size_t index_;
  std::thread thread_;
  Fd epoll_;
  Fd wake_fd_;
  Endpoint wake_endpoint_{Endpoint::Kind::wake};
  std::vector<std::unique_ptr<Listener>> listeners_;
  bool accepting_ = true;
  bool retiring_ = false;  // every answer ends its connection
  SslContextPtr tls_;
  const CertificateMap* certificates_ = nullptr;
  const RouteSnapshot* snapshot_ = nullptr;
  std::atomic<std::uint64_t> adopted_{0};
  std::atomic<bool> stopping_{false};

  std::mutex commands_mutex_;
  std::vector<std::function<void(Worker&)>> commands_;

  SlabPool slabs_;
  std::vector<std::unique_ptr<ClientConnection>> clients_;
  std::vector<std::unique_ptr<UpstreamConnection>> upstreams_;
  // Closed in this turn: freed at its end, as events of the same turn may still point to them.
  std::vector<std::unique_ptr<ClientConnection>> closed_clients_;
  std::vector<std::unique_ptr<UpstreamConnection>> closed_upstreams_;
  std::vector<ClientConnection*> run_again_;
  std::vector<ClientConnection*> held_;
  std::int64_t now_ms_ = 0;
  std::int64_t next_sweep_ms_ = 0;
  std::size_t rotation_ = 0;
  std::mt19937_64 random_;
};

}  // namespace atlasflow::edge
