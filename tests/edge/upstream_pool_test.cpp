// Which connections to an upstream are used again, and what is made of one that ends meanwhile.
#include <atomic>
#include <string>
#include <vector>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;

class Pool : public EdgeTest {
 protected:
  void SetUp() override {
    start([](EdgeConfig& config) { config.workers = 1; });
  }
  void serve(const RecordingUpstream& upstream) {
    route("shop.apps.test", {at(upstream)});
    publish();
    ASSERT_TRUE(client_.connect(edge_->http_port()));
  }
  Client client_;
};

// Answers one request, then says of the next that it waited too long for it: what crosses a request
// that is under way to a connection whose time has just passed.
void one_then_timeout(UpstreamSession& session) {
  Request request;
  if (!session.read_request(request)) return;
  session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  if (!session.read_request(request)) return;
  session.write(
      "HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlate");
  session.shutdown();
}

TEST_F(Pool, a_get_is_not_told_that_its_pooled_connection_timed_out) {
  RecordingUpstream upstream(one_then_timeout);
  serve(upstream);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(client_.get("shop.apps.test").body, "ok") << i;
  EXPECT_GT(upstream.connections(), 1);
}

TEST_F(Pool, a_408_to_a_fresh_connection_or_to_a_post_is_passed_on) {
  RecordingUpstream impatient([](UpstreamSession& session) {
    Request request;
    if (!session.read_request(request)) return;
    session.write("HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nslow");
  });
  serve(impatient);
  EXPECT_EQ(client_.get("shop.apps.test").body, "slow");
  EXPECT_EQ(impatient.connections(), 1);

  RecordingUpstream upstream(one_then_timeout);
  route("shop.apps.test", {at(upstream)});
  publish();
  EXPECT_EQ(client_.get("shop.apps.test").body, "ok");
  client_.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 4\r\n\r\ndata");
  EXPECT_EQ(client_.receive().status, 408);
  EXPECT_EQ(upstream.connections(), 1) << "it may have been served: it is sent once";
}

// The app's own answer, on a connection that goes on: the request was looked at.
TEST_F(Pool, a_408_that_keeps_its_connection_is_passed_on) {
  std::atomic<int> requests{0};
  RecordingUpstream upstream([&](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      session.write(++requests == 1 ? "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
                                    : "HTTP/1.1 408 Slow\r\nContent-Length: 4\r\n\r\nslow");
    }
  });
  serve(upstream);
  EXPECT_EQ(client_.get("shop.apps.test").body, "ok");
  EXPECT_EQ(client_.get("shop.apps.test").body, "slow");
  EXPECT_EQ(requests.load(), 2);
}

// It can't be sent again once more of it has gone out than is kept, so its connection is looked at.
TEST_F(Pool, a_large_put_is_not_given_to_a_connection_that_has_been_left) {
  std::atomic<bool> leave{false};
  std::atomic<bool> left{false};
  RecordingUpstream upstream([&](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
      if (request.path != "/stall") continue;
      while (!leave.load()) std::this_thread::sleep_for(1ms);
      session.reset();
      left = true;
      return;
    }
  });
  serve(upstream);
  EXPECT_EQ(client_.get("shop.apps.test", "/stall").body, "ok");
  leave = true;
  ASSERT_TRUE(eventually([&] { return left.load(); }));
  client_.send("PUT /x HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 200000\r\n\r\n" +
               std::string(200'000, 'x'));
  EXPECT_EQ(client_.receive().body, "ok");
}

TEST_F(Pool, as_many_connections_are_kept_as_answer_at_once) {
  constexpr int k_clients = 200;
  std::atomic<int> waiting{0};
  std::atomic<int> released{0};
  RecordingUpstream upstream([&](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      const int round = std::stoi(request.path.substr(1));
      ++waiting;
      while (released.load() < round) std::this_thread::sleep_for(1ms);
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
  });
  serve(upstream);
  std::vector<Client> clients(k_clients);
  for (Client& client : clients) ASSERT_TRUE(client.connect(edge_->http_port()));
  for (int round = 1; round <= 3; ++round) {
    for (Client& client : clients) {
      client.send("GET /" + std::to_string(round) + " HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n");
    }
    ASSERT_TRUE(eventually([&] { return waiting.load() == round * k_clients; }));
    released = round;
    for (Client& client : clients) ASSERT_EQ(client.receive().body, "ok");
  }
  EXPECT_EQ(upstream.connections(), k_clients);
}

}  // namespace
}  // namespace atlasflow::edge
