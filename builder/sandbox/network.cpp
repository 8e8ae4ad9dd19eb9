#include "builder/sandbox/network.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string_view>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_network_deadline{5'000};

// What no public registry is reached by. slirp4netns' own network, 10.0.2.0/24, is a more specific
// route than these and stays.
constexpr std::array<const char*, 8> k_private_networks = {
    "0.0.0.0/8",     "10.0.0.0/8",     "100.64.0.0/10", "169.254.0.0/16",
    "172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"};
constexpr const char* k_gateway = "10.0.2.2";

// slirp4netns turns the sandbox's connections into sockets of the host, so what the host reaches, a
// build reaches: other microVMs, and services that trust their network. They are cut off by routes
// that only the owner of the network namespace could change, and a RUN step has no such capability.
std::string routes(const std::vector<std::string>& allowed) {
  std::string batch;
  for (const char* network : k_private_networks) {
    batch += "route replace unreachable " + std::string(network) + "\n";
  }
  for (const std::string& network : allowed) {
    batch += "route replace " + network + " via " + k_gateway + "\n";
  }
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return batch;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET) continue;
    if ((i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    std::array<char, INET_ADDRSTRLEN> text{};
    const auto* address = reinterpret_cast<const sockaddr_in*>(i->ifa_addr);
    if (::inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size()) != nullptr) {
      batch += "route replace unreachable " + std::string(text.data()) + "/32\n";
    }
  }
  ::freeifaddrs(list);
  return batch;
}

const std::vector<std::string>& tool_environment() {
  static const std::vector<std::string> environment = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"};
  return environment;
}

Result<void> set_routes(pid_t pid, const std::vector<std::string>& allowed,
                        const fs::path& scratch) {
  const fs::path batch = scratch / "routes";
  // Not synced: it is read at once and then removed.
  ATLAS_TRYV(replace_file(batch, routes(allowed), 0600, Sync::skipped));
  SpawnRequest request;
  request.argv = {find_program("nsenter"),
                  "--net=/proc/" + std::to_string(pid) + "/ns/net",
                  "--",
                  find_program("ip"),
                  "-batch",
                  batch.string()};
  request.environment = tool_environment();
  std::string said;
  auto ran = run_process(std::move(request), k_network_deadline, {},
                         [&said](std::string_view text) { said += text; });
  std::error_code ignored;
  fs::remove(batch, ignored);
  if (!ran) return tl::unexpected(ran.error());
  if (ran->exit_code != 0 || ran->end != RunOutcome::End::exited) {
    return fail(ErrorCode::unavailable, "the build's network could not be closed off", said);
  }
  return {};
}

Result<Process> attach_slirp(pid_t pid) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::unavailable, "no pipe could be made", std::strerror(errno));
  }
  const FileDescriptor ready_read(fds[0]);
  FileDescriptor ready_write(fds[1]);
  SpawnRequest request;
  request.argv = {find_program("slirp4netns"),
                  "--configure",
                  "--mtu=65520",
                  "--disable-host-loopback",
                  "--enable-sandbox",
                  "--enable-seccomp",
                  "--ready-fd=3",
                  std::to_string(pid),
                  "tap0"};
  request.environment = tool_environment();
  request.inherit = {ready_write.get()};
  if (request.argv.front().empty()) {
    return fail(ErrorCode::unavailable, "slirp4netns is not installed");
  }
  auto process = spawn_process(request);
  if (!process) return process;
  ready_write.reset();
  pollfd poll_fd{ready_read.get(), POLLIN, 0};
  char byte = 0;
  if (::poll(&poll_fd, 1, static_cast<int>(k_network_deadline.count())) != 1 ||
      ::read(ready_read.get(), &byte, 1) != 1) {
    return fail(ErrorCode::unavailable, "slirp4netns could not join the build's network namespace");
  }
  return process;
}

}  // namespace

int raise_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  ifreq request{};
  ::memcpy(request.ifr_name, "lo", 3);
  int error = ::ioctl(fd, SIOCGIFFLAGS, &request) != 0 ? errno : 0;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (error == 0 && ::ioctl(fd, SIOCSIFFLAGS, &request) != 0) error = errno;
  ::close(fd);
  return error;
}

Result<Process> join_internet(pid_t pid, const std::vector<std::string>& allowed,
                              const fs::path& scratch) {
  auto slirp = attach_slirp(pid);
  if (!slirp) return slirp;
  ATLAS_TRYV(set_routes(pid, allowed, scratch));
  return slirp;
}

}  // namespace atlasflow::builder
