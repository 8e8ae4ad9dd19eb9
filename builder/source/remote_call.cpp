#include "builder/source/remote_call.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <git2.h>
#include <git2/sys/stream.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file_descriptor.hpp"
#include "events/ssh_address.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::milliseconds;

constexpr auto k_connect_max = std::chrono::seconds(10);  // to one of the host's addresses
constexpr auto k_look = milliseconds(50);

thread_local RemoteCall* t_call = nullptr;

// What libgit2's SSH transport takes a socket's stream for: git_socket_stream of its
// src/libgit2/streams/socket.h, whose descriptor libssh2 is given. Every other transport calls the
// functions in `parent`.
static_assert(LIBGIT2_VER_MAJOR == 1 && LIBGIT2_VER_MINOR == 5,
              "look whether git_socket_stream is still this");
struct SocketStream {
  git_stream parent{};
  char* host = nullptr;
  char* port = nullptr;
  int descriptor = -1;
};

struct Stream : SocketStream {
  using OnStop = std::stop_callback<std::function<void()>>;

  RemoteCall* call = nullptr;
  FileDescriptor owned;
  std::optional<OnStop> on_stop;  // shuts the descriptor down
  std::jthread counts;            // of SSH, what nobody reads through us
  std::string host_text;
  std::string port_text;
};

Stream& stream_of(git_stream* stream) {
  return static_cast<Stream&>(*reinterpret_cast<SocketStream*>(stream));
}

int failed(const std::string& why) {
  git_error_set_str(GIT_ERROR_NET, why.c_str());
  return -1;
}

bool is_over(const RemoteCall* call) { return call != nullptr && call->stop().stop_requested(); }

struct Addresses {
  addrinfo* list = nullptr;
  ~Addresses() {
    if (list != nullptr) ::freeaddrinfo(list);
  }
};

// Waits in short looks, so that a stop counts.
bool wait_for_connection(int descriptor, const RemoteCall* call) {
  const auto until = std::chrono::steady_clock::now() + k_connect_max;
  while (!is_over(call) && std::chrono::steady_clock::now() < until) {
    pollfd waits{descriptor, POLLOUT, 0};
    if (::poll(&waits, 1, static_cast<int>(k_look.count())) <= 0) continue;
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return false;
    errno = error;
    return error == 0;
  }
  errno = ETIMEDOUT;
  return false;
}

bool set_blocking(int descriptor) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  return flags >= 0 && ::fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

FileDescriptor connected(const addrinfo& address, const RemoteCall* call) {
  FileDescriptor socket(
      ::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return {};
  const bool begun = ::connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0;
  if (!begun && errno != EINPROGRESS) return {};
  if (!begun && !wait_for_connection(socket.get(), call)) return {};
  if (!set_blocking(socket.get())) return {};
  return socket;
}

// libssh2 reads the descriptor itself: the kernel knows how much it was.
void count_received(const std::stop_token& ended, int descriptor, RemoteCall& call) {
  std::uint64_t counted = 0;
  while (!ended.stop_requested()) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
    const std::uint64_t received = info.tcpi_bytes_received;
    if (!call.takes(received - counted)) {
      ::shutdown(descriptor, SHUT_RDWR);
      return;
    }
    counted = received;
    std::this_thread::sleep_for(k_look);
  }
}

int on_connect(git_stream* raw) {
  auto& stream = stream_of(raw);
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  Addresses addresses;
  if (const int code = ::getaddrinfo(stream.host, stream.port, &hints, &addresses.list);
      code != 0) {
    return failed(std::string("failed to resolve address for ") + stream.host + ": " +
                  ::gai_strerror(code));
  }
  int error = EHOSTUNREACH;
  for (const auto* each = addresses.list; each != nullptr; each = each->ai_next) {
    if (is_over(stream.call)) break;
    auto socket = connected(*each, stream.call);
    if (!socket.valid()) {
      error = errno;
      continue;
    }
    stream.owned = std::move(socket);
    stream.descriptor = stream.owned.get();
    if (stream.call == nullptr) return 0;
    const int descriptor = stream.descriptor;
    stream.on_stop.emplace(stream.call->stop(),
                           [descriptor] { ::shutdown(descriptor, SHUT_RDWR); });
    if (stream.call->is_ssh()) {
      stream.counts = std::jthread([descriptor, call = stream.call](const std::stop_token& ended) {
        count_received(ended, descriptor, *call);
      });
    }
    return 0;
  }
  return failed(std::string("failed to connect to ") + stream.host + ": " + std::strerror(error));
}

