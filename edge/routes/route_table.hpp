// Which host goes where: the whole table, published at once under a generation. Values.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace atlasflow::edge {

struct Upstream {
  std::string vm_id;    // identity: two upstreams with one address are still two
  std::string address;  // IPv4 literal or "unix:/path" (the control plane's own API)
  std::uint16_t port = 0;
  friend bool operator==(const Upstream&, const Upstream&) = default;
};

// What an application speaks on its port.
enum class AppProtocol : std::uint8_t {
  http1,  // HTTP/1.1
  h2c,    // HTTP/2 without TLS, by prior knowledge (RFC 9113 section 3.3)
};

// What one visitor, and all of them, may ask of a project at most. 0: no limit.
struct RouteLimits {
  // Per second, of one client address (an IPv6 /64), with bursts of four seconds' worth; beyond it
  // 429 with Retry-After.
  std::int32_t request_rate = 0;
  // Unanswered at one upstream, websockets included; more wait for their turn, and then get 503
  // with Retry-After.
  std::int32_t concurrent_requests_max = 0;
  friend bool operator==(const RouteLimits&, const RouteLimits&) = default;
};

struct Route {
  std::string host;     // lower case, no port, no trailing dot
  std::string project;  // for logs and error pages
  std::string deployment;
  std::vector<Upstream> upstreams;  // empty: 503 with the reason below
  std::string unavailable_reason;
  // Another host that answers for this one: every request is sent there, to the same target, by
  // 308. Empty: none.
  std::string redirect_to = {};
  RouteLimits limits = {};
  // What the project says to visitors while it has no upstream.
  std::string unavailable_message = {};
  AppProtocol protocol = AppProtocol::http1;  // of all of its upstreams
  friend bool operator==(const Route&, const Route&) = default;
};

struct RouteTable {
  std::uint64_t generation = 0;  // a lower or equal one than the published is refused
  std::vector<Route> routes;     // one per host; a host twice is refused
};

}  // namespace atlasflow::edge
