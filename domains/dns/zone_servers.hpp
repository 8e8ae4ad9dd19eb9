// Which name servers answer for a name: found by asking resolvers for NS records, from the name
// upwards. Free functions; they block, any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "domains/dns/dns_client.hpp"

namespace atlasflow::domains {

inline constexpr std::size_t k_zone_servers_max = 3;

// "a.b.example" gives itself, "b.example" and "example"; at most ten.
[[nodiscard]] std::vector<std::string> name_and_parents(const std::string& name);

[[nodiscard]] std::vector<DnsRecord> records_at(const DnsMessage& message, const std::string& name,
                                                DnsType type);

// One address of each of the first servers of a zone, of IPv4 where it has one that this machine
// has a route to, else of IPv6: they need not all be asked, and none of them is required.
// private_too: also those that are none of the internet's.
using AskServers = std::function<std::vector<DnsAnswer>(const std::vector<DnsQuestion>&)>;
[[nodiscard]] std::vector<std::string> zone_server_addresses(const std::vector<std::string>& names,
                                                             bool private_too,
                                                             const std::string& resolver,
                                                             const AskServers& ask);

// The addresses, without a port, of servers of the closest zone that has the name. Empty: no
// resolver tells of any.
[[nodiscard]] std::vector<std::string> servers_of_zone_with(
    const std::string& name, const std::vector<std::string>& resolvers, const DnsPatience& patience,
    const std::stop_token& stop);

// Where the CNAMEs from a name lead, at most eight of them; the name itself when there is none.
// unavailable: no resolver could say. conflict: there are more, as of a loop.
[[nodiscard]] Result<std::string> end_of_aliases(const std::string& name,
                                                 const std::vector<std::string>& resolvers,
                                                 const DnsPatience& patience,
                                                 const std::stop_token& stop);

}  // namespace atlasflow::domains
