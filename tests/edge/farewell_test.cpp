// HTTP/2: the end of a connection in two steps (RFC 9113 section 6.8). A request that the client
// had sent before it read of the end is served; one that is not was named so.
#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "tests/edge/http2_client.hpp"
#include "tests/edge/remote_edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::steady_clock;

constexpr const char* k_host = "shop.apps.test";
constexpr const char* k_hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
constexpr std::uint32_t k_none_yet = 0x7FFFFFFF;

using LastStreams = std::vector<std::uint32_t>;

// "/slow" is answered when `go` says so, everything else at once.
class Application {
 public:
  [[nodiscard]] RecordingUpstream::Handler handler() {
    return [this](UpstreamSession& session) {
      UpstreamSession::Request request;
      while (session.read_request(request)) {
        if (request.method == "POST") ++posts;
        if (request.path == "/slow") {
          ++slow;
          (void)eventually([&] { return go.load(); });
        }
        session.write(k_hello);
      }
    };
  }
  std::atomic<bool> go{false};
  std::atomic<int> posts{0};
  std::atomic<int> slow{0};
};

class Farewell : public EdgeTest {
 protected:
  void serve(const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    route(k_host, {at(upstream_)});
    publish();
  }
  // Returns when every worker has begun to.
  [[nodiscard]] std::future<void> retire() {
    auto& local = dynamic_cast<LocalEdge&>(*edge_);
    auto retired =
        std::async(std::launch::async, [&local] { local.retire(k_patience, k_patience); });
    EXPECT_TRUE(eventually([&] {
      Client late;
      return !late.connect(edge_->http_port());
    }));
    return retired;
  }

  Application application_;
  RecordingUpstream upstream_{application_.handler()};
};

TEST_F(Farewell, what_was_sent_before_the_news_was_read_is_served) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1, "/slow");
  ASSERT_TRUE(eventually([&] { return application_.slow.load() == 1; }));
  auto retired = retire();
  const auto began = steady_clock::now();
  // It has not read anything since, as if the GOAWAY were still on its way.
  for (const std::uint32_t id : {3U, 5U, 7U}) {
    client.post(id);
    client.send_data(id, "paid", true);
  }
  for (const std::uint32_t id : {3U, 5U, 7U}) EXPECT_EQ(client.response(id).status, 200) << id;
  EXPECT_EQ(application_.posts.load(), 3);
  application_.go = true;
  EXPECT_EQ(client.response(1).body, "hello");
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  EXPECT_EQ(client.last_streams(), (LastStreams{k_none_yet, 7}));
  client.connection().close();
  retired.get();
  EXPECT_LT(steady_clock::now() - began, 15s) << "it does not wait for the deadline";
}

// What comes in one piece with the answer is served too, and named.
TEST_F(Farewell, what_comes_with_the_answer_to_the_news_is_served_or_disowned) {
  serve();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  EXPECT_EQ(client.response(1).body, "hello");
  client.answer_no_pings();
  auto retired = retire();
  ASSERT_TRUE(client.read_until([&] { return client.pings().size() == 1; }));
  const std::string block = Http2Client::block(
      {{":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", k_host}});
  client.connection().send(
      Http2Client::frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, client.pings().front()) +
      Http2Client::frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM | NGHTTP2_FLAG_END_HEADERS, 3,
                         block));
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  ASSERT_EQ(client.last_streams().size(), 2U);
  EXPECT_EQ(application_.posts.load(), client.last_streams().back() >= 3 ? 1 : 0);
  EXPECT_EQ(client.responses()[3].status, 200) << "it was there when the last one was named";
  client.connection().close();
  retired.get();
}

