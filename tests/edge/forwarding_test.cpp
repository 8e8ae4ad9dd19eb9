// What passes through the edge, and how: heads, bodies of every framing, interim responses,
// tunnels.
#include <atomic>
#include <fstream>
#include <future>
#include <regex>
#include <set>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;

class Forwarding : public EdgeTest {
 protected:
  // A request that its upstream has and never answers.
  void wait_for_an_answer(std::chrono::milliseconds half_closed) {
    start([&](EdgeConfig& config) { config.timeouts.half_closed = half_closed; });
    upstream_ = std::make_unique<RecordingUpstream>([this](UpstreamSession& session) {
      Request request;
      if (!session.read_request(request)) return;
      upstream_asked_.set_value();
      if (session.read_some().empty()) upstream_left_.set_value();
    });
    route("shop.apps.test", {at(*upstream_)});
    publish();
    ASSERT_TRUE(client_.connect(edge_->http_port()));
    ASSERT_TRUE(client_.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
    ASSERT_EQ(upstream_asked_.get_future().wait_for(k_patience), std::future_status::ready);
  }

  // An upstream that keeps the last request and answers with what the test set.
  void serve(std::string response, const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    upstream_ = std::make_unique<RecordingUpstream>([this, response](UpstreamSession& session) {
      Request request;
      while (session.read_request(request)) {
        {
          const std::lock_guard lock(mutex_);
          last_ = request;
        }
        if (!session.write(response)) return;
      }
    });
    route("shop.apps.test", {at(*upstream_)});
    publish();
    ASSERT_TRUE(client_.connect(edge_->http_port()));
  }
  Request last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }

  std::mutex mutex_;
  Request last_;
  std::promise<void> upstream_asked_;
  std::promise<void> upstream_left_;
  std::unique_ptr<RecordingUpstream> upstream_;
  Client client_;
};

constexpr const char* k_ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(Forwarding, passes_a_request_and_its_answer_on) {
  serve("HTTP/1.1 201 Made It\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\nServer: app\r\n\r\nok");
  const ClientResponse response =
      client_.get("Shop.Apps.Test", "/path?x=1", "Accept: */*\r\nCookie: c=d\r\n");
  EXPECT_EQ(response.status, 201);
  EXPECT_EQ(response.body, "ok");
  EXPECT_EQ(response.field("set-cookie"), "a=b");
  EXPECT_EQ(response.field("server"), "app");
  EXPECT_EQ(last().path, "/path?x=1");
  EXPECT_EQ(last().fields["host"], "Shop.Apps.Test") << "Host is passed on as it came";
  EXPECT_EQ(last().fields["cookie"], "c=d");
}

TEST_F(Forwarding, names_the_client_and_believes_no_such_claim_of_its_own) {
  serve(k_ok);
  const ClientResponse response = client_.get(
      "shop.apps.test:80", "/",
      "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
      "X-Forwarded-Port: 1\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
      "X-Request-Id: mine\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded-User: root\r\n");
  ASSERT_EQ(response.status, 200);
  Request request = last();
  EXPECT_EQ(request.fields["x-forwarded-for"], "127.0.0.1");
  EXPECT_EQ(request.fields["x-forwarded-proto"], "http");
  EXPECT_EQ(request.fields["x-forwarded-host"], "shop.apps.test:80");
  EXPECT_EQ(request.fields["x-forwarded-port"], std::to_string(edge_->http_port()));
  EXPECT_EQ(request.fields["x-real-ip"], "127.0.0.1");
  EXPECT_EQ(request.fields["x-request-id"].size(), 36U);
  EXPECT_EQ(request.raw_head.find("6.6.6.6"), std::string::npos);
  EXPECT_EQ(request.raw_head.find("root"), std::string::npos);
}

// RFC 9562 section 5.7: the time first, so that ids sort by it.
TEST_F(Forwarding, gives_each_request_of_a_connection_a_uuid_of_version_7) {
  serve(k_ok);
  const std::regex uuid("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}");
  std::set<std::string> ids;
  std::string before;
  for (int i = 0; i < 20; ++i) {
    ASSERT_EQ(client_.get("shop.apps.test").status, 200);
    const std::string id = last().fields["x-request-id"];
    EXPECT_TRUE(std::regex_match(id, uuid)) << id;
    EXPECT_TRUE(ids.insert(id).second) << id;
    const std::string time = id.substr(0, 13);
    EXPECT_LE(before, time);
    before = time;
    const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::system_clock::now().time_since_epoch());
    const auto said = std::stoll(time.substr(0, 8) + time.substr(9), nullptr, 16);
    EXPECT_NEAR(static_cast<double>(now.count()), static_cast<double>(said), 60'000);
  }
}

