// A websocket as a stream of an HTTP/2 connection (RFC 8441): the application sees an HTTP/1.1
// upgrade, the client a CONNECT that succeeds.
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "edge/http2/websocket_key.hpp"
#include "tests/edge/http2_client.hpp"

namespace atlasflow::edge {
namespace {

constexpr const char* k_host = "shop.apps.test";
constexpr const char* k_hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
constexpr std::uint32_t k_wide = 1U << 30U;

std::string taken(const UpstreamSession::Request& request) {
  return "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: " +
         websocket_accept(request.fields.at("sec-websocket-key")) + "\r\n\r\n";
}

class Http2Websocket : public EdgeTest {
 protected:
  using Tunnel = std::function<void(UpstreamSession&, const UpstreamSession::Request&)>;

  // Requests for "/chat" are the tunnel's, all others are answered at once.
  void serve(Tunnel tunnel, const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    upstream_ = std::make_unique<RecordingUpstream>(
        [this, tunnel = std::move(tunnel)](UpstreamSession& session) {
          UpstreamSession::Request request;
          while (session.read_head(request)) {
            if (request.path == "/chat") {
              {
                const std::lock_guard lock(mutex_);
                request_ = request;
              }
              tunnel(session, request);
              return;
            }
            session.write(k_hello);
          }
        });
    route(k_host, {at(*upstream_)});
    publish();
  }
  static void echo(UpstreamSession& session, const UpstreamSession::Request& request) {
    session.write(taken(request));
    for (std::string bytes = session.read_some(); !bytes.empty(); bytes = session.read_some()) {
      session.write(bytes);
    }
    session.write("bye");
  }
  void ask(Http2Client& client, std::uint32_t id, Http2Client::Fields more = {}) {
    Http2Client::Fields fields = {{":method", "CONNECT"},
                                  {":protocol", "websocket"},
                                  {":scheme", "https"},
                                  {":path", "/chat"},
                                  {":authority", k_host},
                                  {"sec-websocket-version", "13"},
                                  {"sec-websocket-protocol", "chat"}};
    fields.insert(fields.end(), more.begin(), more.end());
    client.send_fields(id, fields, false);
  }
  [[nodiscard]] static bool has_head(Http2Client& client, std::uint32_t id) {
    return client.read_until([&] { return client.responses()[id].status != 0; });
  }
  [[nodiscard]] static bool has_body(Http2Client& client, std::uint32_t id,
                                     const std::string& body) {
    return client.read_until([&] { return client.responses()[id].body == body; });
  }
  [[nodiscard]] UpstreamSession::Request asked() {
    const std::lock_guard lock(mutex_);
    return request_;
  }

  std::atomic<bool> go_{false};
  std::mutex mutex_;
  UpstreamSession::Request request_;
  std::unique_ptr<RecordingUpstream> upstream_;
};

TEST_F(Http2Websocket, carries_bytes_both_ways_beside_other_requests) {
  serve(echo);
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  ask(client, 1, {{"sec-websocket-key", "of no use"}, {"x-forwarded-for", "forged"}});
  ASSERT_TRUE(has_head(client, 1));
  EXPECT_EQ(client.settings().at(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL), 1U);
  const auto& response = client.responses()[1];
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.fields.at("sec-websocket-protocol"), "chat");
  EXPECT_FALSE(response.fields.contains("sec-websocket-accept"));
  EXPECT_FALSE(response.fields.contains("upgrade"));
  EXPECT_EQ(response.fields.at("x-request-id").size(), 36U);
  client.send_data(1, "one", false);
  EXPECT_TRUE(has_body(client, 1, "one"));
  client.get(3);
  EXPECT_EQ(client.response(3).body, "hello");
  client.send_data(1, "two", false);
  EXPECT_TRUE(has_body(client, 1, "onetwo"));
  // Its end goes to the application, and the application's comes back.
  client.send_data(1, "", true);
  EXPECT_EQ(client.response(1).body, "onetwobye");
  EXPECT_TRUE(client.response(1).ended);
  EXPECT_FALSE(client.response(1).reset);
  client.get(5);
  EXPECT_EQ(client.response(5).body, "hello");