ssize_t on_read(git_stream* raw, void* into, std::size_t size) {
  auto& stream = stream_of(raw);
  ssize_t count = 0;
  do {
    count = ::recv(stream.descriptor, into, size, 0);
  } while (count < 0 && errno == EINTR);
  if (is_over(stream.call)) return failed("the connection was given up");
  if (count < 0)
    return failed(std::string("error receiving data from socket: ") + std::strerror(errno));
  if (stream.call != nullptr && !stream.call->takes(static_cast<std::uint64_t>(count))) {
    return failed("it names too many branches");
  }
  return count;
}

ssize_t on_write(git_stream* raw, const char* data, std::size_t size, int flags) {
  auto& stream = stream_of(raw);
  ssize_t count = 0;
  do {
    count = ::send(stream.descriptor, data, size, flags | MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (is_over(stream.call)) return failed("the connection was given up");
  if (count < 0)
    return failed(std::string("error sending data to socket: ") + std::strerror(errno));
  return count;
}

int on_close(git_stream* raw) {
  auto& stream = stream_of(raw);
  // Nobody may know the descriptor's number once it is another's.
  stream.on_stop.reset();
  if (stream.counts.joinable()) {
    stream.counts.request_stop();
    stream.counts.join();
  }
  stream.owned = FileDescriptor();
  stream.descriptor = -1;
  return 0;
}

void on_free(git_stream* raw) {
  on_close(raw);
  const std::unique_ptr<Stream> owned(&stream_of(raw));
}

int make_stream(git_stream** out, const char* host, const char* port) {
  // Freed by on_free, which libgit2 calls.
  auto stream = std::make_unique<Stream>();
  stream->host_text = host;
  stream->port_text = port;
  stream->host = stream->host_text.data();
  stream->port = stream->port_text.data();
  stream->call = RemoteCall::of_this_thread();
  stream->parent.version = GIT_STREAM_VERSION;
  stream->parent.connect = on_connect;
  stream->parent.read = on_read;
  stream->parent.write = on_write;
  stream->parent.close = on_close;
  stream->parent.free = on_free;
  *out = &stream.release()->parent;
  return 0;
}

}  // namespace

RemoteCall::RemoteCall(const std::string& url, std::stop_token stop, std::uint64_t refs_bytes_max)
    : outer_(std::exchange(t_call, this)),
      stop_(std::move(stop)),
      is_ssh_(is_ssh_url(url)),
      left_(refs_bytes_max) {}

RemoteCall::~RemoteCall() { t_call = outer_; }

RemoteCall* RemoteCall::of_this_thread() { return t_call; }

bool RemoteCall::takes(std::uint64_t bytes) {
  if (!has_limit_) return true;
  if (bytes > left_) {
    too_many_ = true;
    return false;
  }
  left_ -= bytes;
  return true;
}

Error too_many_refs(const std::string& url) {
  return {ErrorCode::too_large,
          url + " names more branches, tags and pull requests than the limit of " +
              std::to_string(k_refs_bytes_max >> 20U) + " MiB; remove what is not needed",
          {}};
}

void use_own_sockets() {
  git_stream_registration registration{};
  registration.version = GIT_STREAM_VERSION;
  registration.init = make_stream;
  git_stream_register(GIT_STREAM_STANDARD, &registration);
}

}  // namespace atlasflow::builder
