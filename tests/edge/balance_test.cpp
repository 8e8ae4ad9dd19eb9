// Several upstreams of one route: each gets its share, the busy one less, and one that is away
// none.
#include <future>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;

class Balance : public EdgeTest {
 protected:
  std::string get() {
    Client client;
    if (!client.connect(edge_->http_port())) return "no connection";
    return client.get("shop.apps.test").body;
  }
};

TEST_F(Balance, requests_one_after_the_other_go_to_all_in_turn) {
  start([](EdgeConfig& config) { config.workers = 1; });
  RecordingUpstream one(answer_with("one"));
  RecordingUpstream two(answer_with("two"));
  RecordingUpstream three(answer_with("three"));
  route("shop.apps.test", {at(one, "vm-1"), at(two, "vm-2"), at(three, "vm-3")});
  publish();
  std::map<std::string, int> answers;
  for (int i = 0; i < 60; ++i) ++answers[get()];
  EXPECT_EQ(answers, (std::map<std::string, int>{{"one", 20}, {"two", 20}, {"three", 20}}));
}

TEST_F(Balance, the_one_with_fewer_requests_in_flight_comes_first) {
  start([](EdgeConfig& config) { config.workers = 1; });
  std::promise<void> release;
  const auto released = release.get_future().share();
  std::atomic<int> held{0};
  RecordingUpstream slow([&](UpstreamSession& session) {
    Request request;
    if (!session.read_request(request)) return;
    ++held;
    released.wait();
    session.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
  });
  RecordingUpstream quick(answer_with("quick"));
  route("shop.apps.test", {at(slow, "vm-1"), at(quick, "vm-2")});
  publish();
  std::vector<std::future<std::string>> waiting;
  for (int i = 0; i < 2 && held.load() == 0; ++i) {
    waiting.push_back(std::async(std::launch::async, [this] { return get(); }));
    (void)waiting.back().wait_for(200ms);
  }
  ASSERT_TRUE(eventually([&] { return held.load() == 1; }));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(get(), "quick");
  release.set_value();
  for (auto& answer : waiting) EXPECT_NE(answer.get(), "no connection");
}

TEST_F(Balance, one_that_refuses_connections_costs_no_request) {
  start();
  auto one = std::make_unique<RecordingUpstream>(answer_with("one"));
  RecordingUpstream two(answer_with("two"));
  RecordingUpstream gone(answer_with("gone"));
  const Upstream nobody = at(gone, "vm-3");
  gone.stop();
  route("shop.apps.test", {at(*one, "vm-1"), at(two, "vm-2"), nobody});
  publish();
  std::map<std::string, int> answers;
  for (int i = 0; i < 60; ++i) {
    if (i == 20) one.reset();  // as hard as a VM that is killed
    ++answers[get()];
  }
  EXPECT_GT(answers["one"], 0);
  EXPECT_EQ(answers["one"] + answers["two"], 60);
}

// What a microVM whose app has died looks like: its network accepts, and closes at once.
RecordingUpstream::Handler accept_and_close(std::atomic<int>& requests) {
  return [&requests](UpstreamSession& session) {
    Request request;
    if (session.read_request(request)) ++requests;
  };
}

TEST_F(Balance, a_get_that_one_drops_is_asked_of_another) {
  start();
  std::atomic<int> dropped{0};
  RecordingUpstream broken(accept_and_close(dropped));
  RecordingUpstream good(answer_with("good"));
  route("shop.apps.test", {at(broken, "vm-1"), at(good, "vm-2")});
  publish();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(get(), "good");
  EXPECT_GT(dropped.load(), 0);
}

TEST_F(Balance, a_get_is_asked_of_two_at_most_and_a_post_of_one) {
  start([](EdgeConfig& config) { config.workers = 1; });
  std::atomic<int> dropped{0};
  RecordingUpstream one(accept_and_close(dropped));
  RecordingUpstream two(accept_and_close(dropped));
  RecordingUpstream three(accept_and_close(dropped));
  route("shop.apps.test", {at(one, "vm-1"), at(two, "vm-2"), at(three, "vm-3")});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  EXPECT_EQ(client.get("shop.apps.test").status, 502);
  EXPECT_EQ(dropped.load(), 2);
  ASSERT_TRUE(
      client.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 4\r\n\r\ndata"));
  EXPECT_EQ(client.receive().status, 502);
  EXPECT_EQ(dropped.load(), 3);
}

}  // namespace
}  // namespace atlasflow::edge
