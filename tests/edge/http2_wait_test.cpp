// HTTP/2: what each side of a connection waits for, for how long, and who has to wait for whom.
#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include <malloc.h>

#include "tests/edge/http2_client.hpp"

namespace atlasflow::edge {
namespace {

constexpr const char* k_host = "shop.apps.test";
constexpr const char* k_hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
constexpr std::uint32_t k_wide = 1U << 30U;
// A name in capitals (RFC 9113 section 8.2.1).
const Http2Client::Fields k_malformed = {
    {":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", k_host}, {"X-A", "1"}};

class Http2Wait : public EdgeTest {
 protected:
  // "/slow" is answered when go_ says so, "/big" without end, everything else at once.
  void serve(const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    upstream_ = std::make_unique<RecordingUpstream>([&](UpstreamSession& session) {
      UpstreamSession::Request request;
      while (session.read_request(request)) {
        if (request.method == "POST") ++posts_;
        if (request.path == "/slow") {
          ++slow_;
          (void)eventually([&] { return go_.load(); });
        }
        if (request.path != "/big") {
          session.write(k_hello);
          ++small_;
          continue;
        }
        session.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n");
        const std::string part(65536, 'x');
        while (session.write(part)) written_ += part.size();
        return;
      }
    });
    route(k_host, {at(*upstream_)});
    publish();
  }
  // Until the sockets between the application and a client that does not read are full.
  void wait_until_it_stalls() {
    std::size_t before = 0;
    EXPECT_TRUE(eventually([&] {
      std::this_thread::sleep_for(200ms);
      const std::size_t now = written_.load();
      return now != 0 && now == std::exchange(before, now);
    }));
  }
  // Then stream 3 is being served, and nothing has come since the malformed head.
  void serve_slowly_beside_malformed(Http2Client& client) {
    client.get(1);
    EXPECT_EQ(client.response(1).body, "hello");
    client.keep_windows_shut();
    client.get(3, "/slow");
    EXPECT_TRUE(eventually([&] { return slow_.load() == 1; }));
    client.send_fields(5, k_malformed, true);
    EXPECT_EQ(client.response(5).reset, NGHTTP2_PROTOCOL_ERROR);
  }
  [[nodiscard]] std::future<void> retire(std::chrono::seconds deadline) {
    auto& local = dynamic_cast<LocalEdge&>(*edge_);
    auto retired =
        std::async(std::launch::async, [&local, deadline] { local.retire(deadline, deadline); });
    EXPECT_TRUE(eventually([&] {
      Client late;
      return !late.connect(edge_->http_port());
    }));
    return retired;
  }

  std::atomic<bool> go_{false};
  std::atomic<int> posts_{0};
  std::atomic<int> slow_{0};
  std::atomic<int> small_{0};
  std::atomic<std::size_t> written_{0};
  std::unique_ptr<RecordingUpstream> upstream_;
};

// ---- a replacement ----

// No more of it was read, as too much waited for the client.
TEST_F(Http2Wait, a_request_that_waits_for_a_full_connection_outlives_its_retirement) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host, k_wide));
  client.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, Http2Client::number(k_wide));
  // Two connections to the application idle then, so that the POST could be written at once.
  client.get(1, "/slow");
  client.get(3, "/slow");
  ASSERT_TRUE(eventually([&] { return slow_.load() == 2; }));
  go_ = true;
  ASSERT_EQ(client.response(1).body, "hello");
  ASSERT_EQ(client.response(3).body, "hello");
  client.keep_windows_shut();
  client.get(5, "/big");
  wait_until_it_stalls();
  client.send_fields(
      7, {{":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", k_host}}, true);
  auto retired = retire(20s);
  ASSERT_TRUE(client.read_until([&] { return client.goaway().has_value(); }));
  EXPECT_EQ(client.response(7).status, 200) << "it was on its way before the news was read";
  EXPECT_EQ(posts_.load(), 1);
  client.connection().close();
  retired.get();
}

TEST_F(Http2Wait, a_handshake_that_ends_after_the_retirement_began_is_told_of_it) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.reach(*edge_));
  std::this_thread::sleep_for(100ms);  // it is accepted
  auto retired = retire(60s);
  const auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(client.begin(*edge_, k_host));
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
  client.connection().close();
  retired.get();
}

// ---- deadlines ----

