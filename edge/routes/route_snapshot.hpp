// What the workers route by. A snapshot is immutable and replaced as a whole; a target outlives its
// snapshots and holds the per-worker counts by which the edge knows when it has drained.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "edge/proxy/socket.hpp"
#include "edge/routes/route_table.hpp"
#include "edge/tls/certificate.hpp"

namespace atlasflow::edge {

class H2cConnection;
struct UpstreamConnection;

// One upstream. Each cell belongs to one worker: only that worker writes it, anybody may read the
// atomics. A target is freed when it is retired, no worker uses a snapshot that names it, and all
// of its counts are zero; a worker's last access is therefore the decrement of a count.
class Target {
 public:
  struct alignas(64) Cell {
    std::atomic<std::int64_t> in_flight{0};
    std::atomic<std::int64_t> connections{0};
    std::int64_t avoid_until_ms =
        0;  // after a connect that failed, others are preferred until then
    std::vector<UpstreamConnection*> idle;
    std::vector<H2cConnection*> h2c;      // all of them, when it speaks that
    std::uint32_t h2c_streams_max = 100;  // of each, as the last one said
  };

  Target(Upstream named, AppProtocol spoken, SocketAddress resolved, std::size_t workers)
      : upstream(std::move(named)),
        protocol(spoken),
        address(resolved),
        cells(std::make_unique<Cell[]>(workers)),
        workers_(workers) {}

  [[nodiscard]] std::int64_t in_flight() const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < workers_; ++i) sum += cells[i].in_flight.load();
    return sum;
  }
  [[nodiscard]] bool unused() const {
    std::int64_t sum = in_flight();
    for (std::size_t i = 0; i < workers_; ++i) sum += cells[i].connections.load();
    return sum == 0;
  }

  const Upstream upstream;
  const AppProtocol protocol;
  const SocketAddress address;
  std::atomic<bool> retired{false};   // not in the table: pool no connection
  std::atomic<bool> draining{false};  // somebody waits for in_flight() to reach zero
  const std::unique_ptr<Cell[]> cells;

 private:
  std::size_t workers_;
};

struct RouteEntry {
  std::string host;
  std::string project;
  std::string deployment;
  std::string unavailable_reason;
  std::string redirect_to;
  RouteLimits limits;
  std::string unavailable_message;
  std::uint64_t rate_key = 0;  // the project's, in the table of rates
  std::vector<Target*> targets = {};
  std::uint16_t project_number = 0;  // edge/observe's
};

// Token to key authorization, of one host.
using ChallengeAnswers = HostMap<std::string>;

// Immutable once published; freed by the publisher when every worker has passed on.
struct RouteSnapshot {
  std::uint64_t serial = 0;  // counts snapshots: the own route changes without a new generation
  HostMap<RouteEntry> routes;
  std::shared_ptr<const CertificateMap> certificates;
  std::shared_ptr<const HostMap<ChallengeAnswers>> challenges;

  [[nodiscard]] const RouteEntry* find(std::string_view host) const {
    const auto it = routes.find(host);
    return it == routes.end() ? nullptr : &it->second;
  }

  // What the token's path answers at this host; nullptr: it is none of its tokens.
  [[nodiscard]] const std::string* challenge(std::string_view host, std::string_view token) const {
    const auto answers = challenges->find(host);
    if (answers == challenges->end()) return nullptr;
    const auto found = answers->second.find(token);
    return found == answers->second.end() ? nullptr : &found->second;
  }
};

}  // namespace atlasflow::edge
