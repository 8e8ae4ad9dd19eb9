#include "vmm/hypervisor/probe.hpp"

#include <array>
#include <atomic>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {
namespace {

using namespace std::chrono_literals;

// Answers each connection with the same bytes, and keeps what was asked.
class Server {
 public:
  enum class Ending { close, keep_open };

  Server(std::string answer, Ending ending) : answer_(std::move(answer)), ending_(ending) {
    listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    socklen_t size = sizeof address;
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    endpoint_ = {"127.0.0.1", ntohs(address.sin_port)};
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }
  ~Server() {
    thread_.request_stop();
    thread_.join();
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  // After the probe returned: the request as it came.
  [[nodiscard]] std::string request() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
    thread_ = std::jthread([] {});
    return request_;
  }

 private:
  void serve(const std::stop_token& stop) {
    std::vector<Fd> open;
    while (!stop.stop_requested()) {
      pollfd waiting{listener_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 10) != 1) continue;
      Fd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      std::array<char, 4096> buffer;
      while (request_.find("\r\n\r\n") == std::string::npos) {
        const ssize_t n = ::recv(client.get(), buffer.data(), buffer.size(), 0);
        if (n <= 0) break;
        request_.append(buffer.data(), static_cast<std::size_t>(n));
      }
      ::send(client.get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
      if (ending_ == Ending::keep_open) open.push_back(std::move(client));
    }
  }

  std::string answer_;
  Ending ending_;
  Fd listener_;
  Endpoint endpoint_;
  std::string request_;
  std::jthread thread_;
};

ProbeResult probe(const Endpoint& endpoint, std::chrono::milliseconds timeout = 20s) {
  return probe_http(endpoint, "/healthz?x=1", "app.example", timeout);
}

TEST(Probe, takes_2xx_for_healthy_and_nothing_else) {
  const std::vector<std::pair<const char*, int>> cases = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200},
      {"HTTP/1.0 204 No Content\r\n\r\n", 204},
      {"HTTP/1.1 299\r\n\r\n", 299},
      {"HTTP/1.1 301 Moved\r\nLocation: /other\r\n\r\n", 301},
      {"HTTP/1.1 404 Not Found\r\n\r\n", 404},
      {"HTTP/1.1 500 Internal Server Error\r\n\r\n", 500}};
  for (const auto& [answer, status] : cases) {
    Server server(answer, Server::Ending::close);
    const ProbeResult result = probe(server.endpoint());
    EXPECT_EQ(result.status, status);
    EXPECT_EQ(result.error, "");
    EXPECT_EQ(result.healthy(), status < 300) << answer;
  }
}

TEST(Probe, asks_once_with_the_apps_name_and_closes) {
  Server server("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n", Server::Ending::close);
  EXPECT_EQ(probe(server.endpoint()).status, 302);
  const std::string request = server.request();
  EXPECT_THAT(request, testing::StartsWith("GET /healthz?x=1 HTTP/1.1\r\nHost: app.example\r\n"));
  EXPECT_THAT(request, testing::HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_THAT(request, testing::Not(testing::HasSubstr("/login"))) << "redirects are not followed";
}

TEST(Probe, does_not_wait_for_the_body) {
  Server server("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", Server::Ending::keep_open);
  EXPECT_TRUE(probe(server.endpoint()).healthy());
}

TEST(Probe, of_a_silent_server_ends_at_its_timeout) {
  Server server("", Server::Ending::keep_open);
  const ProbeResult result = probe(server.endpoint(), 200ms);
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.error, "no answer within 200 ms");
  EXPECT_FALSE(result.healthy());
}

TEST(Probe, of_a_server_that_drips_ends_at_its_timeout) {
  Server server("HTTP/1.1 2", Server::Ending::keep_open);
  EXPECT_EQ(probe(server.endpoint(), 300ms).error, "no answer within 300 ms");
}

TEST(Probe, of_a_closed_port_is_refused) {
  Endpoint endpoint;
  {
    Server server("", Server::Ending::close);
    endpoint = server.endpoint();
  }
  EXPECT_EQ(probe(endpoint).error, "connection refused");
}

TEST(Probe, of_something_that_is_not_http_says_so) {
  for (const char* answer :
       {"SSH-2.0-OpenSSH\r\n", "HTTP/2 200\r\nxxxxxxx\n", "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 abc OK\r\n", "\r\n", "HTTP/1.1 099 No\r\n"}) {
    Server server(answer, Server::Ending::close);
    const ProbeResult result = probe(server.endpoint());
    EXPECT_EQ(result.status, 0) << answer;
    EXPECT_EQ(result.error, "the answer is not HTTP") << answer;
  }
  Server endless(std::string(100'000, 'x'), Server::Ending::keep_open);
  EXPECT_EQ(probe(endless.endpoint()).error, "the answer is not HTTP");
  Server closing("", Server::Ending::close);
  EXPECT_EQ(probe(closing.endpoint()).error, "the connection was closed without an answer");
}

TEST(Probe, refuses_a_path_or_host_that_would_add_a_header) {
  const Endpoint endpoint{"127.0.0.1", 1};
  EXPECT_NE(probe_http(endpoint, "/\r\nX: y", "h", 1s).error.find("not valid"), std::string::npos);
  EXPECT_NE(probe_http(endpoint, "/", "h\r\nX: y", 1s).error.find("not valid"), std::string::npos);
  EXPECT_NE(probe_http(endpoint, "no-slash", "h", 1s).error.find("not valid"), std::string::npos);
}

}  // namespace
}  // namespace atlasflow::vmm