TEST_F(Http2Wait, a_malformed_head_does_not_end_the_requests_beside_it) {
  serve([](EdgeConfig& config) { config.timeouts.request_head = 500ms; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  serve_slowly_beside_malformed(client);
  std::this_thread::sleep_for(1500ms);
  go_ = true;
  EXPECT_EQ(client.response(3).body, "hello");
  client.get(7);
  EXPECT_EQ(client.response(7).body, "hello");
}

TEST_F(Http2Wait, a_malformed_head_makes_no_room_of_a_connection_that_serves) {
  serve([](EdgeConfig& config) {
    config.limits.connections_max = 200;
    config.workers = 1;
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  serve_slowly_beside_malformed(client);
  // More than there is room for, and each of them quiet for less long.
  std::vector<Client> others(300);
  for (std::size_t i = 0; i < others.size(); ++i) {
    ASSERT_TRUE(others[i].connect(edge_->http_port(), "127.0.0." + std::to_string(10 + i % 4)));
  }
  Client late;
  ASSERT_TRUE(late.connect(edge_->http_port(), "127.0.0.2"));
  EXPECT_EQ(late.get(k_host).body, "hello");
  go_ = true;
  EXPECT_EQ(client.response(3).body, "hello");
}

// And neither does one that is not whole: it is waited for when the others are done.
TEST_F(Http2Wait, half_a_head_does_not_end_the_requests_beside_it) {
  serve([](EdgeConfig& config) { config.timeouts.request_head = 500ms; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  EXPECT_EQ(client.response(1).body, "hello");
  client.keep_windows_shut();  // nothing may be sent within a block of fields
  client.get(3, "/slow");
  ASSERT_TRUE(eventually([&] { return slow_.load() == 1; }));
  client.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, 5,
                    Http2Client::block({{":method", "GET"}}));
  std::this_thread::sleep_for(1500ms);
  go_ = true;
  EXPECT_EQ(client.response(3).body, "hello");
  EXPECT_EQ(client.read_goaway(), NGHTTP2_ENHANCE_YOUR_CALM);
}

TEST_F(Http2Wait, an_answer_that_the_client_does_not_take_is_dropped) {
  serve([](EdgeConfig& config) { config.timeouts.client_write_idle = 1s; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host, 0));
  client.connection().set_patience(100ms);
  client.get(1);
  bool dropped = false;
  for (int i = 0; i < 60 && !dropped; ++i) {
    ASSERT_TRUE(client.send_frame(NGHTTP2_PING, 0, 0, "12345678"));
    dropped = client.read_until([&] { return client.responses()[1].reset.has_value(); });
  }
  EXPECT_EQ(client.responses()[1].status, 200);
  EXPECT_EQ(client.responses()[1].reset, NGHTTP2_CANCEL);
  // The connection goes on.
  client.connection().set_patience(k_patience);
  client.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\x04", 2) + Http2Client::number(65535));
  client.get(3);
  EXPECT_EQ(client.response(3).body, "hello");
}

// Few connections have so many requests at once again.
TEST_F(Http2Wait, answered_requests_leave_little_behind) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host, 0));
  const auto ask = [&](std::uint32_t first, std::uint32_t end) {
    const std::string block = Http2Client::block({{":method", "GET"},
                                                  {":scheme", "https"},
                                                  {":path", "/" + std::string(17'000, 'p')},
                                                  {":authority", k_host},
                                                  {"cookie", std::string(11'000, 'c')}});
    for (std::uint32_t id = first; id < end; id += 2) {
      client.send_frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, id, block.substr(0, 16'000));
      client.send_frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, id, block.substr(16'000));
    }
  };
  const auto answer = [&](std::uint32_t first, std::uint32_t end) {
    // They wait for their windows until then.
    client.send_frame(NGHTTP2_SETTINGS, 0, 0,
                      std::string("\0\x04", 2) + Http2Client::number(65535));
    for (std::uint32_t id = first; id < end; id += 2) {
      EXPECT_EQ(client.response(id).status, 414);
    }
  };
  ask(1, 3);
  answer(1, 3);
  client.send_frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\x04", 2) + Http2Client::number(0));
  const std::size_t before = ::mallinfo2().uordblks;
  ask(3, 203);
  ASSERT_TRUE(client.read_until([&] { return client.responses()[201].status != 0; }));
  answer(3, 203);
  EXPECT_LT(::mallinfo2().uordblks, before + std::size_t{2} * 1024 * 1024);
}

TEST_F(Http2Wait, pings_keep_no_idle_connection) {
  serve([](EdgeConfig& config) { config.timeouts.keep_alive = 1s; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  EXPECT_EQ(client.response(1).body, "hello");
  client.connection().set_patience(100ms);
  for (int i = 0; i < 60 && !client.goaway(); ++i) {
    client.send_frame(NGHTTP2_PING, 0, 0, "12345678");
    (void)client.read_until([&] { return client.goaway().has_value(); });
  }
  EXPECT_EQ(client.goaway(), NGHTTP2_NO_ERROR);
}

// ---- beside each other ----

TEST_F(Http2Wait, an_endless_answer_holds_up_no_small_one) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host, k_wide));
  client.get(1, "/big");
  wait_until_it_stalls();  // it has used up the connection's window
  for (std::uint32_t id = 3; id < 40; id += 2) client.get(id);
  ASSERT_TRUE(eventually([&] { return small_.load() == 19; }));
  std::this_thread::sleep_for(300ms);  // the edge has them, and no window for them
  const auto answered = [&] {
    std::this_thread::sleep_for(1ms);  // the application is faster than its client
    for (std::uint32_t id = 3; id < 40; id += 2) {
      if (!client.responses()[id].ended) return false;
    }
    return true;
  };
  constexpr std::size_t k_most = std::size_t{160} * 1024;  // two and a half windows
  ASSERT_TRUE(
      client.read_until([&] { return answered() || client.responses()[1].body.size() > k_most; }));
  EXPECT_TRUE(answered());
}

}  // namespace
}  // namespace atlasflow::edge
