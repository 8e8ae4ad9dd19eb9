// What a client gets when something is missing, broken or slow, and what is tried again before
// that.
#include <array>
#include <atomic>
#include <cerrno>
#include <filesystem>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;

class Failure : public EdgeTest {
 protected:
  // The response of a GET on a connection of its own.
  ClientResponse get(const std::string& host, const std::string& fields = "") {
    Client client;
    if (!client.connect(edge_->http_port())) return {};
    return client.get(host, "/", fields);
  }
  ClientResponse post(const std::string& host) {
    Client client;
    if (!client.connect(edge_->http_port())) return {};
    client.send("POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 4\r\n\r\ndata");
    return client.receive();
  }
};

TEST_F(Failure, the_edges_own_answers_keep_the_connection) {
  start();
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\ndata"));
    EXPECT_EQ(client.receive().status, 404);
    EXPECT_EQ(client.get("b.test").status, 404);
  }
  ASSERT_TRUE(client.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
  EXPECT_TRUE(client.receive(true).body.empty());
  ASSERT_TRUE(client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 90000000\r\n\r\n"));
  EXPECT_EQ(client.receive().field("connection"), "close") << "too much to read for nothing";
}

TEST_F(Failure, a_route_without_an_upstream_says_why_and_when_to_come_back) {
  start();
  route("shop.apps.test", {}, "its deployment is starting");
  publish();
  const ClientResponse response = get("shop.apps.test");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.field("retry-after"), "5");
  EXPECT_NE(response.body.find("its deployment is starting"), std::string::npos);
}

TEST_F(Failure, an_upstream_that_never_accepts_is_a_502_after_a_while) {
  start([](EdgeConfig& config) { config.timeouts.connect_retry = 400ms; });
  RecordingUpstream gone(answer_with("x"));
  const Upstream address = at(gone);
  gone.stop();
  route("shop.apps.test", {address});
  publish();
  const ClientResponse response = get("shop.apps.test");
  EXPECT_EQ(response.status, 502);
  EXPECT_EQ(response.field("x-atlas-error"), "upstream_unreachable");
}

TEST_F(Failure, a_request_of_any_method_waits_for_the_current_snapshots_upstream) {
  start([](EdgeConfig& config) { config.timeouts.connect_retry = 15s; });
  RecordingUpstream gone(answer_with("x"));
  RecordingUpstream next(answer_with("next"));
  const Upstream address = at(gone);
  gone.stop();
  route("shop.apps.test", {address});
  publish();
  ClientResponse response;
  std::thread poster([&] { response = post("shop.apps.test"); });
  std::this_thread::sleep_for(200ms);
  route("shop.apps.test", {at(next, "vm-2")});
  publish();
  poster.join();
  EXPECT_EQ(response.body, "next");
}

TEST_F(Failure, another_upstream_of_the_route_takes_over_at_once) {
  start();
  RecordingUpstream gone(answer_with("x"));
  RecordingUpstream alive(answer_with("alive"));
  const Upstream address = at(gone);
  gone.stop();
  route("shop.apps.test", {address, at(alive, "vm-2")});
  publish();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(post("shop.apps.test").body, "alive");
}

TEST_F(Failure, a_silent_upstream_is_a_504) {
  start([](EdgeConfig& config) { config.timeouts.response_head = 300ms; });
  RecordingUpstream silent([](UpstreamSession& session) {
    Request request;
    if (session.read_request(request)) (void)session.read_some();
  });
  route("shop.apps.test", {at(silent)});
  publish();
  const ClientResponse response = get("shop.apps.test");
  EXPECT_EQ(response.status, 504);
  EXPECT_EQ(response.field("x-atlas-error"), "upstream_timeout");
  EXPECT_EQ(silent.connections(), 1) << "a request that may have run is not repeated";
}

TEST_F(Failure, nonsense_from_the_upstream_is_a_502) {
  start();
  for (const char* nonsense :
       {"nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\n\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n"}) {
    RecordingUpstream upstream([&](UpstreamSession& session) {
      Request request;
      if (session.read_request(request)) session.write(nonsense);
    });
    route("shop.apps.test", {at(upstream)});
    publish();
    EXPECT_EQ(get("shop.apps.test").status, 502) << nonsense;
  }
}

