// What the world's name servers say of a custom domain at this moment: asked of every resolver that
// is configured, and of the zone's own servers for the proof of ownership, which a resolver may
// know in an older state. Only what was seen; what it means is events/'s. Owned by the composition
// root; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "domains/dns/dns_client.hpp"
#include "events/event.pb.h"

namespace atlasflow::domains {

struct LookupConfig {
  std::vector<std::string> resolvers;  // "192.0.2.53", with a port or without; empty: the system's
  DnsPatience patience = {};
  std::chrono::milliseconds in_all{14'000};
  std::uint16_t zone_server_port = 53;
  // The zone's owner names its servers, and could name machines that only this one reaches.
  bool private_zone_servers = false;
};

inline constexpr std::size_t k_resolvers_max = 4;
inline constexpr std::size_t k_cname_links_max = 8;
inline constexpr std::size_t k_records_max = 32;        // of one server
inline constexpr std::size_t k_record_bytes_max = 255;  // of a value

class DomainLookup {
 public:
  // invalid_argument: a resolver is no address. not_found: there is none at all.
  [[nodiscard]] static Result<DomainLookup> make(LookupConfig config);

  // A and AAAA of `domain` with the CNAMEs that lead there, TXT of `ownership_name` (no CNAME is
  // followed from there: a wildcard that leads to somebody else would be their proof), CAA of the
  // closest name that has some (RFC 8659 section 3). NXDOMAIN is an answer without records.
  // Names in lower case without a trailing dot.
  [[nodiscard]] pb::DnsObservation look_up(const std::string& domain,
                                           const std::string& ownership_name,
                                           const std::stop_token& stop) const;

 private:
  explicit DomainLookup(LookupConfig config) : config_(std::move(config)) {}
  LookupConfig config_;
  std::vector<std::string> resolvers_;
};

// Whether an address is one of the internet's: no loopback, private, link-local, shared or
// multicast one (RFC 6890). IPv4 or IPv6 as text.
[[nodiscard]] bool is_public_address(const std::string& address);

}  // namespace atlasflow::domains
