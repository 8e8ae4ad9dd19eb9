// What a project allows its visitors: requests per second of one address, and unanswered ones at
// one instance. One client that wants more gets it at nobody else's cost.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "edge/proxy/address_table.hpp"
#include "tests/edge/edge_fixture.hpp"
#include "tests/edge/http2_client.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::steady_clock;

constexpr const char* k_host = "shop.apps.test";
constexpr const char* k_flooder = "127.0.0.66";
constexpr const char* k_visitor = "127.0.0.77";

class RouteLimitsTest : public EdgeTest {
 protected:
  // Answers at once, but for "/slow", which waits for `go_`.
  [[nodiscard]] RecordingUpstream::Handler handler() {
    return [this](UpstreamSession& session) {
      UpstreamSession::Request request;
      while (session.read_request(request)) {
        const int now = ++at_once_;
        int most = most_at_once_.load();
        while (now > most && !most_at_once_.compare_exchange_weak(most, now)) {
        }
        ++served_;
        if (request.path == "/slow") (void)eventually([&] { return go_.load(); });
        if (request.path == "/moment") std::this_thread::sleep_for(20ms);
        --at_once_;
        session.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
      }
    };
  }
  void serve(RouteLimits limits, const std::function<void(EdgeConfig&)>& change = {}) {
    start([&](EdgeConfig& config) {
      config.redirect_http = false;
      if (change) change(config);
    });
    route(k_host, {at(upstream_)});
    table_.routes.back().limits = limits;
    publish();
  }
  [[nodiscard]] ClientResponse get_from(const char* address, const std::string& host = k_host,
                                        const std::string& path = "/") {
    Client client;
    if (!client.connect(edge_->http_port(), address)) return {};
    return client.get(host, path);
  }

  std::atomic<bool> go_{false};
  std::atomic<int> served_{0};
  std::atomic<int> at_once_{0};
  std::atomic<int> most_at_once_{0};
  RecordingUpstream upstream_{handler()};
};

// ---- request_rate ----

TEST_F(RouteLimitsTest, more_than_the_rate_of_one_address_is_429_and_reaches_no_application) {
  serve({.request_rate = 1});
  // Four seconds' worth, on any worker.
  for (int i = 0; i < 4; ++i) EXPECT_EQ(get_from(k_flooder).status, 200) << i;
  const ClientResponse refused = get_from(k_flooder);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.field("x-atlas-error"), "too_many_requests");
  EXPECT_EQ(refused.field("retry-after"), "1");
  EXPECT_EQ(served_.load(), 4);
  EXPECT_EQ(get_from(k_visitor).status, 200) << "another address has a share of its own";
}

TEST_F(RouteLimitsTest, the_rate_is_the_projects_whatever_host_is_asked) {
  serve({.request_rate = 1});
  for (const char* host : {"www.apps.test", "m.apps.test"}) {
    Route other = table_.routes.front();
    other.host = host;
    table_.routes.push_back(other);
  }
  Route foreign = table_.routes.front();
  foreign.host = "wiki.apps.test";
  foreign.project = "wiki";
  table_.routes.push_back(foreign);
  publish();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(get_from(k_flooder, i % 2 == 0 ? "www.apps.test" : "m.apps.test").status, 200);
  }
  EXPECT_EQ(get_from(k_flooder).status, 429);
  EXPECT_EQ(get_from(k_flooder, "wiki.apps.test").status, 200);
}

TEST_F(RouteLimitsTest, the_rate_counts_streams_of_one_connection) {
  serve({.request_rate = 2});
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  for (std::uint32_t i = 0; i < 12; ++i) client.get(2 * i + 1);
  int refused = 0;
  for (std::uint32_t i = 0; i < 12; ++i) {
    refused += client.response(2 * i + 1).status == 429 ? 1 : 0;
  }
  EXPECT_EQ(refused, 4) << "eight are four seconds' worth";
}

TEST_F(RouteLimitsTest, a_request_with_a_body_that_is_refused_keeps_its_connection) {
  serve({.request_rate = 1});
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port(), k_flooder));
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(
        client.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 4\r\n\r\n"
                    "data"));
    EXPECT_EQ(client.receive().status, i < 4 ? 200 : 429) << i;
  }
}

// ---- max_concurrent_requests ----

TEST_F(RouteLimitsTest, no_instance_ever_has_more_than_the_project_allows_and_all_are_answered) {
  serve({.concurrent_requests_max = 2}, [](EdgeConfig& config) { config.workers = 2; });
  std::vector<std::thread> visitors;
  std::atomic<int> answered{0};
  for (int i = 0; i < 12; ++i) {
    visitors.emplace_back([&] {
      for (int j = 0; j < 5; ++j) {
        if (get_from(k_visitor, k_host, "/moment").status == 200) ++answered;
      }
    });
  }
  for (auto& visitor : visitors) visitor.join();
  EXPECT_EQ(answered.load(), 60);
  EXPECT_EQ(most_at_once_.load(), 2);
}

