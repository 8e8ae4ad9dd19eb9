#include "tests/builder/git_server.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/process.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::chrono::milliseconds k_backend_deadline{30'000};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// The value of a header, found without regard to case.
std::string header(const std::string& head, const std::string& name) {
  const auto at = lower(head).find("\r\n" + name + ":");
  if (at == std::string::npos) return {};
  const auto start = head.find_first_not_of(' ', at + 3 + name.size());
  return head.substr(start, head.find("\r\n", start) - start);
}

void send_all(int peer, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(peer, text.data(), text.size(), MSG_NOSIGNAL);
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

std::string dechunked(const std::string& body) {
  std::string out;
  for (std::size_t at = 0; at < body.size();) {
    const std::size_t size = std::strtoul(body.c_str() + at, nullptr, 16);
    at = body.find("\r\n", at);
    if (size == 0 || at == std::string::npos) break;
    out += body.substr(at + 2, size);
    at += 2 + size + 2;
  }
  return out;
}

}  // namespace

GitServer::GitServer(std::filesystem::path root, std::optional<std::string> authorization)
    : root_(std::move(root)),
      authorization_(std::move(authorization)),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&name), size);
  ::listen(listener_.get(), 16);
  ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&name), &size);
  port_ = ntohs(name.sin_port);
  thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
}

GitServer::~GitServer() {
  thread_.request_stop();
  thread_.join();
}

void GitServer::serve(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    pollfd poll_fd{listener_.get(), POLLIN, 0};
    if (::poll(&poll_fd, 1, 50) != 1) continue;
    const FileDescriptor peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const timeval limit{10, 0};
    ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (peer.valid()) answer(peer.get());
  }
}

void GitServer::change_after(int requests, std::string authorization) {
  const std::lock_guard lock(mutex_);
  requests_until_then_ = requests;
  next_authorization_ = std::move(authorization);
}

bool GitServer::lets_in(const std::string& authorization) {
  const std::lock_guard lock(mutex_);
  if (requests_until_then_ == 0) {
    authorization_ = next_authorization_;
    requests_until_then_ = -1;
  }
  if (authorization_ && authorization != *authorization_) {
    if (!authorization.empty()) ++wrong_logins_;
    return false;
  }
  if (requests_until_then_ > 0) --requests_until_then_;
  return true;
}

void GitServer::answer(int peer) {
  std::string text;
  std::string chunk(16 * 1024, '\0');
  const auto receive = [&] {
    const ssize_t n = ::recv(peer, chunk.data(), chunk.size(), 0);
    if (n > 0) text.append(chunk, 0, static_cast<std::size_t>(n));
    return n > 0;
  };
  while (text.find("\r\n\r\n") == std::string::npos) {
    if (!receive()) return;
  }
  const std::string head = text.substr(0, text.find("\r\n\r\n") + 2);
  text.erase(0, head.size() + 2);
  const bool chunked = lower(header(head, "transfer-encoding")) == "chunked";
  const std::string length = header(head, "content-length");
  while (chunked ? !text.ends_with("0\r\n\r\n")
                 : text.size() < std::strtoul(length.c_str(), nullptr, 10)) {
    if (!receive()) return;
  }
  if (chunked) text = dechunked(text);
  if (!lets_in(header(head, "authorization"))) {
    send_all(peer,
             "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n"
             "Content-Length: 0\r\nConnection: close\r\n\r\n");
    return;
  }
  const std::string method = head.substr(0, head.find(' '));
  const std::string target =
      head.substr(method.size() + 1, head.find(' ', method.size() + 1) - method.size() - 1);
  const auto question = target.find('?');
  // The body goes by a file: what runs here has no standard input.
  const std::filesystem::path body = root_ / "body";
  std::ofstream(body, std::ios::binary) << text;
  SpawnRequest request;
  request.argv = {find_program("sh"), "-c",
                  "exec git -c safe.directory='*' http-backend <\"$0\" 2>/dev/null", body.string()};
  request.environment = {
      "PATH=/usr/bin:/bin",
      "HOME=/nonexistent",
      "GIT_PROJECT_ROOT=" + root_.string(),
      "GIT_HTTP_EXPORT_ALL=1",
      "REQUEST_METHOD=" + method,
      "PATH_INFO=" + target.substr(0, question),
      "QUERY_STRING=" + (question == std::string::npos ? "" : target.substr(question + 1)),
      "CONTENT_TYPE=" + header(head, "content-type"),
      "CONTENT_LENGTH=" + std::to_string(text.size()),
      "HTTP_CONTENT_ENCODING=" + header(head, "content-encoding"),
      "REMOTE_ADDR=127.0.0.1"};
  std::string output;
  [[maybe_unused]] const auto ran =
      run_process(std::move(request), k_backend_deadline, {},
                  [&output](std::string_view part) { output += part; });
  const auto end = output.find("\r\n\r\n");
  if (end == std::string::npos) return;
  const std::string answer_head = "\r\n" + output.substr(0, end + 2);
  std::string status = header(answer_head, "status");
  if (status.empty()) status = "200 OK";
  send_all(peer, "HTTP/1.1 " + status + "\r\nContent-Type: " + header(answer_head, "content-type") +
                     "\r\nContent-Length: " + std::to_string(output.size() - end - 4) +
                     "\r\nConnection: close\r\n\r\n" + output.substr(end + 4));
}

}  // namespace atlasflow::builder
