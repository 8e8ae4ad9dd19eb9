#include "tests/api/client.hpp"

#include <array>
#include <cerrno>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/assert.hpp"

namespace atlasflow::api::testing {
namespace {

constexpr int k_deadline_ms = 30'000;

FileDescriptor connected(int family, const sockaddr* address, socklen_t length) {
  FileDescriptor fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ATLAS_ASSERT(::connect(fd.get(), address, length) == 0, std::strerror(errno));
  return fd;
}

}  // namespace

std::string Answer::field(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (http::equal_ignoring_case(key, name)) return value;
  }
  return {};
}

Client Client::on_unix_socket(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.native().copy(address.sun_path, sizeof(address.sun_path) - 1);
  return Client(connected(AF_UNIX, reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
}

Client Client::on_port(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return Client(connected(AF_INET, reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void Client::close_sending() { ::shutdown(fd_.get(), SHUT_WR); }

void Client::reset_on_close() {
  const linger now{1, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

bool Client::fill() {
  pollfd watched{fd_.get(), POLLIN, 0};
  if (at_end_ || ::poll(&watched, 1, k_deadline_ms) <= 0) return false;
  std::array<char, 16384> bytes{};
  const auto size = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
  if (size <= 0) {
    at_end_ = true;
    return false;
  }
  unread_.append(bytes.data(), static_cast<std::size_t>(size));
  return true;
}

Client::Progress Client::advance() {
  for (;;) {
    auto step = parser_.next(unread_);
    const std::string body(step.body);
    unread_.erase(0, step.consumed);
    if (step.event == http::ParseEvent::need_more) {
      if (fill()) continue;
      step = parser_.finish();
      if (step.event != http::ParseEvent::complete) return Progress::over;
    }
    switch (step.event) {
      case http::ParseEvent::head:
        answer_ = {};
        answer_.status = parser_.head().status;
        for (const auto& field : parser_.head().fields) {
          answer_.fields.emplace_back(field.name, field.value);
        }
        return Progress::partly;
      case http::ParseEvent::body:
        answer_.body += body;
        return Progress::partly;
      case http::ParseEvent::complete:
        return Progress::whole;
      default:
        return Progress::over;
    }
  }
}

std::optional<Answer> Client::receive(bool to_head) {
  if (to_head != to_head_) parser_.reset(to_head);
  to_head_ = to_head;
  for (;;) {
    const auto progress = advance();
    if (progress == Progress::over) return std::nullopt;
    if (progress == Progress::whole) {
      parser_.reset(false);
      to_head_ = false;
      return std::exchange(answer_, {});
    }
  }
}

std::optional<std::string> Client::receive_body_until(std::string_view text) {
  while (answer_.body.find(text) == std::string::npos) {
    if (advance() != Progress::partly) return std::nullopt;
  }
  return answer_.body;
}

bool Client::is_closed_by_server() { return !fill() && at_end_ && unread_.empty(); }

std::optional<Answer> Client::ask(std::string_view bytes) {
  return send(bytes) ? receive() : std::nullopt;
}

std::string request_text(std::string_view method, std::string_view target,
                         const std::vector<std::string>& fields, std::string_view body) {
  std::string text(method);
  text.append(" ").append(target).append(" HTTP/1.1\r\nHost: localhost\r\n");
  for (const auto& field : fields) text.append(field).append("\r\n");
  if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text.append("\r\n").append(body);
}

}  // namespace atlasflow::api::testing
