// How a VM meets the network: QEMU's user-mode stack (no device on the host), reachable from the
// host's loopback by one port, and kept away from every service of the host by a packet filter that
// knows the VM by the user id of its QEMU. Blocking, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/error.hpp"
#include "vmm/disk/config_drive.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {

// Each VM's QEMU runs as base + its port, so no two VMs share a user. The range lies between those
// that systemd hands out (systemd, "Users, Groups, UIDs and GIDs").
inline constexpr uid_t k_vm_uid_base = 1'900'000'000;
[[nodiscard]] inline uid_t uid_of_port(std::uint16_t port) { return k_vm_uid_base + port; }

// A port of 127.0.0.1 that stays ours until the lease ends: the socket is bound and not listening,
// and SO_REUSEADDR lets QEMU bind and listen beside it while everybody else is refused.
struct PortLease {
  std::uint16_t port = 0;
  FileDescriptor socket;
};

// From 20000 to 31999, below the ephemeral ports: there a connect to a dead VM's port could meet
// itself.
[[nodiscard]] Result<PortLease> lease_port();

// Puts the packet filter (nftables, table "inet atlasflow_vmm") in place; replaces it atomically
// when it is there. Called before every start, since whoever reloads the host's rules wipes it.
[[nodiscard]] Result<void> guard_host();

// The addresses inside the guest: fixed, as each VM has a network of its own.
[[nodiscard]] GuestNetwork guest_network();

// Name servers in a resolv.conf that a guest can reach: those on the host's loopback are left out.
[[nodiscard]] std::vector<std::string> usable_nameservers(std::string_view resolv_conf);

}  // namespace atlasflow::vmm
