// Asks name servers, by c-ares: many questions at once, each of one server, within one time. No
// cache, no search list, no hosts file. A free function; it blocks, any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "domains/dns/dns_message.hpp"

namespace atlasflow::domains {

struct DnsQuestion {
  std::string server;  // "192.0.2.53:53", "[2001:db8::53]:53"
  std::string name;
  DnsType type = DnsType::a;
  bool recursive = true;  // false: asked of a server of the zone, which answers for itself only
};

// As DnsQuestion has it, of an address without brackets.
[[nodiscard]] std::string server_at(const std::string& address, std::uint16_t port);

// A message with NOERROR or NXDOMAIN is an answer. Everything else is an error that says of which
// server: unavailable (SERVFAIL, REFUSED and the like, or it is not reached), timed_out, corrupt.
using DnsAnswer = Result<DnsMessage>;

struct DnsPatience {
  std::chrono::milliseconds per_try{1'500};  // the second one waits longer
  int tries = 2;
  std::chrono::milliseconds in_all{5'000};
};

// The answers in the order of the questions; what has none when the time is over is timed_out. A
// truncated answer is asked for again by TCP.
[[nodiscard]] std::vector<DnsAnswer> ask(const std::vector<DnsQuestion>& questions,
                                         const DnsPatience& patience, const std::stop_token& stop);

// "address", "address:port", "[address]:port" with the port added; invalid_argument: none of these.
[[nodiscard]] Result<std::string> parse_dns_server(const std::string& text);

// Those of /etc/resolv.conf.
[[nodiscard]] std::vector<std::string> system_dns_servers();

}  // namespace atlasflow::domains