TEST_F(RouteLimitsTest, whose_turn_does_not_come_is_told_when_to_come_back) {
  serve({.concurrent_requests_max = 1},
        [](EdgeConfig& config) { config.timeouts.connect_retry = 300ms; });
  Client slow;
  ASSERT_TRUE(slow.connect(edge_->http_port()));
  ASSERT_TRUE(slow.send("GET /slow HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  ASSERT_TRUE(eventually([&] { return served_.load() == 1; }));
  const ClientResponse refused = get_from(k_visitor);
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.field("x-atlas-error"), "overloaded");
  EXPECT_EQ(refused.field("retry-after"), "5");
  go_ = true;
  EXPECT_EQ(slow.receive().status, 200);
  EXPECT_EQ(get_from(k_visitor).status, 200);
}

TEST_F(RouteLimitsTest, what_one_instance_has_no_room_for_goes_to_another) {
  RecordingUpstream second(answer_with("second"));
  serve({.concurrent_requests_max = 1});
  table_.routes.back().upstreams.push_back(at(second, "vm-2"));
  publish();
  // Whichever of them has it.
  std::vector<Client> busy(1);
  ASSERT_TRUE(busy[0].connect(edge_->http_port()));
  ASSERT_TRUE(busy[0].send("GET /slow HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
  ASSERT_TRUE(eventually([&] { return served_.load() == 1 || second.connections() == 1; }));
  for (int i = 0; i < 8; ++i) {
    const ClientResponse response = get_from(k_visitor);
    EXPECT_EQ(response.status, 200) << response.body;
  }
  go_ = true;
}

// ---- an attack ----

// One address asks as fast as it can, on several connections; another one's requests are answered
// as if it were alone.
TEST_F(RouteLimitsTest, a_flood_from_one_address_leaves_another_address_its_time) {
  serve({.request_rate = 50, .concurrent_requests_max = 8});
  std::atomic<bool> stop{false};
  std::atomic<int> refused{0};
  std::vector<std::thread> flood;
  for (int i = 0; i < 3; ++i) {
    flood.emplace_back([&] {
      Client client;
      if (!client.connect(edge_->http_port(), k_flooder)) return;
      while (!stop.load()) {
        const ClientResponse response = client.get(k_host, "/moment");
        if (response.status == 429) ++refused;
        if (response.status == 0) break;
      }
    });
  }
  ASSERT_TRUE(eventually([&] { return refused.load() > 500; }));
  std::vector<std::chrono::microseconds> times;
  for (int i = 0; i < 100; ++i) {
    const auto began = steady_clock::now();
    EXPECT_EQ(get_from(k_visitor).status, 200);
    times.push_back(
        std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - began));
    std::this_thread::sleep_for(10ms);
  }
  stop = true;
  for (auto& thread : flood) thread.join();
  std::sort(times.begin(), times.end());
  RecordProperty("visitor_p99_us", static_cast<int>(times[98].count()));
  EXPECT_LT(times[98], 250ms) << "p99 of the visitor, on a machine that is shared";
  EXPECT_LT(times[50], 50ms) << "median of the visitor";
}

// ---- the table of rates ----

TEST(RequestRates, let_a_rate_through_in_the_long_run_and_a_burst_at_once) {
  RequestRates rates;
  const AddressKey key{0x123456789abcdefULL};
  std::int64_t now_us = 1'000'000'000;
  int taken = 0;
  for (int i = 0; i < 100; ++i) taken += rates.take(key, 7, 10, now_us) == 0 ? 1 : 0;
  EXPECT_EQ(taken, 40);
  const std::int64_t wait_us = rates.take(key, 7, 10, now_us);
  EXPECT_EQ(wait_us, 100'000);
  EXPECT_EQ(rates.take(key, 7, 10, now_us + wait_us), 0);
  EXPECT_GT(rates.take(key, 7, 10, now_us + wait_us), 0);
  // A minute at twice the rate.
  taken = 0;
  for (int i = 0; i < 1200; ++i) {
    now_us += 50'000;
    taken += rates.take(key, 7, 10, now_us) == 0 ? 1 : 0;
  }
  EXPECT_NEAR(taken, 600, 2);
}

TEST(RequestRates, of_other_addresses_and_projects_are_their_own) {
  RequestRates rates;
  const std::int64_t now_us = 1'000'000'000;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(rates.take({1}, 7, 1, now_us), 0);
  EXPECT_GT(rates.take({1}, 7, 1, now_us), 0);
  EXPECT_EQ(rates.take({2}, 7, 1, now_us), 0);
  EXPECT_EQ(rates.take({1}, 8, 1, now_us), 0);
  EXPECT_EQ(rates.take({1}, 9, 100'000, now_us), 0) << "the highest rate there is";
}

}  // namespace
}  // namespace atlasflow::edge
