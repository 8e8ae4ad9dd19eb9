#include "vmm/network/network.hpp"

#include <cerrno>
#include <cstring>
#include <random>
#include <sstream>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/file.hpp"

namespace atlasflow::vmm {
namespace {

constexpr unsigned k_port_first = 20'000;
constexpr unsigned k_port_count = 12'000;

std::string filter_rules() {
  const std::string uids = std::to_string(k_vm_uid_base + k_port_first) + "-" +
                           std::to_string(k_vm_uid_base + k_port_first + k_port_count - 1);
  // Without conntrack, whose table the edge's connections would fill: a connection is refused at
  // its SYN, and the answers on the forwarded port have SYN and ACK set. What a guest may reach on
  // the host is what the public may: ports 80 and 443 on an address that is not loopback.
  return "table inet atlasflow_vmm\n"
         "delete table inet atlasflow_vmm\n"
         "table inet atlasflow_vmm {\n"
         "  chain output {\n"
         "    type filter hook output priority -10; policy accept;\n"
         "    meta skuid " +
         uids +
         " jump guest\n"
         "  }\n"
         "  chain guest {\n"
         "    meta l4proto tcp tcp flags & (syn | ack) != syn accept\n"
         "    ip daddr 127.0.0.0/8 jump refuse\n"
         "    ip6 daddr ::1 jump refuse\n"
         "    ip daddr 169.254.0.0/16 jump refuse\n"
         "    ip6 daddr fe80::/10 jump refuse\n"
         "    fib daddr type local tcp dport { 80, 443 } accept\n"
         "    fib daddr type local jump refuse\n"
         "  }\n"
         "  chain refuse {\n"
         "    meta l4proto tcp reject with tcp reset\n"
         "    drop\n"
         "  }\n"
         "}\n";
}

}  // namespace

Result<PortLease> lease_port() {
  thread_local std::minstd_rand random{std::random_device{}()};
  const unsigned offset = static_cast<unsigned>(random()) % k_port_count;
  for (unsigned i = 0; i < k_port_count; ++i) {
    PortLease lease;
    lease.port = static_cast<std::uint16_t>(k_port_first + (offset + i) % k_port_count);
    lease.socket = FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!lease.socket) break;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(lease.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(lease.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) !=
        0) {
      continue;
    }
    // Only after the bind, which so was exclusive: another lease, that also binds without the
    // option, is refused; QEMU, which binds with it, is let in.
    const int on = 1;
    ::setsockopt(lease.socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return lease;
  }
  return fail(ErrorCode::unavailable, "no free port for a VM on the loopback address",
              std::strerror(errno));
}

Result<void> guard_host() {
  const auto applied = run_tool({"nft", "-f", "-"}, std::chrono::seconds(20), {}, filter_rules());
  if (!applied) {
    return fail(ErrorCode::unavailable,
                "cannot set the packet filter that keeps VMs away from this host's services; "
                "nftables and the capability NET_ADMIN are needed",
                to_string(applied.error()));
  }
  return {};
}

GuestNetwork guest_network() {
  GuestNetwork network{"10.0.2.15", "255.255.255.0", "10.0.2.2", {}};
  // The second file is systemd-resolved's list of the real servers behind its own on loopback.
  for (const char* path : {"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}) {
    const auto text = read_file(path, 64 * 1024);
    if (!text) continue;
    network.nameservers = usable_nameservers(*text);
    if (!network.nameservers.empty()) break;
  }
  return network;
}

std::vector<std::string> usable_nameservers(std::string_view resolv_conf) {
  std::vector<std::string> servers;
  std::istringstream lines{std::string(resolv_conf)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string keyword;
    std::string server;
    in_addr address{};
    // resolv.conf(5): at most three are used. The guest has IPv4 only.
    if (words >> keyword >> server && keyword == "nameserver" && servers.size() < 3 &&
        ::inet_pton(AF_INET, server.c_str(), &address) == 1 &&
        (ntohl(address.s_addr) >> 24) != 127) {
      servers.push_back(server);
    }
  }
  return servers;
}

}  // namespace atlasflow::vmm
