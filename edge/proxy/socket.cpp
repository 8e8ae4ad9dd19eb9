#include "edge/proxy/socket.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <unistd.h>

namespace atlasflow::edge {
namespace {

constexpr int k_backlog = 4096;

std::string errno_text(int code) { return std::generic_category().message(code); }

void enable(int fd, int level, int option) {
  const int on = 1;
  // Cannot fail for a valid socket and these options.
  (void)::setsockopt(fd, level, option, &on, sizeof on);
}

}  // namespace

Result<SocketAddress> parse_socket_address(const std::string& text, std::uint16_t port) {
  SocketAddress address;
  if (text.starts_with("unix:")) {
    auto* path = reinterpret_cast<sockaddr_un*>(&address.storage);
    const std::string name = text.substr(5);
    if (name.empty() || name.front() != '/' || name.size() >= sizeof path->sun_path) {
      return fail(ErrorCode::invalid_argument,
                  "'" + text + "' is no unix socket; it must be unix:/path of at most 107 bytes");
    }
    path->sun_family = AF_UNIX;
    std::memcpy(path->sun_path, name.c_str(), name.size() + 1);
    address.bytes = sizeof(sockaddr_un);
    return address;
  }
  auto* four = reinterpret_cast<sockaddr_in*>(&address.storage);
  if (::inet_pton(AF_INET, text.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    address.bytes = sizeof(sockaddr_in);
    return address;
  }
  auto* six = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (::inet_pton(AF_INET6, text.c_str(), &six->sin6_addr) == 1) {
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    address.bytes = sizeof(sockaddr_in6);
    return address;
  }
  return fail(ErrorCode::invalid_argument, "'" + text + "' is not an IP address");
}

std::string address_text(const SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  if (address.family() == AF_INET) {
    bytes = &reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr;
  } else if (address.family() == AF_INET6) {
    bytes = &reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr;
  } else {
    return "unix";
  }
  if (::inet_ntop(address.family(), bytes, text.data(), text.size()) == nullptr) return "unknown";
  return text.data();
}

Result<FileDescriptor> listen_tcp(const std::string& address, std::uint16_t port, bool exclusive) {
  auto parsed = parse_socket_address(address, port);
  if (!parsed) return tl::unexpected(parsed.error());
  const std::string where = address + ":" + std::to_string(port);
  const auto open_bound = [&](bool share) -> Result<FileDescriptor> {
    FileDescriptor socket(
        ::socket(parsed->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) {
      return fail(ErrorCode::internal, "cannot open a socket for " + where, errno_text(errno));
    }
    enable(socket.get(), SOL_SOCKET, SO_REUSEADDR);
    if (share) enable(socket.get(), SOL_SOCKET, SO_REUSEPORT);
    enable(socket.get(), IPPROTO_TCP, TCP_NODELAY);  // inherited by what it accepts
    if (::bind(socket.get(), parsed->get(), parsed->bytes) != 0) {
      const int code = errno;
      return fail(code == EADDRINUSE ? ErrorCode::conflict : ErrorCode::unavailable,
                  "cannot listen on " + where + "; choose another address or stop what uses it",
                  errno_text(code));
    }
    return socket;
  };
  if (exclusive && port != 0) {
    if (auto probe = open_bound(false); !probe) return tl::unexpected(probe.error());
  }
  auto socket = open_bound(true);
  if (!socket) return socket;
  if (::listen(socket->get(), k_backlog) != 0) {
    return fail(ErrorCode::unavailable, "cannot listen on " + where, errno_text(errno));
  }
  return socket;
}

Dialled dial(const SocketAddress& address) {
  FileDescriptor socket(::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return {};
  if (address.family() != AF_UNIX) {
    const int on = 1;
    (void)::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  const int result = ::connect(socket.get(), address.get(), address.bytes);
  if (result != 0 && errno != EINPROGRESS) return {};
  return {std::move(socket), result != 0};
}

std::uint16_t local_port(const FileDescriptor& socket) {
  SocketAddress address;
  address.bytes = sizeof address.storage;
  if (::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.bytes) !=
      0) {
    return 0;
  }
  if (address.family() == AF_INET) {
    return ntohs(reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port);
  }
  return ntohs(reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port);
}

}  // namespace atlasflow::edge