// An instance that dies between head and body, as one is when its microVM is killed.
TEST_F(Failure, an_answer_that_ends_at_its_head_is_asked_of_another_instance) {
  start();
  RecordingUpstream dying([](UpstreamSession& session) {
    Request request;
    if (session.read_request(request))
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  });
  RecordingUpstream alive(answer_with("alive"));
  route("shop.apps.test", {at(dying), at(alive, "vm-2")});
  publish();
  for (int i = 0; i < 10; ++i) {
    const ClientResponse response = get("shop.apps.test");
    EXPECT_EQ(response.body, "alive");
    EXPECT_TRUE(response.complete);
  }
  route("shop.apps.test", {at(dying)});
  publish();
  EXPECT_EQ(get("shop.apps.test").status, 502) << "nothing is cut when nothing was said";
}

TEST_F(Failure, a_cut_response_never_looks_whole) {
  start();
  for (const char* cut : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nX"}) {
    RecordingUpstream upstream([&](UpstreamSession& session) {
      Request request;
      if (session.read_request(request)) session.write(cut);
    });
    route("shop.apps.test", {at(upstream)});
    publish();
    const ClientResponse response = get("shop.apps.test");
    EXPECT_EQ(response.status, 200) << cut;
    EXPECT_EQ(response.body, "abc") << cut;
    EXPECT_FALSE(response.complete) << cut;
  }
}

TEST_F(Failure, bytes_after_a_response_end_that_connection) {
  start([](EdgeConfig& config) { config.workers = 1; });
  RecordingUpstream upstream([](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      session.write(
          "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"
          "Content-Length: 4\r\n\r\nevil");
    }
  });
  route("shop.apps.test", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  for (int i = 0; i < 5; ++i) EXPECT_EQ(client.get("shop.apps.test").body, "ok");
  EXPECT_EQ(upstream.connections(), 5);
}

// Serves one request per connection without saying so, then closes as soon as the next one is read:
// what the edge sees when a pooled connection times out under it.
RecordingUpstream::Handler one_then_close(std::atomic<int>& requests) {
  return [&requests](UpstreamSession& session) {
    Request request;
    if (!session.read_request(request)) return;
    ++requests;
    session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    if (session.read_request(request)) ++requests;
  };
}

TEST_F(Failure, a_get_is_sent_again_when_a_pooled_connection_closes_unanswered) {
  start([](EdgeConfig& config) { config.workers = 1; });
  std::atomic<int> requests{0};
  RecordingUpstream upstream(one_then_close(requests));
  route("shop.apps.test", {at(upstream)});
  publish();
  for (int i = 0; i < 6; ++i) EXPECT_EQ(get("shop.apps.test").body, "ok");
  EXPECT_GT(requests.load(), 6);
}

TEST_F(Failure, a_post_is_never_sent_again_once_written) {
  start([](EdgeConfig& config) { config.workers = 1; });
  std::atomic<int> requests{0};
  RecordingUpstream upstream(one_then_close(requests));
  route("shop.apps.test", {at(upstream)});
  publish();
  EXPECT_EQ(post("shop.apps.test").body, "ok");
  EXPECT_EQ(post("shop.apps.test").status, 502);
  EXPECT_EQ(requests.load(), 2) << "the upstream has seen each of the two once";
}

TEST_F(Failure, a_fresh_connection_that_closes_unanswered_is_a_502) {
  start();
  RecordingUpstream upstream([](UpstreamSession& session) {
    Request request;
    (void)session.read_request(request);
  });
  route("shop.apps.test", {at(upstream)});
  publish();
  EXPECT_EQ(get("shop.apps.test").status, 502);
  EXPECT_EQ(upstream.connections(), 1);
}

