// What an edge without a control plane serves (lone_edge.hpp): routes from a file of JSON,
// certificates from a folder. Free functions; any thread.
//
//   {"routes": [
//     {"host": "shop.example.org", "targets": ["10.0.0.7:3000", "[::1]:3000"],
//      "request_rate": 50, "max_concurrent_requests": 100, "unavailable_message": "Back at 14:00"},
//     {"host": "www.shop.example.org", "redirect_to": "shop.example.org"}]}
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "edge/routes/route_table.hpp"
#include "edge/tls/host_certificate.hpp"

namespace atlasflow::edge {

// "10.0.0.7:3000" or "[::1]:3000"; port 0 when `any_port` is right.
struct HostAndPort {
  std::string address;
  std::uint16_t port = 0;
};
[[nodiscard]] Result<HostAndPort> parse_host_and_port(const std::string& text, bool any_port);

// invalid_argument: what is wrong, with the route's number and member. Hosts and addresses are
// looked at by whoever publishes the table.
[[nodiscard]] Result<std::vector<Route>> parse_routes(std::string_view json);
// At most 64 MiB.
[[nodiscard]] Result<std::vector<Route>> load_routes(const std::filesystem::path& file);

// Of each HOST.pem in the folder, the chain with the leaf first, and HOST.key beside it. HOST may
// be "*.example.org". A symbolic link is followed.
[[nodiscard]] Result<std::vector<HostCertificate>> load_certificates(
    const std::filesystem::path& folder);

}  // namespace atlasflow::edge
