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
    listener_ = FileDescriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
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
    std::vector<FileDescriptor> open;
    while (!stop.stop_requested()) {
      pollfd waiting{listener_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 10) != 1) continue;
      FileDescriptor client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
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
  FileDescriptor listener_;
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
  for (const char* field :
       {"\r\nConnection: close\r\n", "\r\nX-Forwarded-Proto: https\r\n",
        "\r\nX-Forwarded-For: 127.0.0.1\r\n", "\r\nX-Forwarded-Host: app.example\r\n",
        "\r\nUser-Agent: Atlasflow-Health/1\r\n"}) {
    EXPECT_THAT(request, testing::HasSubstr(field));
  }
  EXPECT_THAT(request, testing::Not(testing::HasSubstr("/login"))) << "redirects are not followed";
}

TEST(Probe, passes_over_interim_responses_but_not_for_ever) {
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
  Server server(interim + interim + "HTTP/1.1 204 No Content\r\n\r\n", Server::Ending::close);
  EXPECT_EQ(probe(server.endpoint()).status, 204);
  std::string endless;
  for (int i = 0; i < 1000; ++i) endless += interim;
  Server hostile(endless, Server::Ending::keep_open);
  EXPECT_THAT(probe(hostile.endpoint()).error, testing::HasSubstr("1xx"));
}

VmStatus status_of(std::string_view listeners) {
  VmStatus status;
  status.guest_port = 3000;
  status.listeners = guest::listeners_of(listeners);
  return status;
}

TEST(ProbeReason, of_a_redirect_says_where_it_leads_and_nothing_secret) {
  Server server("HTTP/1.1 301 Moved\r\nLocation: https://app.example/login?token=hunter2#x\r\n\r\n",
                Server::Ending::close);
  const auto reason = explain(probe(server.endpoint()), "/", status_of("0.0.0.0:3000"));
  EXPECT_EQ(reason.sentence,
            "answers 301 to https://app.example/login: set health_path to a path that answers 2xx");
  EXPECT_TRUE(reason.is_known);
  const ProbeResult long_one{302, {}, std::string(120, 'x')};
  EXPECT_LT(explain(long_one, "/", {}).sentence.size(), 300U);
}

TEST(ProbeReason, of_a_bad_status_names_the_path) {
  EXPECT_EQ(explain({404, {}}, "/up", {}).sentence,
            "answers 404 to GET /up: set health_path to a path that answers 2xx");
  EXPECT_THAT(explain({401, {}}, "/", {}).sentence, testing::HasSubstr("needs no login"));
  EXPECT_EQ(explain({500, {}}, "/", {}).sentence, "answers 500 to GET /");
  VmStatus full;
  full.disk_full = true;
  EXPECT_EQ(explain({500, {}}, "/", full).sentence,
            "answers 500 to GET /; the VM's disk is full: raise disk_mib, or write less");
  EXPECT_EQ(explain({204, {}}, "/", full).sentence, "");
}

TEST(ProbeReason, of_no_answer_is_known_when_the_guest_tells_where_it_listens) {
  const ProbeResult none{0, "the connection was closed without an answer"};
  EXPECT_FALSE(explain(none, "/", status_of("")).is_known) << "a boot looks like that";
  EXPECT_EQ(explain(none, "/", status_of("")).sentence, none.error);
  EXPECT_EQ(explain(none, "/", status_of("0.0.0.0:3000")).sentence, none.error);
  const auto elsewhere = explain(none, "/", status_of("127.0.0.1:3000"));
  EXPECT_TRUE(elsewhere.is_known);
  EXPECT_THAT(elsewhere.sentence, testing::HasSubstr("127.0.0.1:3000: listen on 0.0.0.0"));
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
       {"SSH-2.0-OpenSSH\r\n", "HTTP/2 200\r\nxxxxxxx\n", "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n", "\r\n\r\n", "HTTP/1.1 099 No\r\n\r\n", "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"}) {
    Server server(answer, Server::Ending::close);
    const ProbeResult result = probe(server.endpoint());
    EXPECT_EQ(result.status, 0) << answer;
    EXPECT_THAT(result.error, testing::StartsWith("the answer is not HTTP")) << answer;
  }
  Server tls("\x15\x03\x01" + std::string("\0\x02\x02\x46", 4), Server::Ending::close);
  EXPECT_THAT(probe(tls.endpoint()).error, testing::HasSubstr("speaks TLS"));
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