TEST_F(Farewell, a_client_that_does_not_answer_is_not_waited_for) {
  serve([](EdgeConfig& config) { config.timeouts.farewell = 300ms; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.answer_no_pings();
  client.get(1, "/slow");
  ASSERT_TRUE(eventually([&] { return application_.slow.load() == 1; }));
  auto retired = retire();
  ASSERT_TRUE(client.read_until([&] { return client.last_streams().size() == 2; }));
  EXPECT_EQ(client.last_streams(), (LastStreams{k_none_yet, 1}));
  // What it sends now reaches no application; what was there is served.
  client.post(3);
  client.send_data(3, "paid", true);
  application_.go = true;
  EXPECT_EQ(client.response(1).body, "hello");
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  EXPECT_EQ(application_.posts.load(), 0);
  client.connection().close();
  retired.get();
}

TEST_F(Farewell, a_request_that_crosses_the_end_of_an_idle_connection_is_served) {
  serve([](EdgeConfig& config) { config.timeouts.keep_alive = 300ms; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  EXPECT_EQ(client.response(1).body, "hello");
  std::this_thread::sleep_for(1s);  // by now it has been told, and has not read it
  client.post(3);
  client.send_data(3, "paid", true);
  EXPECT_EQ(client.response(3).status, 200);
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  EXPECT_EQ(client.last_streams(), (LastStreams{k_none_yet, 3}));
}

TEST_F(Farewell, an_idle_client_that_is_gone_is_not_kept) {
  serve([](EdgeConfig& config) {
    config.timeouts.keep_alive = 300ms;
    config.timeouts.farewell = 300ms;
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.answer_no_pings();
  client.get(1);
  EXPECT_EQ(client.response(1).body, "hello");
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  EXPECT_EQ(client.last_streams(), (LastStreams{k_none_yet, 1}));
}

// ---- a process takes the place of another ----

class Replacement : public RemoteEdgeTest {
 protected:
  Application application_;
  RecordingUpstream upstream_{application_.handler()};
};

TEST_F(Replacement, requests_that_are_in_flight_or_on_their_way_are_served) {
  attach();
  route(k_host, {at(upstream_)});
  publish();
  const auto before = pid();
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1, "/slow");
  client.post(3);  // half of it
  client.send_data(3, "half ", false);
  ASSERT_TRUE(eventually([&] { return application_.slow.load() == 1; }));
  attach(config("build-2"));
  EXPECT_NE(pid(), before);
  client.send_data(3, "and half", true);
  client.post(5);
  client.send_data(5, "paid", true);
  EXPECT_EQ(client.response(3).status, 200);
  EXPECT_EQ(client.response(5).status, 200);
  application_.go = true;
  EXPECT_EQ(client.response(1).body, "hello");
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  EXPECT_EQ(client.last_streams(), (LastStreams{k_none_yet, 5}));
  EXPECT_EQ(application_.posts.load(), 2);
}

// Visitors that always have four requests on their way, and come anew when they are told to.
TEST_F(Replacement, no_request_of_busy_clients_is_lost_or_served_twice) {
  attach();
  route(k_host, {at(upstream_)});
  publish();
  std::atomic<bool> stop{false};
  std::atomic<int> served{0};
  const auto visit = [&, port = edge_->https_port(), ca = edge_->ca_certificate().string()] {
    while (!stop.load()) {
      Http2Client client;
      if (!client.connect(port, ca, k_host)) {
        ADD_FAILURE() << "nobody accepts";
        return;
      }
      for (std::uint32_t id = 1; !stop.load() && client.last_streams().empty(); id += 8) {
        for (std::uint32_t i = 0; i < 4; ++i) client.post(id + 2 * i);
        for (std::uint32_t i = 0; i < 4; ++i) client.send_data(id + 2 * i, "paid", true);
        for (std::uint32_t i = 0; i < 4; ++i) {
          const Http2Response& response = client.response(id + 2 * i);
          EXPECT_EQ(response.status, 200) << id + 2 * i;
          if (response.status == 200) ++served;
        }
      }
    }
  };
  std::vector<std::thread> visitors;
  for (int i = 0; i < 2; ++i) visitors.emplace_back(visit);
  EXPECT_TRUE(eventually([&] { return served.load() > 50; }));
  for (const char* build : {"build-2", "build-3"}) {
    const int seen = served.load();
    attach(config(build));
    EXPECT_TRUE(eventually([&] { return served.load() > seen + 200; }));
  }
  stop = true;
  for (auto& visitor : visitors) visitor.join();
  EXPECT_EQ(application_.posts.load(), served.load());
}

}  // namespace
}  // namespace atlasflow::edge