TEST_F(Forwarding, takes_the_fields_of_this_hop_out_of_the_request) {
  serve(k_ok);
  const ClientResponse response = client_.get(
      "shop.apps.test", "/",
      "Connection: keep-alive, X-Private, Foo\r\nX-Private: 1\r\nFoo: 2\r\nKeep-Alive: 5\r\n"
      "Proxy-Connection: x\r\nProxy-Authorization: x\r\nProxy: http://evil\r\nTE: trailers\r\n"
      "Upgrade: h2c\r\nHTTP2-Settings: AA\r\nX-Stays: 3\r\n");
  ASSERT_EQ(response.status, 200);
  Request request = last();
  for (const char* name : {"connection", "x-private", "foo", "keep-alive", "proxy-connection",
                           "proxy-authorization", "proxy", "te", "upgrade"}) {
    EXPECT_FALSE(request.fields.contains(name)) << name;
  }
  EXPECT_EQ(request.fields["x-stays"], "3");
}

TEST_F(Forwarding, takes_the_fields_of_that_hop_out_of_the_response) {
  serve(
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
      "Keep-Alive: timeout=5\r\nX-Stays: 2\r\n\r\nok");
  const ClientResponse response = client_.get("shop.apps.test");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.fields.count("x-hop"), 0U);
  EXPECT_EQ(response.fields.count("keep-alive"), 0U);
  EXPECT_EQ(response.field("x-stays"), "2");
}

TEST_F(Forwarding, refuses_a_connection_field_that_would_drop_end_to_end_fields) {
  serve(k_ok);
  EXPECT_EQ(client_.get("shop.apps.test", "/", "Connection: X-Forwarded-For\r\n").status, 400);
  Client second;
  ASSERT_TRUE(second.connect(edge_->http_port()));
  EXPECT_EQ(second.get("shop.apps.test", "/", "Connection: Cookie\r\n").status, 400);
  EXPECT_EQ(upstream_->connections(), 0);
}

TEST_F(Forwarding, keeps_both_connections_alive) {
  serve(k_ok);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(client_.get("shop.apps.test").body, "ok");
  EXPECT_EQ(upstream_->connections(), 1);
}

TEST_F(Forwarding, answers_pipelined_requests_in_order) {
  start();
  upstream_ = std::make_unique<RecordingUpstream>([](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + request.path);
    }
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  std::string batch;
  for (char c = 'a'; c <= 'j'; ++c) {
    batch += std::string("GET /") + c + " HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n";
  }
  ASSERT_TRUE(client_.send(batch));
  for (char c = 'a'; c <= 'j'; ++c) EXPECT_EQ(client_.receive().body, std::string("/") + c);
}

TEST_F(Forwarding, closes_when_the_client_asked_to) {
  serve(k_ok);
  const ClientResponse response = client_.get("shop.apps.test", "/", "Connection: close\r\n");
  EXPECT_EQ(response.body, "ok");
  EXPECT_EQ(response.field("connection"), "close");
  EXPECT_TRUE(client_.ended());
}

TEST_F(Forwarding, relays_chunked_bodies_and_trailers_both_ways) {
  serve(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
      "3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 9\r\nContent-Length: 3\r\n\r\n");
  ASSERT_TRUE(
      client_.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "5\r\nhello\r\n1;a=\"b\"\r\n \r\n5\r\nworld\r\n0\r\n\r\n"));
  const ClientResponse response = client_.receive();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.body, "abcdefg");
  EXPECT_EQ(response.field("transfer-encoding"), "chunked");
  EXPECT_EQ(response.field("trailer x-sum"), "9");
  EXPECT_EQ(response.fields.count("trailer content-length"), 0U);
  EXPECT_EQ(last().body, "hello world");
  EXPECT_EQ(last().fields["transfer-encoding"], "chunked");
}