TEST_F(Failure, a_connection_that_idles_too_long_is_not_reused) {
  start([](EdgeConfig& config) {
    config.workers = 1;
    config.timeouts.upstream_idle = 50ms;
  });
  RecordingUpstream upstream(answer_with("ok"));
  route("shop.apps.test", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  EXPECT_EQ(client.get("shop.apps.test").body, "ok");
  std::this_thread::sleep_for(120ms);
  EXPECT_EQ(client.get("shop.apps.test").body, "ok");
  EXPECT_EQ(upstream.connections(), 2);
}

TEST_F(Failure, a_slow_head_is_a_408_and_a_silent_connection_is_closed) {
  start([](EdgeConfig& config) {
    config.timeouts.request_head = 300ms;
    config.timeouts.keep_alive = 300ms;
  });
  publish();
  Client slow;
  ASSERT_TRUE(slow.connect(edge_->http_port()));
  ASSERT_TRUE(slow.send("GET / HTTP/1.1\r\nHos"));
  EXPECT_EQ(slow.receive().status, 408);
  Client silent;
  ASSERT_TRUE(silent.connect(edge_->http_port()));
  EXPECT_TRUE(silent.ended());
  Client idle;
  ASSERT_TRUE(idle.connect(edge_->http_port()));
  EXPECT_EQ(idle.get("a.test").status, 404);
  EXPECT_TRUE(idle.ended());
}

TEST_F(Failure, a_body_that_stops_is_a_408_and_frees_the_upstream) {
  start([](EdgeConfig& config) { config.timeouts.request_body_idle = 300ms; });
  std::atomic<bool> freed{false};
  RecordingUpstream upstream([&](UpstreamSession& session) {
    Request request;
    if (session.read_head(request) && !session.read_body(request)) freed = true;
  });
  route("shop.apps.test", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(client.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 9\r\n\r\na"));
  EXPECT_EQ(client.receive().status, 408);
  EXPECT_TRUE(eventually([&] { return freed.load(); }));
}

// Each piece in time, and all of them far too slow; what was sent at once before earns its time.
TEST_F(Failure, a_body_of_a_byte_now_and_then_is_a_408_and_a_slow_one_within_its_rate_is_not) {
  start([](EdgeConfig& config) {
    config.timeouts.request_body_idle = 1s;
    config.limits.request_body_rate_min = 1'000;
  });
  RecordingUpstream upstream(answer_with("ok"));
  route("shop.apps.test", {at(upstream)});
  publish();
  const auto send_slowly = [&](std::size_t at_once, ClientResponse& response) {
    Client client;
    ASSERT_TRUE(client.connect(edge_->http_port()));
    ASSERT_TRUE(
        client.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 20020\r\n\r\n" +
                    std::string(at_once, 'x')));
    for (int i = 0; i < 20; ++i) {
      std::this_thread::sleep_for(150ms);
      if (!client.send("y")) break;
    }
    client.send(std::string(20'000 - at_once, 'x'));
    response = client.receive();
  };
  ClientResponse slow;
  send_slowly(0, slow);
  EXPECT_EQ(slow.status, 408);
  EXPECT_NE(slow.body.find("too slowly"), std::string::npos) << slow.body;
  ClientResponse fast_before;
  send_slowly(20'000, fast_before);
  EXPECT_EQ(fast_before.status, 200);
}

TEST_F(Failure, the_edges_own_answers_say_when) {
  start();
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  const std::string date = client.get("nobody.test").field("date");
  std::tm parsed{};
  ASSERT_NE(::strptime(date.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parsed), nullptr) << date;
  EXPECT_LT(std::abs(::timegm(&parsed) - std::time(nullptr)), 60) << date;
}

TEST_F(Failure, the_limits_of_a_head_are_settings) {
  start([](EdgeConfig& config) {
    config.limits.url_bytes_max = 2'000;
    config.limits.fields_max = 20;
  });
  RecordingUpstream upstream(answer_with("ok"));
  route("shop.apps.test", {at(upstream)});
  publish();
  const auto status = [&](std::size_t url, int fields) {
    Client client;
    EXPECT_TRUE(client.connect(edge_->http_port()));
    std::string more;
    for (int i = 0; i < fields; ++i) more += "X: y\r\n";
    return client.get("shop.apps.test", "/" + std::string(url - 1, 'a'), more).status;
  };
  EXPECT_EQ(status(2'000, 0), 200);
  EXPECT_EQ(status(2'001, 0), 414);
  EXPECT_EQ(status(1, 19), 200);
  EXPECT_EQ(status(1, 20), 431);
}

TEST_F(Failure, an_answer_before_the_end_of_the_request_arrives_and_ends_the_connection) {
  start();
  RecordingUpstream upstream([](UpstreamSession& session) {
    Request request;
    if (!session.read_head(request)) return;
    session.write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    while (!session.read_some().empty()) {
    }
  });
  route("shop.apps.test", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(
      client.send("POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 100000\r\n\r\n"));
  ASSERT_TRUE(client.send(std::string(50000, 'x')));
  const ClientResponse response = client.receive();
  EXPECT_EQ(response.status, 413);
  EXPECT_EQ(response.body, "big");
  EXPECT_EQ(response.field("connection"), "close");
}

// ---- answers that end with the connection ----

class CloseDelimited : public EdgeTest {
 protected:
  void SetUp() override {
    start([](EdgeConfig& config) {
      config.timeouts.response_idle = config.timeouts.client_write_idle = 1s;
    });
    // "/long" is whole, "/flood" never, and "/" stops in the middle.
    upstream_ = std::make_unique<RecordingUpstream>([&](UpstreamSession& session) {
      Request request;
      if (!session.read_request(request)) return;
      session.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
      const std::string part(65536, 'x');
      const std::string chunk = "10000\r\n" + part + "\r\n";
      if (request.path == "/long") {
        for (std::size_t i = 0; i < k_long / part.size(); ++i) session.write(chunk);
        session.write("0\r\n\r\n");
      }
      while (request.path == "/flood" && session.write(chunk)) {
      }
      left_ = request.path == "/flood";
      (void)session.read_some();
    });
  }
  void ask(const std::string& path) {
    route("shop.apps.test", {at(*upstream_, "vm-old")});
    publish();
    ASSERT_TRUE(client_.connect(edge_->http_port()));
    ASSERT_TRUE(client_.send("GET " + path + " HTTP/1.0\r\nHost: shop.apps.test\r\n\r\n"));
    std::string got;
    while (got.find("\r\n\r\nhalf") == std::string::npos) {
      const std::string bytes = client_.read_some();
      ASSERT_FALSE(bytes.empty());
      got += bytes;
    }
    read_ = got.size() - got.find("\r\n\r\n") - 4;
  }
  // Reads to the end: 0, or the error that it came with. What comes before is added to `read_`.
  [[nodiscard]] int end() {
    std::array<char, 65536> bytes{};
    for (;;) {
      const ssize_t got = ::recv(client_.fd(), bytes.data(), bytes.size(), 0);
      if (got <= 0) return got == 0 ? 0 : errno;
      read_ += static_cast<std::size_t>(got);
    }
  }

  static constexpr std::size_t k_long = std::size_t{512} * 1024;
  std::atomic<bool> left_{false};  // the upstream of a "/flood" was
  std::unique_ptr<RecordingUpstream> upstream_;
  Client client_;
  std::size_t read_ = 0;
};

TEST_F(CloseDelimited, half_of_one_does_not_look_whole_when_its_instance_is_stopped) {
  ASSERT_NO_FATAL_FAILURE(ask("/"));
  route("shop.apps.test", {}, "it is being replaced");
  publish();
  EXPECT_EQ(edge_->drain("vm-old", 50ms), 1U);
  EXPECT_EQ(end(), ECONNRESET);
}

TEST_F(CloseDelimited, half_of_one_does_not_look_whole_when_the_application_stalls) {
  ASSERT_NO_FATAL_FAILURE(ask("/"));
  EXPECT_EQ(end(), ECONNRESET);
}

TEST_F(CloseDelimited, half_of_one_does_not_look_whole_when_the_client_stalled) {
  ASSERT_NO_FATAL_FAILURE(ask("/flood"));
  ASSERT_TRUE(eventually([&] { return left_.load(); }));
  EXPECT_EQ(end(), ECONNRESET);
}

TEST_F(CloseDelimited, half_of_one_does_not_look_whole_when_the_edge_stops) {
  ASSERT_NO_FATAL_FAILURE(ask("/"));
  edge_.reset();
  EXPECT_EQ(end(), ECONNRESET);
}

TEST_F(CloseDelimited, a_whole_one_arrives_however_late_it_is_read) {
  ASSERT_NO_FATAL_FAILURE(ask("/long"));
  std::this_thread::sleep_for(3s);  // the edge lingers for two
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(read_, k_long + 4);
}

// ---- others ----

TEST_F(Failure, a_port_that_is_taken_is_refused_rather_than_shared) {
  start();
  EdgeConfig config;
  config.domain = "apps.test";
  config.ca_dir = directory_ + "/other";
  config.http_port = edge_->http_port();
  const auto second = start_edge(config);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
}

}  // namespace
}  // namespace atlasflow::edge
