#include "builder/static_server/listener.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

namespace atlasflow::static_server {
namespace {

constexpr std::size_t k_read_bytes = std::size_t{16} * 1024;
// Of one connection in one turn, so that a large file does not hold up the others.
constexpr std::size_t k_turn_bytes_max = std::size_t{1} << 20U;
constexpr int k_sweep_ms = 250;
constexpr int k_backlog = 1024;

// A page needs no body; what little there is of one is read and dropped.
constexpr http::HttpLimits k_limits{std::size_t{8} * 1024, std::size_t{16} * 1024, 100,
                                    std::uint64_t{64} * 1024};

FileDescriptor bound_socket(int family, std::uint16_t port) {
  FileDescriptor fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return fd;
  const int on = 1;
  const int off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  int bound = -1;
  if (family == AF_INET6) {
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } else {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  if (bound != 0 || ::listen(fd.get(), k_backlog) != 0) return FileDescriptor{};
  return fd;
}

std::uint16_t port_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
}

void add_to(int epoll, int fd, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

std::unique_ptr<Listener> Listener::open(const ListenerOptions& options, std::unique_ptr<Site> site,
                                         std::string& why) {
  std::unique_ptr<Listener> made(new Listener(options, std::move(site)));
  // Both families by one socket; a kernel without IPv6 has IPv4.
  made->listener_ = bound_socket(AF_INET6, options.port);
  if (!made->listener_.valid()) made->listener_ = bound_socket(AF_INET, options.port);
  if (!made->listener_.valid()) {
    why = "cannot listen on port " + std::to_string(options.port) + ": " + std::strerror(errno);
    return nullptr;
  }
  made->port_ = port_of(made->listener_.get());
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  made->signals_ = FileDescriptor(::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
  made->epoll_ = FileDescriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!made->signals_.valid() || !made->epoll_.valid()) {
    why = std::string("cannot wait for connections: ") + std::strerror(errno);
    return nullptr;
  }
  add_to(made->epoll_.get(), made->listener_.get(), EPOLLIN);
  add_to(made->epoll_.get(), made->signals_.get(), EPOLLIN);
  return made;
}

void Listener::serve() {
  std::array<epoll_event, 128> events{};
  auto next_sweep = Clock::now();
  while (!draining_ || (!connections_.empty() && Clock::now() < drain_until_)) {
    const int count =
        ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), k_sweep_ms);
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == signals_.get()) {
        begin_drain();
      } else if (fd == listener_.get()) {
        accept_all();
      } else {
        turn(fd);
      }
    }
    if (const auto now = Clock::now(); now >= next_sweep) {
      close_overdue(now);
      next_sweep = now + std::chrono::milliseconds(k_sweep_ms);
    }
  }
}

void Listener::accept_all() {
  // Bounded, so that a flood of connections does not keep those that are there waiting.
  for (int i = 0; i < 64; ++i) {
    FileDescriptor socket(
        ::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.valid()) {
      if (errno == EMFILE || errno == ENFILE) close_longest_idle();
      return;
    }
    if (connections_.size() >= options_.connections_max) close_longest_idle();
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const int fd = socket.get();
    Connection connection;
    connection.socket = std::move(socket);
    connection.parser = http::RequestParser(k_limits);
    connection.since = Clock::now();
    connections_.insert_or_assign(fd, std::move(connection));
    add_to(epoll_.get(), fd, EPOLLIN | EPOLLRDHUP);
  }
}

void Listener::turn(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  bool open = true;
  if (!connection.answering) open = read_some(connection) && parse_some(connection);
  if (open && connection.answering) open = write_some(connection);
  // What came together with the request that is answered now.
  for (int i = 0; open && !connection.answering && !connection.input.empty() && i < 16; ++i) {
    const auto before = connection.input.size();
    open = parse_some(connection);
    if (open && connection.answering) open = write_some(connection);
    if (connection.input.size() == before) break;
  }
  if (open && connection.peer_ended && !connection.answering) open = false;
  if (!open) {
    connections_.erase(found);
    return;
  }
  // With requests left over from a turn's limit the socket's readiness must bring it back.
  watch(connection, connection.answering || !connection.input.empty());
}