TEST_F(Forwarding, frames_a_body_that_ends_by_closing_anew) {
  start();
  upstream_ = std::make_unique<RecordingUpstream>([](UpstreamSession& session) {
    Request request;
    if (session.read_request(request)) session.write("HTTP/1.1 200 OK\r\n\r\nuntil the end");
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  for (int i = 0; i < 2; ++i) {
    const ClientResponse response = client_.get("shop.apps.test");
    EXPECT_EQ(response.body, "until the end");
    EXPECT_EQ(response.field("transfer-encoding"), "chunked");
    EXPECT_TRUE(response.complete);
  }
}

TEST_F(Forwarding, serves_http10_clients_without_chunks) {
  serve("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  ASSERT_TRUE(client_.send("GET / HTTP/1.0\r\nHost: shop.apps.test\r\n\r\n"));
  const ClientResponse response = client_.receive();
  EXPECT_EQ(response.body, "abc");
  EXPECT_EQ(response.fields.count("transfer-encoding"), 0U);
  EXPECT_TRUE(response.complete);
}

TEST_F(Forwarding, keeps_an_http10_connection_only_when_asked) {
  serve(k_ok);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(
        client_.send("GET / HTTP/1.0\r\nHost: shop.apps.test\r\nConnection: keep-alive\r\n\r\n"));
    const ClientResponse response = client_.receive();
    EXPECT_EQ(response.body, "ok");
    EXPECT_EQ(response.field("connection"), "keep-alive");
  }
}

TEST_F(Forwarding, leaves_bodies_out_where_http_has_none) {
  start();
  upstream_ = std::make_unique<RecordingUpstream>([](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      if (request.method == "HEAD") {
        session.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
      } else if (request.path == "/304") {
        session.write("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nETag: x\r\n\r\n");
      } else {
        session.write("HTTP/1.1 204 No Content\r\n\r\n");
      }
    }
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  ASSERT_TRUE(client_.send("HEAD / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  EXPECT_EQ(client_.receive(true).field("content-length"), "1000");
  EXPECT_EQ(client_.get("shop.apps.test", "/304").field("etag"), "x");
  const ClientResponse empty = client_.get("shop.apps.test", "/204");
  EXPECT_EQ(empty.status, 204);
  EXPECT_EQ(empty.fields.count("content-length"), 0U);
  EXPECT_EQ(upstream_->connections(), 1) << "none of them desynchronised the connection";
}

TEST_F(Forwarding, relays_interim_responses_in_order) {
  start();
  upstream_ = std::make_unique<RecordingUpstream>([](UpstreamSession& session) {
    Request request;
    if (!session.read_head(request)) return;
    session.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
    if (!session.read_body(request)) return;
    session.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + request.body);
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  ASSERT_TRUE(
      client_.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 4\r\n"
                   "Expect: 100-continue\r\n\r\n"));
  std::string interim;
  while (interim.find("100 Continue\r\n\r\n") == std::string::npos) {
    const std::string more = client_.read_some();
    ASSERT_FALSE(more.empty());
    interim += more;
  }
  EXPECT_LT(interim.find("103 Early"), interim.find("100 Continue"));
  ASSERT_TRUE(client_.send("data"));
  const ClientResponse response = client_.receive();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "data");
}

// The most that the kernel lets one socket's buffer of that kind grow to; "rmem" or "wmem".
std::size_t kernel_buffer_bytes_max(const std::string& kind) {
  std::ifstream in("/proc/sys/net/ipv4/tcp_" + kind);
  std::size_t low = 0;
  std::size_t initial = 0;
  std::size_t high = 0;
  in >> low >> initial >> high;
  EXPECT_GT(high, 0U) << "tcp_" << kind;
  return high;
}

TEST_F(Forwarding, streams_big_bodies_both_ways_without_holding_them) {
  // More than the kernel may hold in the four sockets on the way, so that what does not stop the
  // sender must be held by the edge.
  const std::size_t size =
      2 * (kernel_buffer_bytes_max("rmem") + kernel_buffer_bytes_max("wmem")) + (8U << 20U);
  const std::string big = [size] {
    std::string made(size - size % 65536, '\0');
    for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<char>('a' + i * 31 % 26);
    return made;
  }();
  start();
  std::atomic<bool> go{false};
  std::atomic<std::size_t> written{0};
  upstream_ = std::make_unique<RecordingUpstream>([&](UpstreamSession& session) {
    Request request;
    while (session.read_head(request)) {
      if (request.method == "POST") {
        while (!go.load()) std::this_thread::sleep_for(1ms);  // reads nothing for a while
      }
      if (!session.read_body(request)) return;
      const std::string& body = request.method == "POST" ? request.body : big;
      session.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n");
      for (std::size_t at = 0; at < body.size(); at += 65536) {
        if (!session.write(std::string_view(body).substr(at, 65536))) return;
        written += 65536;
      }
    }
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));

  // The client reads nothing: the upstream must be stopped long before it has written all.
  const int small = 65536;
  ::setsockopt(client_.fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  ASSERT_TRUE(client_.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  std::size_t before = 1;
  while (before != written.load()) {
    before = written.load();
    std::this_thread::sleep_for(300ms);
  }
  EXPECT_LT(written.load(), big.size()) << "back-pressure reached the upstream";
  EXPECT_TRUE(client_.receive().body == big);

  // The upstream reads nothing: the client must be stopped.
  ::setsockopt(client_.fd(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  std::atomic<std::size_t> sent{0};
  std::thread sender([&] {
    client_.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: " +
                 std::to_string(big.size()) + "\r\n\r\n");
    for (std::size_t at = 0; at < big.size(); at += 65536) {
      if (!client_.send(std::string_view(big).substr(at, 65536))) return;
      sent += 65536;
    }
  });
  before = 1;
  while (before != sent.load()) {
    before = sent.load();
    std::this_thread::sleep_for(300ms);
  }
  EXPECT_LT(sent.load(), big.size()) << "back-pressure reached the client";
  go = true;
  sender.join();
  EXPECT_TRUE(client_.receive().body == big);
}

TEST_F(Forwarding, tunnels_websockets_and_holds_what_comes_before_101) {
  start();
  std::promise<std::string> early;
  std::promise<void> accept;
  upstream_ = std::make_unique<RecordingUpstream>([&](UpstreamSession& session) {
    Request request;
    if (!session.read_request(request)) return;
    accept.get_future().wait();
    early.set_value(session.received());
    session.write(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Accept: x\r\n\r\nhello");
    std::string bytes;
    while (!(bytes = session.read_some()).empty()) session.write("<" + bytes + ">");
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  ASSERT_TRUE(client_.send(
      "GET /ws HTTP/1.1\r\nHost: shop.apps.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Key: k\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"));
  std::this_thread::sleep_for(100ms);
  accept.set_value();
  const std::string seen = early.get_future().get();
  EXPECT_EQ(seen.find("smuggled"), std::string::npos) << "held until the upstream agreed";
  EXPECT_NE(seen.find("Upgrade: websocket\r\n"), std::string::npos);
  EXPECT_NE(seen.find("Sec-WebSocket-Key: k\r\n"), std::string::npos);

  std::string all;
  while (all.find("x\r\n\r\n>") == std::string::npos) {
    const std::string more = client_.read_some();
    ASSERT_FALSE(more.empty()) << all;
    all += more;
  }
  EXPECT_TRUE(all.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_NE(all.find("\r\n\r\nhello<GET /smuggled"), std::string::npos);
  ASSERT_TRUE(client_.send("ping"));
  EXPECT_EQ(client_.read_some(), "<ping>");
}

TEST_F(Forwarding, treats_a_refused_upgrade_as_the_last_response) {
  serve("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
  ASSERT_TRUE(client_.send(
      "GET /ws HTTP/1.1\r\nHost: shop.apps.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "\r\nGET /smuggled HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  const ClientResponse response = client_.receive();
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(response.field("connection"), "close");
  EXPECT_TRUE(client_.ended());
  upstream_->stop();
  EXPECT_EQ(upstream_->received().find("smuggled"), std::string::npos);
}

TEST_F(Forwarding, refuses_a_101_that_nobody_asked_for) {
  serve("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
  EXPECT_EQ(client_.get("shop.apps.test").status, 502);
}

TEST_F(Forwarding, reaches_an_upstream_on_a_unix_socket) {
  start();
  RecordingUpstream api(answer_with("api"), directory_ + "/api.sock");
  route("apps.test", {{"api", "unix:" + directory_ + "/api.sock", 0}});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  EXPECT_EQ(client_.get("apps.test").body, "api");
}

TEST_F(Forwarding, spreads_requests_over_the_upstreams_of_a_route) {
  start([](EdgeConfig& config) { config.workers = 1; });
  RecordingUpstream one(answer_with("1"));
  RecordingUpstream two(answer_with("2"));
  route("shop.apps.test", {at(one, "vm-1"), at(two, "vm-2")});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  std::map<std::string, int> seen;
  for (int i = 0; i < 20; ++i) ++seen[client_.get("shop.apps.test").body];
  EXPECT_EQ(seen["1"], 10);
  EXPECT_EQ(seen["2"], 10);
}

TEST_F(Forwarding, ends_the_upstream_request_when_the_client_leaves) {
  ASSERT_NO_FATAL_FAILURE(wait_for_an_answer(300ms));
  client_.close();
  EXPECT_EQ(upstream_left_.get_future().wait_for(k_patience), std::future_status::ready);
}

TEST_F(Forwarding, ends_the_upstream_request_at_once_when_the_client_resets) {
  ASSERT_NO_FATAL_FAILURE(wait_for_an_answer(1h));
  const linger hard{1, 0};
  ASSERT_EQ(::setsockopt(client_.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
  client_.close();
  EXPECT_EQ(upstream_left_.get_future().wait_for(k_patience), std::future_status::ready);
}

}  // namespace
}  // namespace atlasflow::edge
