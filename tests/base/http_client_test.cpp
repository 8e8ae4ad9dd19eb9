#include "base/http_client.hpp"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.hpp"
#include "tests/base/http_peer.hpp"

namespace atlasflow {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using base_test::HttpPeer;
using base_test::ok;

class HttpClientTest : public testing::Test {
 protected:
  void SetUp() override {
    auto name = (fs::temp_directory_path() / "atlasflow-http-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
};

std::string url_of(const HttpPeer& peer, const std::string& path) {
  return "http://" + peer.authority() + path;
}

TEST_F(HttpClientTest, sends_method_path_fields_and_body_as_given) {
  HttpPeer peer([](const std::string&) { return ok("thanks"); });
  const auto answer = send_http({.method = "PATCH",
                                 .url = url_of(peer, "/a?b=c"),
                                 .fields = {{"X-One", "1"}, {"X-Empty", ""}},
                                 .body = std::string("\0binary", 7)});
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "thanks");
  const auto request = peer.requests().at(0);
  EXPECT_TRUE(request.starts_with("PATCH /a?b=c HTTP/1.1\r\n")) << request;
  EXPECT_NE(request.find("\r\nX-One: 1\r\n"), request.npos);
  EXPECT_NE(request.find("\r\nX-Empty:\r\n"), request.npos);
  EXPECT_NE(request.find("\r\nUser-Agent: atlasflow/"), request.npos);
  EXPECT_EQ(request.find("Content-Type"), request.npos) << "a body need not be a form";
  EXPECT_EQ(request.find("Expect"), request.npos);
  EXPECT_TRUE(request.ends_with(std::string("\r\n\r\n\0binary", 11)));
}

TEST_F(HttpClientTest, a_post_of_nothing_announces_that_it_has_no_body) {
  HttpPeer peer([](const std::string&) { return ok(""); });
  ASSERT_TRUE(send_http({.method = "POST", .url = url_of(peer, "/")}));
  EXPECT_NE(peer.requests().at(0).find("Content-Length: 0\r\n"), std::string::npos);
}

TEST_F(HttpClientTest, an_answer_of_any_status_is_an_answer_with_its_fields) {
  HttpPeer peer([](const std::string&) {
    return "HTTP/1.1 103 Early Hints\r\nLink: early\r\n\r\n"
           "HTTP/1.1 404 Not Found\r\nretry-after:  7 \r\nContent-Length: 4\r\n\r\nnope";
  });
  const auto answer = send_http({.url = url_of(peer, "/")});
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(answer->status, 404);
  EXPECT_EQ(answer->body, "nope");
  EXPECT_EQ(answer->field("Retry-After"), "7");
  EXPECT_EQ(answer->field("Link"), "") << "an interim answer's fields are not the answer's";
}

TEST_F(HttpClientTest, trailers_do_not_become_fields) {
  HttpPeer peer([](const std::string&) {
    return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Late: 1\r\n\r\n";
  });
  const auto answer = send_http({.url = url_of(peer, "/")});
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(answer->body, "ok");
  EXPECT_EQ(answer->field("X-Late"), "");
}

TEST_F(HttpClientTest, a_connection_is_kept_by_a_client_and_nothing_of_the_last_request) {
  HttpPeer peer([](const std::string&) { return ok("x"); });
  HttpClient client;
  ASSERT_TRUE(client.send({.method = "POST",
                           .url = url_of(peer, "/"),
                           .fields = {{"Authorization", "Bearer secret"}},
                           .body = "a"}));
  ASSERT_TRUE(client.send({.url = url_of(peer, "/next")}));
  EXPECT_EQ(peer.connections(), 1);
  const auto second = peer.requests().at(1);
  EXPECT_TRUE(second.starts_with("GET /next "));
  EXPECT_EQ(second.find("Authorization"), second.npos);
}

TEST_F(HttpClientTest, a_value_of_two_lines_is_refused_before_anything_is_sent) {
  HttpPeer peer([](const std::string&) { return ok("x"); });
  for (const auto& field :
       {HttpField{"X-A", "1\r\nX-B: 2"}, HttpField{"X-A", std::string("a\0b", 3)},
        HttpField{"X A", "1"}, HttpField{"", "1"}, HttpField{"X-A: 1\r\nX-B", "2"}}) {
    const auto answer = send_http({.url = url_of(peer, "/"), .fields = {field}});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, ErrorCode::invalid_argument);
  }
  const auto method = send_http({.method = "GET / HTTP/1.1\r\nX: y", .url = url_of(peer, "/")});
  EXPECT_EQ(method.error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(peer.requests().empty());
}

TEST_F(HttpClientTest, only_http_and_https_are_asked) {
  ASSERT_TRUE(write_new_file(folder_ / "secret", "s"));
  for (const auto& url : {"file://" + (folder_ / "secret").string(), std::string("ftp://a/"),
                          std::string("localhost"), std::string(""), std::string("http://")}) {
    const auto answer = send_http({.url = url});
    ASSERT_FALSE(answer) << url;
    EXPECT_EQ(answer.error().code, ErrorCode::invalid_argument) << url;
  }
}

TEST_F(HttpClientTest, a_body_beyond_its_limit_is_an_error_and_not_kept) {
  HttpPeer peer([](const std::string&) { return ok(std::string(100'000, 'x')); });
  const auto answer = send_http({.url = url_of(peer, "/"), .body_bytes_max = 99'999});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::too_large);
  EXPECT_TRUE(send_http({.url = url_of(peer, "/"), .body_bytes_max = 100'000}));
}

TEST_F(HttpClientTest, a_head_without_end_is_an_error) {
  HttpPeer peer([](const std::string&) {
    std::string head = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 10'000; ++i) head += "X-" + std::to_string(i) + ": 0123456789\r\n";
    return head + "\r\n";
  });
  const auto answer = send_http({.url = url_of(peer, "/")});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::too_large);
}

TEST_F(HttpClientTest, a_body_is_handed_on_as_it_comes_until_the_taker_has_enough) {
  HttpPeer peer([](const std::string&) { return ok(std::string(10U << 20U, 'x')); });
  std::size_t taken = 0;
  const auto answer =
      send_http({.url = url_of(peer, "/"),
                 .body_bytes_max = 1,
                 .on_body = [&](const HttpResponse& so_far, std::string_view bytes) {
                   EXPECT_EQ(so_far.status, 200);
                   EXPECT_EQ(so_far.field("content-length"), "10485760");
                   taken += bytes.size();
                   return taken < 100'000;
                 }});
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(answer->status, 200);
  EXPECT_GE(taken, 100'000U);
  EXPECT_LT(taken, 1'000'000U);
}

TEST_F(HttpClientTest, silence_and_a_stop_end_the_wait) {
  HttpPeer peer([](const std::string&) { return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"; });
  const auto late = send_http({.url = url_of(peer, "/"), .timeout = 200ms});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::timed_out);
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(100ms);
    stop.request_stop();
  });
  const auto stopped = send_http({.url = url_of(peer, "/"), .stop = stop.get_token()});
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
}

TEST_F(HttpClientTest, tells_whether_somebody_may_have_acted_on_a_request_that_failed) {
  HttpClient client;
  {
    HttpPeer peer([](const std::string&) { return std::string(); });
    const auto broken = client.send({.method = "POST", .url = url_of(peer, "/")});
    EXPECT_EQ(broken.error().code, ErrorCode::unavailable);
    EXPECT_TRUE(client.reached());
  }
  EXPECT_FALSE(client.send({.url = "http://localhost/", .unix_socket = folder_ / "none"}));
  EXPECT_FALSE(client.reached());
}

TEST_F(HttpClientTest, an_error_names_the_place_and_no_secret) {
  int port = 0;
  {
    port = HttpPeer([](const std::string&) { return ok(""); }).port();
  }
  const auto place = "127.0.0.1:" + std::to_string(port);
  const auto answer = send_http({.url = "http://user:hush@" + place + "/hush?token=hush#hush",
                                 .fields = {{"Authorization", "Bearer hush"}},
                                 .body = "hush"});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, ErrorCode::unavailable);
  EXPECT_EQ(answer.error().message, "http://" + place + " does not answer");
  EXPECT_EQ(to_string(answer.error()).find("hush"), std::string::npos) << to_string(answer.error());
}

TEST_F(HttpClientTest, redirects_are_followed_only_when_asked_and_so_often) {
  HttpPeer peer([](const std::string& request) {
    return request.starts_with("GET /end ")
               ? ok("end")
               : "HTTP/1.1 302 Found\r\nLocation: " +
                     std::string(request.starts_with("GET /1 ") ? "/2" : "/end") +
                     "\r\nContent-Length: 4\r\n\r\nmove";
  });
  const auto not_asked = send_http({.url = url_of(peer, "/1")});
  ASSERT_TRUE(not_asked);
  EXPECT_EQ(not_asked->status, 302);
  EXPECT_EQ(not_asked->field("Location"), "/2");
  const auto too_often = send_http({.url = url_of(peer, "/1"), .redirects_max = 1});
  EXPECT_EQ(too_often.error().code, ErrorCode::unavailable);
  const auto followed = send_http({.url = url_of(peer, "/1"), .redirects_max = 2});
  ASSERT_TRUE(followed) << to_string(followed.error());
  EXPECT_EQ(followed->body, "end");
  EXPECT_EQ(followed->field("Location"), "");
  const auto post = send_http({.method = "POST", .url = url_of(peer, "/1"), .redirects_max = 1});
  EXPECT_EQ(post.error().code, ErrorCode::invalid_argument);
}

TEST_F(HttpClientTest, authorization_does_not_follow_to_another_host) {
  HttpPeer other([](const std::string&) { return ok("other"); });
  HttpPeer peer([&](const std::string&) {
    return "HTTP/1.1 302 Found\r\nLocation: http://localhost:" + std::to_string(other.port()) +
           "/\r\nContent-Length: 0\r\n\r\n";
  });
  ASSERT_TRUE(send_http({.url = url_of(peer, "/"),
                         .fields = {{"Authorization", "Bearer hush"}},
                         .redirects_max = 1}));
  EXPECT_EQ(other.requests().at(0).find("hush"), std::string::npos);
}

TEST_F(HttpClientTest, over_a_unix_socket_and_says_when_nobody_is_there) {
  const auto socket = folder_ / "s";
  HttpRequest request{.url = "http://localhost/v1", .unix_socket = socket};
  EXPECT_EQ(send_http(request).error().code, ErrorCode::unavailable);
  {
    HttpPeer peer([](const std::string&) { return ok("here"); }, socket);
    const auto answer = send_http(request);
    ASSERT_TRUE(answer) << to_string(answer.error());
    EXPECT_EQ(answer->body, "here");
  }
  const auto gone = send_http(request);
  EXPECT_EQ(gone.error().message, socket.string() + " does not answer");
  request.unix_socket = folder_ / std::string(120, 'x');
  EXPECT_EQ(send_http(request).error().code, ErrorCode::invalid_argument);
}

TEST_F(HttpClientTest, trusts_the_named_authority_and_no_other) {
  const auto identity = base_test::make_peer_identity();
  ASSERT_TRUE(write_new_file(folder_ / "ca.pem", identity.certificate));
  ASSERT_TRUE(write_new_file(folder_ / "other.pem", base_test::make_peer_identity().certificate));
  HttpPeer peer([](const std::string&) { return ok("secure"); }, {}, identity);
  HttpRequest request{.url = "https://localhost/", .connect_to = peer.authority()};

  request.ca_file = folder_ / "ca.pem";
  const auto answer = send_http(request);
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(answer->body, "secure");
  for (const auto& file : {fs::path(), folder_ / "other.pem", folder_ / "none.pem"}) {
    request.ca_file = file;
    const auto refused = send_http(request);
    ASSERT_FALSE(refused) << file;
    EXPECT_EQ(refused.error().message, "https://localhost has no certificate that can be trusted");
  }
  request.ca_file = folder_ / "ca.pem";
  request.url = "https://elsewhere/";
  EXPECT_FALSE(send_http(request)) << "the certificate is for localhost";
}

TEST_F(HttpClientTest, a_proxy_of_the_environment_is_not_used) {
  HttpPeer proxy([](const std::string&) { return ok("proxy"); });
  HttpPeer peer([](const std::string&) { return ok("peer"); });
  ::setenv("http_proxy", ("http://" + proxy.authority()).c_str(), 1);
  const auto answer = send_http({.url = url_of(peer, "/")});
  ::unsetenv("http_proxy");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "peer");
}

TEST_F(HttpClientTest, a_program_that_is_started_meanwhile_inherits_no_socket) {
  HttpPeer peer([](const std::string&) { return ok("x"); });
  HttpClient client;
  ASSERT_TRUE(client.send({.url = url_of(peer, "/")}));
  int sockets = 0;
  const auto names = names_in("/proc/self/fd").value();
  for (const auto& name : names) {
    const int fd = std::stoi(name);
    sockaddr_in address{};
    socklen_t size = sizeof address;
    // libcurl's pair of sockets to wake itself by is its own, and leads nowhere.
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
        address.sin_family != AF_INET) {
      continue;
    }
    ++sockets;
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0) << ntohs(address.sin_port);
  }
  EXPECT_EQ(sockets, 3) << "the client's kept connection and the peer's two";
}

}  // namespace
}  // namespace atlasflow
