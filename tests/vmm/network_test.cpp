#include "vmm/network/network.hpp"

#include <set>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace atlasflow::vmm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

int bind_to(std::uint16_t port, bool reuse) {
  const FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = reuse ? 1 : 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return errno;
  return ::listen(fd.get(), 1) == 0 ? 0 : errno;
}

TEST(PortLease, keeps_others_off_and_lets_qemu_listen) {
  const auto lease = lease_port();
  ASSERT_TRUE(lease) << to_string(lease.error());
  EXPECT_GE(lease->port, 20'000);
  EXPECT_LT(lease->port, 32'000);
  EXPECT_EQ(bind_to(lease->port, false), EADDRINUSE);
  EXPECT_EQ(bind_to(lease->port, true), 0) << "QEMU sets SO_REUSEADDR";
}

TEST(PortLease, is_never_given_twice) {
  std::vector<PortLease> leases;
  std::set<std::uint16_t> ports;
  for (int i = 0; i < 300; ++i) {
    auto lease = lease_port();
    ASSERT_TRUE(lease);
    EXPECT_TRUE(ports.insert(lease->port).second);
    leases.push_back(std::move(*lease));
  }
}

TEST(NameServers, on_the_hosts_loopback_are_of_no_use_to_a_guest) {
  EXPECT_THAT(usable_nameservers("# comment\nnameserver 127.0.0.53\nsearch x\n"), IsEmpty());
  EXPECT_THAT(usable_nameservers("nameserver 192.0.2.1\nnameserver 127.0.0.1\nnameserver ::1\n"
                                 "nameserver  198.51.100.2 \nnameserver not-an-address\n"
                                 "nameserver 203.0.113.3\nnameserver 203.0.113.4\n"),
              ElementsAre("192.0.2.1", "198.51.100.2", "203.0.113.3"));
}

}  // namespace
}  // namespace atlasflow::vmm
