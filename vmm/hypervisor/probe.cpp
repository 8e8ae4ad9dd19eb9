#include "vmm/hypervisor/probe.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t k_response_bytes_max = 4 * 1024;

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

// RFC 9112 section 4: "HTTP/1.x SP 3DIGIT", then a blank and a reason, or the line's end.
int status_of(std::string_view response) {
  if (!response.starts_with("HTTP/1.") || response.size() < 13 || response[8] != ' ') return 0;
  if (response[12] != ' ' && response[12] != '\r' && response[12] != '\n') return 0;
  int status = 0;
  const char* const end = response.data() + 12;
  if (std::from_chars(response.data() + 9, end, status).ptr != end || status < 100) return 0;
  return status;
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
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return {0, std::strerror(errno)};
  if (std::string error = connect_to(fd.get(), address, deadline, late); !error.empty()) {
    return {0, std::move(error)};
  }

  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: " + host_header +
                              "\r\nUser-Agent: atlasflow-probe\r\nAccept: */*\r\n"
                              "Connection: close\r\n\r\n";
  for (std::string_view rest = request; !rest.empty();) {
    const ssize_t n = ::send(fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n > 0) {
      rest.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (!deadline.wait(fd.get(), POLLOUT)) return {0, late};
    } else if (errno != EINTR) {
      return {0, "the connection was closed before the request was sent"};
    }
  }

  std::string response;
  std::array<char, 1024> buffer;
  while (response.size() < k_response_bytes_max) {
    // The status line is all that counts; it is complete at the first line break.
    if (response.find('\n') != std::string::npos) break;
    if (!deadline.wait(fd.get(), POLLIN)) return {0, late};
    const ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) return {0, "the connection was reset before an answer"};
    if (n == 0) break;
    response.append(buffer.data(), static_cast<std::size_t>(n));
  }
  if (const int status = status_of(response); status != 0) return {status, {}};
  if (response.empty()) return {0, "the connection was closed without an answer"};
  return {0, "the answer is not HTTP"};
}

}  // namespace atlasflow::vmm
