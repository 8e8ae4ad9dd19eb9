#include "vmm/hypervisor/probe.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "http/parser.hpp"
#include "vmm/guest/config_format.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t k_head_bytes_max = 32 * 1024;
constexpr std::size_t k_first_bytes = 16;
constexpr int k_interim_max = 8;

class Deadline {
 public:
  explicit Deadline(milliseconds timeout) : end_(steady_clock::now() + timeout) {}

  // Waits for events on fd; false at the deadline.
  [[nodiscard]] bool wait(int fd, short events) const {
    for (;;) {
      const auto left = std::chrono::ceil<milliseconds>(end_ - steady_clock::now()).count();
      if (left <= 0) return false;
      pollfd waiting{fd, events, 0};
      const int ready = ::poll(&waiting, 1, static_cast<int>(left));
      if (ready > 0) return true;
      if (ready == 0 || errno != EINTR) return false;
    }
  }

 private:
  steady_clock::time_point end_;
};

// What the app sent in place of a response head, as far as it can be told.
std::string not_http(std::string_view bytes, std::string_view reason) {
  // RFC 8446 section 5.1: a record of type alert or handshake, of any version since SSL 3.0.
  if (bytes.size() >= 2 && (bytes[0] == 0x15 || bytes[0] == 0x16) && bytes[1] == 0x03) {
    return "the app speaks TLS on its port; the edge does that for it: let it speak plain HTTP";
  }
  if (!bytes.starts_with("HTTP/1.")) return "the answer is not HTTP";
  return "the answer is not HTTP/1.1 as the edge takes it: " + std::string(reason);
}

// A redirect's target goes into events and onto terminals. Its query may hold a token.
std::string shown_location(std::string_view location) {
  constexpr std::size_t k_bytes_max = 120;
  std::string shown(location.substr(0, location.find_first_of("?#")).substr(0, k_bytes_max));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c <= ' ' || c > '~'; }, '?');
  return shown;
}

std::string duration_text(milliseconds timeout) {
  if (timeout.count() % 1000 == 0) return std::to_string(timeout.count() / 1000) + " s";
  return std::to_string(timeout.count()) + " ms";
}

std::string connect_error(int error) {
  return error == ECONNREFUSED ? "connection refused" : std::strerror(error);
}

bool has_control_bytes(const std::string& text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; });
}

// Empty when connected.
std::string connect_to(int fd, const sockaddr_in& address, const Deadline& deadline,
                       const std::string& late) {
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return {};
  if (errno != EINPROGRESS) return connect_error(errno);
  if (!deadline.wait(fd, POLLOUT)) return late;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? std::string{} : connect_error(error);
}

// Looks like the edge to the app: one that insists on https answers it as it answers a visitor.
std::string request_for(const std::string& path, const std::string& host) {
  return "GET " + path + " HTTP/1.1\r\nHost: " + host +
         "\r\nUser-Agent: Atlasflow-Health/1\r\nAccept: */*\r\nX-Forwarded-For: 127.0.0.1\r\n"
         "X-Forwarded-Proto: https\r\nX-Forwarded-Host: " +
         host + "\r\nX-Forwarded-Port: 443\r\nConnection: close\r\n\r\n";
}

// Empty when all was sent.
std::string send_all(int fd, std::string_view bytes, const Deadline& deadline,
                     const std::string& late) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (!deadline.wait(fd, POLLOUT)) return late;
    } else if (errno != EINTR) {
      return "the connection was closed before the request was sent";
    }
  }
  return {};
}

// Reads up to the head of the final response.
ProbeResult read_head(int fd, const Deadline& deadline, const std::string& late) {
  http::HttpLimits limits;
  limits.head_bytes_max = k_head_bytes_max;
  http::ResponseParser parser(limits);
  parser.reset(false);
  int interim = 0;
  std::string first;  // bytes of it, to tell what they are when they are no HTTP
  std::array<char, 4096> buffer;
  for (;;) {
    if (!deadline.wait(fd, POLLIN)) return {0, late};
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) return {0, "the connection was reset before an answer"};
    if (n == 0) {
      return {0, first.empty() ? "the connection was closed without an answer"
                               : not_http(first, "it ends within its head")};
    }
    std::string_view input(buffer.data(), static_cast<std::size_t>(n));
    first.append(input.substr(0, k_first_bytes - std::min(k_first_bytes, first.size())));
    while (!input.empty()) {
      const http::ParseStep step = parser.next(input);
      input.remove_prefix(step.consumed);
      if (step.event == http::ParseEvent::error) {
        return {0, not_http(first, parser.error().reason)};
      }
      if (step.event == http::ParseEvent::need_more) break;
      if (step.event == http::ParseEvent::head && parser.head().status >= 200) {
        const auto* location = http::find_field(parser.head().fields, "Location");
        return {parser.head().status, {}, location ? shown_location(location->value) : ""};
      }
      if (step.event == http::ParseEvent::complete) {
        if (++interim > k_interim_max) {
          return {0, "the answer does not come to an end of its 1xx responses"};
        }
        parser.reset(false);
      }
    }
  }
}

}  // namespace

ProbeResult probe_http(const Endpoint& endpoint, const std::string& path,
                       const std::string& host_header, milliseconds timeout) {
  const std::string late = "no answer within " + duration_text(timeout);
  // A line break in either would add a header of somebody's choice.
  if (path.empty() || path.front() != '/' || has_control_bytes(path) || host_header.empty() ||
      has_control_bytes(host_header)) {
    return {0, "the probe's path or host is not valid in HTTP"};
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  if (::inet_pton(AF_INET, endpoint.address.c_str(), &address.sin_addr) != 1) {
    return {0, "the address is not IPv4"};
  }
  const Deadline deadline(timeout);
  const FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return {0, std::strerror(errno)};
  if (std::string error = connect_to(fd.get(), address, deadline, late); !error.empty()) {
    return {0, std::move(error)};
  }

  if (std::string error = send_all(fd.get(), request_for(path, host_header), deadline, late);
      !error.empty()) {
    return {0, std::move(error)};
  }
  return read_head(fd.get(), deadline, late);
}

ProbeReason explain(const ProbeResult& result, const std::string& path, const VmStatus& status) {
  if (result.healthy()) return {};
  const std::string answers = "answers " + std::to_string(result.status);
  switch (result.status) {
    case 0: {
      const std::string where = guest::explain_listeners(status.listeners, status.guest_port);
      if (!where.empty()) return {where, true};
      if (status.disk_full) {
        return {result.error + "; " + guest::k_disk_is_full, true};
      }
      return {result.error, false};
    }
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      return {answers + " to " + (result.location.empty() ? "GET " + path : result.location) +
                  ": set health_path to a path that answers 2xx",
              true};
    case 401:
    case 403:
      return {answers + " to GET " + path + ": set health_path to a path that needs no login",
              true};
    case 404:
      return {answers + " to GET " + path + ": set health_path to a path that answers 2xx", true};
    default:
      return {answers + " to GET " + path +
                  (status.disk_full ? std::string("; ") + guest::k_disk_is_full : ""),
              true};
  }
}

}  // namespace atlasflow::vmm
