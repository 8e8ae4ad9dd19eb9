// The data plane: terminates TLS, maps hosts to upstreams, forwards. Worker threads of its own,
// each with an epoll loop; no CAF and no lock on the data path. The public calls may come from any
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "edge/proxy/socket.hpp"
#include "edge/routes/route_table.hpp"
#include "edge/tls/host_certificate.hpp"
#include "edge/tls/ticket_keys.hpp"

namespace atlasflow::edge {

// How long the edge waits for whom. A slow client may hold a connection, never an upstream's
// worker.
struct EdgeTimeouts {
  std::chrono::milliseconds tls_handshake{10'000};
  std::chrono::milliseconds request_head{10'000};  // the whole head, not per byte
  std::chrono::milliseconds keep_alive{60'000};    // between two requests of a client
  std::chrono::milliseconds request_body_idle{30'000};
  std::chrono::milliseconds client_write_idle{60'000};
  std::chrono::milliseconds connect{2'000};
  std::chrono::milliseconds connect_retry{5'000};  // how long a request is held for a connection
  std::chrono::milliseconds response_head{60'000};
  std::chrono::milliseconds response_idle{3'600'000};  // long: event streams are silent for minutes
  std::chrono::milliseconds tunnel_idle{3'600'000};
  std::chrono::milliseconds upstream_idle{4'000};  // below the 5 s at which Node closes
  // Without a byte for a client that has ended its sending side: it may still listen, or have left.
  std::chrono::milliseconds half_closed{10'000};
  // For the answer of an HTTP/2 client to the news that its connection is about to end: what it has
  // sent until then is served.
  std::chrono::milliseconds farewell{5'000};
};

// What one client, or one application, may hold of what all of them share. 0 for
// connections_max: as many as the limit on open files allows.
struct EdgeLimits {
  // Of clients and to upstreams together. Near it the connections that idle longest are closed.
  std::int32_t connections_max = 0;
  // Of one IPv4 address or IPv6 /64; never more than half of all.
  std::int32_t connections_per_address = 1'024;
  // Unanswered at one instance, websockets included; never more than a quarter of all connections.
  // Beyond it: 503 with Retry-After.
  std::int32_t requests_per_instance = 2'048;
  // New TLS handshakes per second of one address, with bursts of four seconds' worth; what is
  // beyond waits until those of others are done. 0: no limit.
  std::int32_t handshakes_per_address = 50;
  // Bytes per second at which the body of a request must arrive, on average over the time that was
  // spent waiting for it and after the first `request_body_idle`: a byte now and then would hold an
  // instance's attention for ever. 0: no limit.
  std::int32_t request_body_rate_min = 256;
  // Of a message's head; http::HttpLimits says what is answered beyond them.
  std::int32_t url_bytes_max = 16 * 1024;
  std::int32_t head_bytes_max = 32 * 1024;
  std::int32_t fields_max = 200;
  // Bytes that connections and what is under way on them may hold; beyond it those that idle are
  // closed, and when there is none new requests get 503. 0: a quarter of the machine's memory.
  std::int64_t memory_max = 0;
};

struct EdgeConfig {
  std::string http_address = "127.0.0.1";
  std::uint16_t http_port = 0;  // 0: the kernel chooses; see Edge::http_port
  std::string https_address = "127.0.0.1";
  std::uint16_t https_port = 0;
  std::string domain = "atlasflow.localhost";
  std::filesystem::path ca_dir;  // the local CA's key and certificate; made on first start
  bool redirect_http = true;     // plain HTTP answers 308 (301 for GET and HEAD) to https
  // For how long browsers are told to ask hosts of the domain over https only (RFC 6797), where an
  // application does not say so itself; 0: not. Domains from elsewhere are their owners' to bind.
  std::int64_t hsts_max_age_s = 0;
  // Where a line of JSON is written for each request, in a file for each project; empty: none is.
  std::filesystem::path access_log_dir;
  std::int64_t access_log_bytes = std::int64_t{16} << 20U;  // kept of each project's
  EdgeTimeouts timeouts;
  EdgeLimits limits;
  int workers = 0;  // 0: one per core
};

// Of hosts, in one edge.
inline constexpr std::size_t k_certificates_max = 100'000;
inline constexpr std::size_t k_challenges_max = 10'000;

class Edge {
 public:
  virtual ~Edge() = default;

  // Makes the table the one that every worker uses; returns when all of them do (a few
  // milliseconds). Requests in flight finish on the upstream that they have. conflict: generation
  // not higher.
  [[nodiscard]] virtual Result<void> publish(const RouteTable& table) = 0;
  [[nodiscard]] virtual std::uint64_t generation() const = 0;

  // The control plane's own host, which is in no published table: this changes that route only, at
  // any time, and leaves the table and its generation as they are.
  [[nodiscard]] virtual Result<void> set_own_route(const Route& route) = 0;

  // Certificates for single hosts, in place of those that were shown for them, and hosts that have
  // none of their own any more. Whatever handshake begins after the return, on any worker, has them
  // (a few milliseconds); connections that are open go on. Hosts need no route, and what other
  // hosts show stays. invalid_argument: one of them is no chain and its key for its host.
  // unavailable: there would be more than k_certificates_max. Nothing has changed then.
  [[nodiscard]] virtual Result<void> change_certificates(
      const std::vector<HostCertificate>& shown, const std::vector<std::string>& removed) = 0;
  // Host to fingerprint: SHA-256 of the leaf's DER form.
  [[nodiscard]] virtual std::map<std::string, std::string> certificates() const = 0;

  // All challenges that a public CA is to find answered, whether the host has a route or not: over
  // plain HTTP only and before any redirect, or by handshakes that offer acme-tls/1 and nothing
  // else. Any other path and handshake of these hosts is served as ever.
  [[nodiscard]] virtual Result<void> set_challenges(const std::vector<Challenge>& challenges) = 0;

  // What is in force.
  [[nodiscard]] virtual RouteTable table() const = 0;
  [[nodiscard]] virtual std::optional<Route> own_route() const = 0;

  // Waits until no request is in flight on the upstream, or the deadline has passed; then cuts what
  // is left. Returns how many were cut. Call it after a publish that no longer names the upstream.
  [[nodiscard]] virtual std::uint64_t drain(const std::string& vm_id,
                                            std::chrono::milliseconds deadline) = 0;

  [[nodiscard]] virtual std::uint16_t http_port() const = 0;
  [[nodiscard]] virtual std::uint16_t https_port() const = 0;
  [[nodiscard]] virtual std::filesystem::path ca_certificate() const = 0;  // PEM, for curl --cacert

  // For Prometheus, in its text format (version 0.0.4).
  [[nodiscard]] virtual std::string metrics() const = 0;

  // For people: which process, which ports, how many hosts.
  [[nodiscard]] virtual std::string describe() const = 0;
};

// An edge whose workers are threads of this process. Its end closes listeners and connections.
class LocalEdge : public Edge {
 public:
  // Drains, now and later, cut at once: for a stop, which must not wait for them.
  virtual void end_drains() = 0;

  // The listening sockets, for a process that takes this one's place. They stay this edge's own.
  struct ListenerNumbers {
    std::vector<int> http;
    std::vector<int> https;
  };
  [[nodiscard]] virtual ListenerNumbers listeners() const = 0;

  // What a process that takes this one's place is to have of it: keys among it. In the order of
  // hosts, those behind `after`; as many as fit into so many bytes, and at least one.
  [[nodiscard]] virtual std::vector<HostCertificate> certificates_behind(
      const std::string& after, std::size_t bytes_max) const = 0;
  [[nodiscard]] virtual std::vector<Challenge> challenges() const = 0;
  [[nodiscard]] virtual TicketSecret tickets() const = 0;

  // Accepts nothing more, and ends each connection with its next answer. After `idle` those that
  // serve nothing are closed; others (a websocket, a long answer) have until `busy`. Returns when
  // the last has gone, that has passed or end_drains() was called.
  virtual void retire(std::chrono::milliseconds idle, std::chrono::milliseconds busy) = 0;
};

// What an edge takes over from the one before. The first request already meets this table.
struct EdgeInheritance {
  RouteTable table;
  std::optional<Route> own_route;
  std::vector<HostCertificate> certificates;
  std::vector<Challenge> challenges;
  std::optional<TicketSecret> tickets;         // sessions with the process before are resumed
  std::vector<FileDescriptor> http_listeners;  // both or none
  std::vector<FileDescriptor> https_listeners;
};

[[nodiscard]] Result<std::unique_ptr<LocalEdge>> start_edge(const EdgeConfig& config,
                                                            EdgeInheritance inheritance = {});

}  // namespace atlasflow::edge
