// One worker: a thread with an epoll loop, its listeners, its connections, its upstream pools.
// Owned by the edge server. start(), post(), adopted() and stop() may be called from any thread,
// all else runs on the worker's own.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "edge/edge.hpp"
#include "edge/proxy/connection.hpp"
#include "edge/proxy/error_page.hpp"
#include "edge/proxy/intrusive_list.hpp"
#include "edge/proxy/turn_watch.hpp"
#include "edge/tls/tls_context.hpp"

namespace atlasflow::edge {

// Before a connection is tried again: at once when there is another upstream, else these.
inline constexpr std::array<std::int64_t, 4> k_backoff_ms = {0, 50, 100, 200};

// What the workers share with the edge server that owns them.
struct Shared {
  EdgeConfig config;
  std::uint16_t https_port = 0;
  TicketKeys ticket_keys{};
  std::atomic<const RouteSnapshot*> snapshot{nullptr};
  std::function<void()> on_adopted;  // a worker uses a new snapshot
  std::function<void()> on_drained;  // a draining target has lost a request
  ConnectionCounts connections;      // of the clients' addresses
  std::uint64_t address_seed = 0;
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

class Worker {
 public:
  // The configuration's limits are for all workers; each has its part of them.
  Worker(Shared& shared, std::size_t index, std::size_t workers);
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

  [[nodiscard]] TurnClock& clock() { return clock_; }

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
  void run_again();
  void sweep();
  void serve_held();
  void hold(ClientConnection& client, std::size_t step);
  void release_held(ClientConnection& client);
  [[nodiscard]] int poll_timeout_ms() const;
  void update_clock();
  [[nodiscard]] bool watch(int fd, Endpoint& endpoint, std::uint32_t events) const;
  [[nodiscard]] Target::Cell& cell(const Target& target) const { return target.cells[index_]; }

  // admission.cpp: who comes in, whose handshake is next, who has to leave when there is no room.
  void accept_some(Listener& listener);
  [[nodiscard]] bool make_room_for_client();
  [[nodiscard]] bool make_room_for_upstream();
  [[nodiscard]] bool shed_client();
  void pause_accepting();
  void resume_accepting();
  void serve_handshakes();
  [[nodiscard]] bool step_handshake(ClientConnection& client);
  void refuse_plain_http(ClientConnection& client);
  void note_quiet(ClientConnection& client);
  [[nodiscard]] bool is_full(const Target& target) const;

  // worker.cpp: connections and pools.
  void close_client(ClientConnection& client);
  void close_idle_client(ClientConnection& client);
  void close_upstream(UpstreamConnection& upstream);
  [[nodiscard]] UpstreamConnection* take_idle(Target& target);
  [[nodiscard]] UpstreamConnection* connect(Target& target);
  void pool_upstream(UpstreamConnection& upstream);

  // client.cpp: the client's side of a connection.
  void pump(ClientConnection& client);
  [[nodiscard]] bool flush(ClientConnection& client);
  [[nodiscard]] bool may_read();
  [[nodiscard]] bool fill(ClientConnection& client);
  void cut_overdue(ClientConnection& client);
  [[nodiscard]] bool step_head(ClientConnection& client);
  [[nodiscard]] bool step_discard(ClientConnection& client);
  [[nodiscard]] bool step_tunnel(ClientConnection& client);
  [[nodiscard]] bool step_closing(ClientConnection& client);
  void begin_request(ClientConnection& client);
  [[nodiscard]] bool answered_by_edge(ClientConnection& client);
  [[nodiscard]] const RouteEntry* find_ready_route(ClientConnection& client);
  void answer(ClientConnection& client, const EdgeAnswer& answer);
  void end_request(ClientConnection& client);
  void refuse_message(ClientConnection& client, const http::HttpError& error);
  void make_request_id(ClientConnection& client);

  // deadlines.cpp: who is waited for, and for how long.
  [[nodiscard]] Wait wait_of(const ClientConnection& client) const;
  [[nodiscard]] std::chrono::milliseconds limit_of(const ClientConnection& client, Wait wait) const;
  [[nodiscard]] std::chrono::milliseconds body_time_left(const ClientConnection& client) const;
  void update_deadline(ClientConnection& client, bool progress);
  void expire(ClientConnection& client);

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
  void pass_head_on(ClientConnection& client, const http::ResponseHead& head);
  static void commit_to_upstream(Exchange& exchange);
  void refuse_response(ClientConnection& client, std::string_view reason);
  void answer_full(ClientConnection& client);
  void finish_response(ClientConnection& client);
  void upstream_ended(ClientConnection& client, bool clean);
  [[nodiscard]] bool may_send_again(const ClientConnection& client) const;
  [[nodiscard]] bool may_ask_another(const ClientConnection& client) const;
  void ask_another(ClientConnection& client);
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
  // Had their part of a turn, and have more to do.
  IntrusiveList<ClientConnection, &ClientConnection::in_run_again> run_again_;
  // Wait for the next connect attempt: a list for each back-off, so that the first is the next due.
  std::array<IntrusiveList<ClientConnection, &ClientConnection::in_held>, k_backoff_ms.size()>
      held_;
  std::unordered_map<std::string, std::size_t> held_by_host_;  // only while there are any
  // Whose handshake has something to do: of addresses within their rate, and of the others.
  std::array<IntrusiveList<ClientConnection, &ClientConnection::in_handshakes>, 2> handshakes_;
  // May be closed for room, the longest quiet first: idle ones, and those that have not got as far
  // as a request.
  std::array<IntrusiveList<ClientConnection, &ClientConnection::in_quiet>, 2> quiet_;
  IntrusiveList<UpstreamConnection, &UpstreamConnection::in_pools> pooled_;
  const std::size_t connections_max_;  // this worker's part, as the next one
  const std::int64_t requests_max_;
  const http::HttpLimits message_limits_;
  AddressRates handshake_rates_;
  TurnClock clock_;
  LogBudget log_;
  int reads_left_ = 0;  // of the connection's part of this turn
  bool in_handshakes_ = false;
  std::int64_t now_ms_ = 0;
  std::int64_t next_sweep_ms_ = 0;
  std::size_t rotation_ = 0;
  std::mt19937_64 random_;
};

}  // namespace atlasflow::edge