bool Listener::read_some(Connection& connection) {
  std::array<char, k_read_bytes> bytes{};
  const ssize_t n = ::recv(connection.socket.get(), bytes.data(), bytes.size(), 0);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) {
    connection.peer_ended = true;
    return !connection.input.empty();
  }
  if (connection.parser.idle() && connection.input.empty()) connection.since = Clock::now();
  connection.input.append(bytes.data(), static_cast<std::size_t>(n));
  return true;
}

bool Listener::parse_some(Connection& connection) {
  std::string_view rest = connection.input;
  while (!connection.answering) {
    const http::ParseStep step = connection.parser.next(rest);
    rest.remove_prefix(step.consumed);
    if (step.event == http::ParseEvent::need_more) break;
    if (step.event == http::ParseEvent::error) {
      connection.answer = answer_error(connection.parser.error().status);
      connection.answering = true;
    } else if (step.event == http::ParseEvent::head && connection.parser.head().expect_continue) {
      // Nobody waits for its body here.
      connection.answer = answer_error(417);
      connection.answering = true;
    } else if (step.event == http::ParseEvent::complete) {
      const auto& head = connection.parser.head();
      connection.answer = answer_request(*site_, head, head.keep_alive && !draining_);
      connection.answering = true;
      connection.parser.reset();
    }
  }
  connection.head_sent = 0;
  if (connection.answering) connection.since = Clock::now();
  connection.input.erase(0, connection.input.size() - rest.size());
  return true;
}

bool Listener::write_some(Connection& connection) {
  Answer& answer = connection.answer;
  const int fd = connection.socket.get();
  while (connection.head_sent < answer.head.size()) {
    const int more = answer.file.valid() && answer.size > 0 ? MSG_MORE : 0;
    const ssize_t n = ::send(fd, answer.head.data() + connection.head_sent,
                             answer.head.size() - connection.head_sent, MSG_NOSIGNAL | more);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    connection.head_sent += static_cast<std::size_t>(n);
    connection.since = Clock::now();
  }
  std::size_t budget = k_turn_bytes_max;
  while (answer.size > 0 && budget > 0) {
    auto offset = static_cast<off_t>(answer.offset);
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(answer.size, budget));
    const ssize_t n = ::sendfile(fd, answer.file.get(), &offset, wanted);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;  // The file became shorter: the length that was announced can't be.
    answer.offset += static_cast<std::uint64_t>(n);
    answer.size -= static_cast<std::uint64_t>(n);
    budget -= static_cast<std::size_t>(n);
    connection.since = Clock::now();
  }
  if (answer.size > 0) return true;
  const bool stays = answer.keep_alive;
  connection.answer = Answer{};
  connection.answering = false;
  // A close with bytes unread would reset the connection, and take from the peer what it has not
  // read yet: what has come by now is read and dropped.
  if (!stays) {
    ::shutdown(fd, SHUT_WR);
    std::array<char, k_read_bytes> rest{};
    for (int i = 0; i < 8 && ::recv(fd, rest.data(), rest.size(), 0) > 0; ++i) {
    }
  }
  return stays;
}

void Listener::watch(const Connection& connection, bool writable) {
  epoll_event event{};
  event.events = writable ? EPOLLOUT : EPOLLIN | EPOLLRDHUP;
  event.data.fd = connection.socket.get();
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, event.data.fd, &event);
}

void Listener::close_overdue(Clock::time_point now) {
  std::erase_if(connections_, [&](const auto& each) {
    const Connection& connection = each.second;
    const bool idle = connection.parser.idle() && connection.input.empty();
    const auto limit = connection.answering ? options_.stall_max
                       : idle               ? options_.idle_max
                                            : options_.head_max;
    return now - connection.since > limit;
  });
}

void Listener::close_longest_idle() {
  // Those that are being answered are spared while another is there.
  const auto oldest = std::min_element(
      connections_.begin(), connections_.end(), [](const auto& left, const auto& right) {
        return std::pair(left.second.answering, left.second.since) <
               std::pair(right.second.answering, right.second.since);
      });
  if (oldest != connections_.end()) connections_.erase(oldest);
}

void Listener::begin_drain() {
  draining_ = true;
  drain_until_ = Clock::now() + options_.drain_max;
  // Kept open in the epoll set they would wake it for ever.
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, signals_.get(), nullptr);
  listener_.reset();
  std::erase_if(connections_, [](const auto& each) {
    return !each.second.answering && each.second.parser.idle() && each.second.input.empty();
  });
  for (auto& [fd, connection] : connections_) connection.answer.keep_alive = false;
}

}  // namespace atlasflow::static_server
