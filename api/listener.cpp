#include "api/listener.hpp"

#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

namespace atlasflow::api {
namespace {

constexpr int k_backlog = 256;

std::string errno_text(int error) { return std::generic_category().message(error); }

sockaddr_un unix_address(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.native().size());
  return address;
}

template <typename Address>
const sockaddr* generic(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Removes what a dead server left at the path; conflict when somebody listens there.
Result<void> clear_stale_socket(const std::filesystem::path& path) {
  struct stat file {};
  if (::lstat(path.c_str(), &file) != 0) {
    if (errno == ENOENT) return {};
    return fail(ErrorCode::internal, "The socket " + path.string() + " cannot be looked at.",
                errno_text(errno));
  }
  if (!S_ISSOCK(file.st_mode)) {
    return fail(ErrorCode::conflict, path.string() + " exists and is not a socket; move it away.");
  }
  const FileDescriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) {
    return fail(ErrorCode::internal, "No socket can be made.", errno_text(errno));
  }
  const auto address = unix_address(path);
  const bool connected = ::connect(probe.get(), generic(address), sizeof(address)) == 0;
  // EAGAIN: somebody listens whose backlog is full.
  if (connected || errno != ECONNREFUSED) {
    return fail(ErrorCode::conflict,
                "Another Atlasflow server runs on " + path.string() +
                    "; stop it first, or give this one a state folder of its own.",
                connected ? "" : errno_text(errno));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return fail(ErrorCode::internal, "The stale socket " + path.string() + " cannot be removed.",
                errno_text(errno));
  }
  return {};
}

}  // namespace

Result<Listener> Listener::on_unix_socket(const std::filesystem::path& path) {
  if (path.native().size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(ErrorCode::invalid_argument,
                "The socket's path " + path.string() +
                    " is longer than the 107 bytes that unix sockets allow; choose a shorter state "
                    "folder.");
  }
  ATLAS_TRYV(clear_stale_socket(path));
  Listener listener;
  listener.fd_ = FileDescriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // Linux gives the file the mode of the unbound socket, so it is never open to others, not even
  // between bind() and a chmod(); the umask of the process stays untouched.
  const auto address = unix_address(path);
  if (!listener.fd_.valid() || ::fchmod(listener.fd(), 0600) != 0 ||
      ::bind(listener.fd(), generic(address), sizeof(address)) != 0 ||
      ::listen(listener.fd(), k_backlog) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) {
      return fail(ErrorCode::conflict,
                  "Another Atlasflow server just started on " + path.string() + "; stop one.");
    }
    return fail(ErrorCode::invalid_argument,
                "The API cannot listen on " + path.string() +
                    "; see that its folder exists and is "
                    "writable.",
                errno_text(error));
  }
  struct stat file {};
  if (::lstat(path.c_str(), &file) != 0) {
    return fail(ErrorCode::internal, "The socket " + path.string() + " vanished.",
                errno_text(errno));
  }
  listener.path_ = path;
  listener.device_ = file.st_dev;
  listener.inode_ = file.st_ino;
  listener.name_ = path.string();
  return listener;
}

Result<Listener> Listener::on_tcp(const std::string& address, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return fail(ErrorCode::invalid_argument,
                "'" + address + "' is no IP address that the webhook listener can use.");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  Listener listener;
  listener.fd_ =
      FileDescriptor(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!listener.fd_.valid() ||
      ::setsockopt(listener.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      ::bind(listener.fd(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::listen(listener.fd(), k_backlog) != 0) {
    return fail(ErrorCode::conflict,
                "The webhook listener cannot use " + address + " port " + std::to_string(port) +
                    "; free it or set another webhook_listen.",
                errno_text(errno));
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  if (::getsockname(listener.fd(), reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    return fail(ErrorCode::internal, "The webhook listener's port is not known.",
                errno_text(errno));
  }
  listener.port_ =
      ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&bound)->sin6_port
                                        : reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
  listener.name_ = address + ":" + std::to_string(listener.port_);
  return listener;
}

Listener::~Listener() {
  if (!fd_.valid() || path_.empty()) return;
  struct stat file {};
  if (::lstat(path_.c_str(), &file) == 0 && file.st_dev == device_ && file.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

}  // namespace atlasflow::api