  const auto request = asked();
  EXPECT_TRUE(request.raw_head.starts_with("GET /chat HTTP/1.1\r\n")) << request.raw_head;
  EXPECT_EQ(request.fields.at("upgrade"), "websocket");
  EXPECT_EQ(request.fields.at("connection"), "Upgrade");
  EXPECT_EQ(request.fields.at("sec-websocket-version"), "13");
  EXPECT_EQ(request.fields.at("sec-websocket-key").size(), 24U);
  EXPECT_EQ(request.fields.at("x-forwarded-for"), "127.0.0.1");
  EXPECT_EQ(request.raw_head.find("of no use"), std::string::npos);
  EXPECT_FALSE(request.fields.contains("transfer-encoding"));
}

// What an application gets behind an upgrade that it does not take it reads as its next request.
TEST_F(Http2Websocket, holds_what_the_client_sends_before_the_application_took_it) {
  std::string before;
  serve([&](UpstreamSession& session, const UpstreamSession::Request& request) {
    (void)eventually([&] { return go_.load(); });
    before = session.received();
    session.write(taken(request));
    session.write(session.read_some());
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  ask(client, 1);
  const std::string smuggled = "GET /smuggled HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n";
  client.send_data(1, smuggled, false);
  std::this_thread::sleep_for(300ms);
  go_ = true;
  ASSERT_TRUE(has_head(client, 1));
  EXPECT_TRUE(has_body(client, 1, smuggled));
  EXPECT_TRUE(before.ends_with("\r\n\r\n"));
  EXPECT_EQ(before.find("smuggled"), std::string::npos);
}

TEST_F(Http2Websocket, that_is_refused_is_answered_and_what_came_for_it_is_dropped) {
  serve([](UpstreamSession& session, const UpstreamSession::Request&) {
    session.write("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno!\n");
    (void)session.read_some();
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  ask(client, 1);
  client.send_data(1, "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", false);
  EXPECT_EQ(client.response(1).status, 403);
  EXPECT_EQ(client.response(1).body, "no!\n");
  client.get(3);
  EXPECT_EQ(client.response(3).body, "hello");
  client.connection().close();
  upstream_->stop();
  EXPECT_EQ(upstream_->received().find("smuggled"), std::string::npos);
}

TEST_F(Http2Websocket, is_not_there_unless_the_application_says_so_properly) {
  const std::string wrong[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"};
  std::atomic<std::size_t> which{0};
  serve([&](UpstreamSession& session, const UpstreamSession::Request&) {
    session.write(wrong[which.load()]);
    (void)session.read_some();
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  for (std::size_t i = 0; i < std::size(wrong); ++i) {
    which = i;
    const auto id = static_cast<std::uint32_t>(2 * i + 1);
    ask(client, id);
    EXPECT_EQ(client.response(id).status, 502) << wrong[i];
    EXPECT_EQ(client.response(id).fields["x-atlas-error"], "bad_response") << wrong[i];
  }
}

TEST_F(Http2Websocket, is_all_that_connect_is_for) {
  serve(echo);
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.send_fields(1,
                     {{":method", "CONNECT"},
                      {":protocol", "connect-udp"},
                      {":scheme", "https"},
                      {":path", "/chat"},
                      {":authority", k_host}},
                     false);
  EXPECT_EQ(client.response(1).status, 501);
  ask(client, 3, {{"content-length", "5"}});
  EXPECT_TRUE(client.response(3).reset || client.response(3).status == 400);
  client.send_fields(5,
                     {{":method", "GET"},
                      {":protocol", "websocket"},
                      {":scheme", "https"},
                      {":path", "/chat"},
                      {":authority", k_host}},
                     true);
  EXPECT_TRUE(client.response(5).reset || client.response(5).status == 400);
  EXPECT_EQ(upstream_->connections(), 0);
}

TEST_F(Http2Websocket, that_the_application_cuts_is_reset) {
  serve([&](UpstreamSession& session, const UpstreamSession::Request& request) {
    session.write(taken(request));
    (void)session.read_some();
    session.reset();
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  ask(client, 1);
  ASSERT_TRUE(has_head(client, 1));
  client.send_data(1, "x", false);
  EXPECT_EQ(client.response(1).reset, NGHTTP2_CANCEL);
  client.get(3);
  EXPECT_EQ(client.response(3).body, "hello");
}

TEST_F(Http2Websocket, that_the_client_resets_ends_at_the_application) {
  std::atomic<bool> ended{false};
  serve([&](UpstreamSession& session, const UpstreamSession::Request& request) {
    session.write(taken(request));
    while (!session.read_some().empty()) {
    }
    ended = true;
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  ask(client, 1);
  ASSERT_TRUE(has_head(client, 1));
  client.send_frame(NGHTTP2_RST_STREAM, 0, 1, Http2Client::number(NGHTTP2_CANCEL));
  EXPECT_TRUE(eventually([&] { return ended.load(); }));
}

TEST_F(Http2Websocket, counts_as_in_flight_and_is_cut_at_a_drains_end) {
  serve(echo);
  RecordingUpstream second(answer_with("second"));
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  ask(client, 1);
  ASSERT_TRUE(has_head(client, 1));
  route(k_host, {at(second, "vm-2")});
  publish();
  EXPECT_EQ(edge_->drain("vm-1", 50ms), 1U);
  EXPECT_EQ(client.response(1).reset, NGHTTP2_CANCEL);
  client.get(3);
  EXPECT_EQ(client.response(3).body, "second");
}

TEST_F(Http2Websocket, that_is_silent_for_too_long_ends) {
  serve(echo, [](EdgeConfig& config) { config.timeouts.tunnel_idle = 500ms; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  ask(client, 1);
  ASSERT_TRUE(has_head(client, 1));
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(200ms);
    client.send_data(1, "x", false);
  }
  EXPECT_TRUE(has_body(client, 1, "xxxxx")) << "each byte of either side counts";
  EXPECT_EQ(client.response(1).reset, NGHTTP2_CANCEL);
}

// Neither side can make the edge hold what the other does not take.
TEST_F(Http2Websocket, goes_no_faster_than_the_slower_side) {
  std::atomic<std::size_t> written{0};
  serve([&](UpstreamSession& session, const UpstreamSession::Request& request) {
    session.write(taken(request));
    const std::string part(65536, 'x');
    for (int i = 0; i < 1024 && session.write(part); ++i) written += part.size();
    while (!session.read_some().empty()) {
    }
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host, 0));
  ask(client, 1);
  ASSERT_TRUE(has_head(client, 1));
  const std::string part(16'384, 'y');
  for (int i = 0; i < 15; ++i) client.send_data(1, part, false);
  std::size_t before = 0;
  EXPECT_TRUE(eventually([&] {
    std::this_thread::sleep_for(300ms);
    const std::size_t now = written.load();
    return now != 0 && now == std::exchange(before, now);
  })) << "it waits for a client that takes nothing";
  EXPECT_LT(written.load(), std::size_t{24} * 1024 * 1024) << "all of it is in sockets";
  client.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\x04", 2) + Http2Client::number(k_wide));
  client.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, Http2Client::number(k_wide));
  client.keep_windows_shut();
  EXPECT_TRUE(client.read_until(
      [&] { return client.responses()[1].body.size() == std::size_t{64} * 1024 * 1024; }));
}

TEST(WebsocketKey, is_answered_as_the_rfc_says) {
  EXPECT_EQ(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  std::mt19937_64 random(1);
  const std::string key = make_websocket_key(random);
  EXPECT_EQ(key.size(), 24U);
  EXPECT_NE(key, make_websocket_key(random));
}

}  // namespace
}  // namespace atlasflow::edge
