// HTTP/2 towards clients: what arrives at an HTTP/1.1 application, and what comes back of it.
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

#include "tests/edge/http2_client.hpp"

namespace atlasflow::edge {
namespace {

constexpr const char* k_host = "shop.apps.test";

class Http2 : public EdgeTest {
 protected:
  void serve(RecordingUpstream::Handler handler,
             const std::function<void(EdgeConfig&)>& change = {}) {
    start(change);
    upstream_ = std::make_unique<RecordingUpstream>(std::move(handler));
    route(k_host, {at(*upstream_)});
    publish();
  }

  // An upstream that answers each request with `answer`, and keeps what came.
  RecordingUpstream::Handler keep_and_answer(std::string answer) {
    return [this, answer = std::move(answer)](UpstreamSession& session) {
      UpstreamSession::Request request;
      while (session.read_request(request)) {
        {
          const std::lock_guard lock(mutex_);
          requests_.push_back(request);
        }
        session.write(answer);
      }
    };
  }
  UpstreamSession::Request last() {
    const std::lock_guard lock(mutex_);
    return requests_.empty() ? UpstreamSession::Request{} : requests_.back();
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return requests_.size();
  }

  std::mutex mutex_;
  std::atomic<bool> go_{false};
  std::vector<UpstreamSession::Request> requests_;
  std::unique_ptr<RecordingUpstream> upstream_;
};

constexpr const char* k_hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-App: yes\r\n\r\nhello";

TEST_F(Http2, browsers_are_kept_to_https_when_the_operator_asks_for_it) {
  serve(keep_and_answer(k_hello), [](EdgeConfig& config) { config.hsts_max_age_s = 300; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1, "/");
  EXPECT_EQ(client.response(1).fields.at("strict-transport-security"), "max-age=300");
}

TEST_F(Http2, a_request_arrives_as_http1_and_its_answer_comes_back) {
  serve(keep_and_answer(k_hello));
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1, "/a?b=c", {{"accept", "text/html"}, {"x-request-id", "forged"}});
  const Http2Response& response = client.response(1);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "hello");
  EXPECT_TRUE(response.ended);
  EXPECT_EQ(response.fields.at("x-app"), "yes");
  EXPECT_EQ(response.fields.at("content-length"), "5");
  const UpstreamSession::Request request = last();
  EXPECT_TRUE(request.raw_head.starts_with("GET /a?b=c HTTP/1.1\r\nHost: shop.apps.test\r\n"))
      << request.raw_head;
  EXPECT_EQ(request.fields.at("accept"), "text/html");
  EXPECT_EQ(request.fields.at("x-forwarded-proto"), "https");
  EXPECT_EQ(request.fields.at("x-real-ip"), "127.0.0.1");
  EXPECT_NE(request.fields.at("x-request-id"), "forged");
}

TEST_F(Http2, curl_and_the_edge_agree_on_it) {
  serve(keep_and_answer(k_hello));
  const std::string port = std::to_string(edge_->https_port());
  const std::string command = std::string("curl -sS --max-time 20 --http2 -w '%{http_version}' ") +
                              "--cacert " + edge_->ca_certificate().string() + " --resolve " +
                              k_host + ":" + port + ":127.0.0.1 https://" + k_host + ":" + port +
                              "/ -d @- </dev/null 2>&1";
  FILE* curl = ::popen(command.c_str(), "r");
  ASSERT_NE(curl, nullptr);
  std::array<char, 256> text{};
  const std::size_t size = std::fread(text.data(), 1, text.size(), curl);
  EXPECT_EQ(::pclose(curl), 0);
  EXPECT_EQ(std::string(text.data(), size), "hello2");
}

TEST_F(Http2, a_slow_answer_holds_up_no_other) {
  serve([&](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_request(request)) {
      if (request.path == "/slow") (void)eventually([&] { return go_.load(); });
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    }
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1, "/slow");
  for (std::uint32_t id = 3; id < 100; id += 2) client.get(id, "/fast");
  for (std::uint32_t id = 3; id < 100; id += 2) {
    EXPECT_EQ(client.response(id).body, "hello");
  }
  EXPECT_FALSE(client.responses()[1].ended);
  go_ = true;
  EXPECT_EQ(client.response(1).body, "hello");
}

TEST_F(Http2, bodies_are_framed_anew_and_trailers_go_both_ways) {
  serve(
      keep_and_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                      "5\r\nhello\r\n0\r\nX-Sum: 9\r\nContent-Length: 7\r\n\r\n"));
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1);
  client.send_data(1, "one", false);
  client.send_data(1, "two", false);
  client.send_fields(1, {{"x-mine", "1"}, {"host", "elsewhere"}}, true);
  const Http2Response& chunked = client.response(1);
  EXPECT_EQ(chunked.body, "hello");
  EXPECT_EQ(chunked.fields.at("trailer x-sum"), "9");
  EXPECT_FALSE(chunked.fields.contains("trailer content-length"));
  EXPECT_FALSE(chunked.fields.contains("transfer-encoding"));
  EXPECT_EQ(last().body, "onetwo");
  EXPECT_EQ(last().fields.at("transfer-encoding"), "chunked");

  client.post(3, {{"content-length", "5"}});
  client.send_data(3, "three", true);
  EXPECT_EQ(client.response(3).status, 200);
  EXPECT_EQ(last().fields.at("content-length"), "5");
  EXPECT_FALSE(last().fields.contains("transfer-encoding"));
  EXPECT_EQ(last().body, "three");
}

TEST_F(Http2, the_pairs_of_a_cookie_are_joined) {
  serve(keep_and_answer(k_hello));
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1, "/", {{"cookie", "a=1"}, {"x-other", "2"}, {"cookie", "b=2"}});
  EXPECT_EQ(client.response(1).status, 200);
  EXPECT_EQ(last().fields.at("cookie"), "a=1; b=2");
}

TEST_F(Http2, answers_without_a_body_end_with_their_head) {
  serve([](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_request(request)) {
      if (request.method == "HEAD") {
        session.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
      } else if (request.path == "/304") {
        session.write("HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n");
      } else {
        session.write(
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n");
      }
    }
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.send_fields(
      1, {{":method", "HEAD"}, {":scheme", "https"}, {":path", "/"}, {":authority", k_host}}, true);
  EXPECT_EQ(client.response(1).fields.at("content-length"), "5");
  client.get(3, "/304");
  EXPECT_EQ(client.response(3).status, 304);
  client.get(5, "/204");
  EXPECT_EQ(client.response(5).status, 204);
  EXPECT_EQ(client.response(5).interim, std::vector<int>{103});
  for (const std::uint32_t id : {1U, 3U, 5U}) {
    EXPECT_TRUE(client.response(id).body.empty());
    EXPECT_TRUE(client.response(id).ended);
  }
}

TEST_F(Http2, a_head_may_be_as_long_as_the_limits_say) {
  const std::string part(15000, 'a');
  std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n";
  for (int i = 0; i < 8; ++i) answer += "X-Part-" + std::to_string(i) + ": " + part + "\r\n";
  serve(keep_and_answer(answer + "\r\nhello"),
        [](EdgeConfig& config) { config.limits.head_bytes_max = 256 * 1024; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  const Http2Response& response = client.response(1);
  EXPECT_FALSE(response.reset.has_value());
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "hello");
}

TEST_F(Http2, the_edge_answers_itself_as_over_http1) {
  serve(keep_and_answer(k_hello));
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  const Http2Client::Fields nobody = {{":method", "GET"},
                                      {":scheme", "https"},
                                      {":path", "/"},
                                      {":authority", "nobody.apps.test"},
                                      {"accept", "application/json"}};
  client.send_fields(1, nobody, true);
  EXPECT_EQ(client.response(1).status, 404);
  EXPECT_EQ(client.response(1).fields.at("x-atlas-error"), "unknown_host");
  EXPECT_EQ(client.response(1).fields.at("content-type"), "application/json");
  EXPECT_FALSE(client.response(1).fields.contains("connection"));
  // The connection's certificate is not that host's.
  Http2Client::Fields foreign = nobody;
  foreign[3].second = "custom.example";
  client.send_fields(3, foreign, true);
  EXPECT_EQ(client.response(3).status, 421);
  client.get(5);
  EXPECT_EQ(client.response(5).body, "hello");
}

// The answer is whole before the request is: the rest of it is not wanted.
TEST_F(Http2, an_early_answer_ends_the_request_without_ending_the_connection) {
  serve([](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_head(request)) {
      session.write("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno");
      if (request.method == "POST") return;
    }
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.post(1);
  client.send_data(1, "first", false);
  EXPECT_EQ(client.response(1).status, 413);
  ASSERT_TRUE(client.read_until([&] { return client.responses()[1].reset.has_value(); }));
  EXPECT_EQ(client.responses()[1].body, "no");
  EXPECT_EQ(client.responses()[1].reset, NGHTTP2_NO_ERROR);
  client.send_data(1, "late", true);
  client.get(3);
  EXPECT_EQ(client.response(3).status, 413);
}

TEST_F(Http2, an_answer_that_was_cut_is_reset_and_not_ended) {
  serve([&](UpstreamSession& session) {
    UpstreamSession::Request request;
    if (!session.read_request(request)) return;
    session.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    (void)eventually([&] { return go_.load(); });
    session.reset();
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  ASSERT_TRUE(client.read_until([&] { return client.responses()[1].body == "half"; }));
  go_ = true;
  EXPECT_EQ(client.response(1).reset, NGHTTP2_INTERNAL_ERROR);
  EXPECT_FALSE(client.response(1).ended);
}

TEST_F(Http2, a_client_that_resets_a_stream_frees_its_upstream) {
  std::atomic<int> left{0};
  serve([&](UpstreamSession& session) {
    UpstreamSession::Request request;
    if (session.read_request(request)) {
      while (!session.read_some().empty()) {
      }
    }
    ++left;
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  ASSERT_TRUE(eventually([&] { return upstream_->connections() == 1; }));
  client.send_frame(NGHTTP2_RST_STREAM, 0, 1, Http2Client::number(NGHTTP2_CANCEL));
  EXPECT_TRUE(eventually([&] { return left.load() == 1; }));
  // And so does one that leaves.
  client.get(3);
  ASSERT_TRUE(eventually([&] { return upstream_->connections() == 2; }));
  client.connection().close();
  EXPECT_TRUE(eventually([&] { return left.load() == 2; }));
}

// ---- back-pressure ----

TEST_F(Http2, a_client_that_does_not_read_one_answer_gets_the_others) {
  constexpr std::size_t k_big = std::size_t{32} * 1024 * 1024;
  std::atomic<std::size_t> written{0};
  serve([&](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_request(request)) {
      if (request.path != "/big") {
        session.write(k_hello);
        continue;
      }
      session.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(k_big) + "\r\n\r\n");
      const std::string part(65536, 'x');
      for (std::size_t sent = 0; sent < k_big; sent += part.size()) {
        if (!session.write(part)) return;
        written += part.size();
      }
    }
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host, 1000));
  client.keep_windows_shut();
  client.get(1, "/big");
  ASSERT_TRUE(client.read_until([&] { return client.responses()[1].body.size() == 1000; }));
  for (std::uint32_t id = 3; id < 40; id += 2) {
    client.get(id);
    EXPECT_EQ(client.response(id).body, "hello");
  }
  // What nobody reads is left with the application; sockets on the way hold some of it.
  std::this_thread::sleep_for(200ms);
  EXPECT_LT(written.load(), k_big);
  EXPECT_EQ(client.responses()[1].body.size(), 1000U);
  // The window opens, and the rest comes.
  client.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 0, Http2Client::number(k_big));
  client.send_frame(NGHTTP2_WINDOW_UPDATE, 0, 1, Http2Client::number(k_big));
  EXPECT_EQ(client.response(1).body.size(), k_big);
}

TEST_F(Http2, an_upstream_that_does_not_read_shuts_only_its_streams_window) {
  std::mutex hold;
  std::condition_variable changed;
  bool reads = false;
  std::atomic<std::size_t> taken{0};
  serve([&](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_head(request)) {
      if (request.method == "POST") {
        std::unique_lock lock(hold);
        changed.wait(lock, [&] { return reads; });
        lock.unlock();
        if (!session.read_body(request)) return;
        taken = request.body.size();
      }
      session.write(k_hello);
    }
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  // The upstream's socket takes some megabytes before it is full; then the window stays shut.
  constexpr std::size_t k_window = std::size_t{256} * 1024;
  std::size_t sent = 0;
  client.post(1);
  const std::string part(16384, 'x');
  client.connection().set_patience(1s);
  bool shut = false;
  for (;;) {
    const auto room = [&] {
      const auto stream = k_window + client.window_opened(1);
      const auto connection = 65535 + client.window_opened(0);
      return std::min<std::uint64_t>(stream, connection) >= sent + part.size();
    };
    if (!room() && !client.read_until(room)) {
      shut = true;
      break;
    }
    ASSERT_TRUE(client.send_data(1, part, false));
    sent += part.size();
    ASSERT_LT(sent, std::size_t{64} * 1024 * 1024) << "the window never shut";
  }
  EXPECT_TRUE(shut);
  client.connection().set_patience(k_patience);
  client.get(3);
  EXPECT_EQ(client.response(3).body, "hello");
  {
    const std::lock_guard lock(hold);
    reads = true;
  }
  changed.notify_all();
  const auto opened = client.window_opened(1);
  ASSERT_TRUE(client.read_until([&] { return client.window_opened(1) > opened; }));
  client.send_data(1, "", true);
  EXPECT_EQ(client.response(1).body, "hello");
  EXPECT_EQ(taken.load(), sent);
}

// ---- switch, drain, retirement ----

// CANCEL would say that it is the client's own doing, or not wanted any more.
TEST_F(Http2, an_answer_that_a_drain_or_a_stall_cuts_failed) {
  serve(
      [](UpstreamSession& session) {
        UpstreamSession::Request request;
        if (!session.read_request(request)) return;
        session.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        (void)session.read_some();
      },
      [](EdgeConfig& config) { config.timeouts.response_idle = 1s; });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  const auto half = [&](std::uint32_t id) {
    client.get(id);
    return client.read_until([&] { return client.responses()[id].body == "half"; });
  };
  ASSERT_TRUE(half(1));
  EXPECT_EQ(client.response(1).reset, NGHTTP2_INTERNAL_ERROR) << "the application stalls";
  ASSERT_TRUE(half(3));
  route(k_host, {}, "it is being replaced");
  publish();
  EXPECT_EQ(edge_->drain("vm-1", 50ms), 1U);
  EXPECT_EQ(client.response(3).reset, NGHTTP2_INTERNAL_ERROR) << "its instance is stopped";
}

TEST_F(Http2, a_drain_answers_504_and_the_connection_goes_on) {
  serve([](UpstreamSession& session) {
    UpstreamSession::Request request;
    if (session.read_request(request)) (void)session.read_some();
  });
  RecordingUpstream second(keep_and_answer(k_hello));
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  ASSERT_TRUE(eventually([&] { return upstream_->connections() == 1; }));
  std::this_thread::sleep_for(50ms);
  route(k_host, {at(second, "vm-2")});
  publish();
  EXPECT_EQ(edge_->drain("vm-1", 50ms), 1U);
  EXPECT_EQ(client.response(1).status, 504);
  EXPECT_EQ(client.response(1).fields.at("x-atlas-error"), "drained");
  client.get(3);
  EXPECT_EQ(client.response(3).body, "hello");
}

TEST_F(Http2, an_edge_that_retires_says_so_and_serves_what_is_there) {
  serve([&](UpstreamSession& session) {
    UpstreamSession::Request request;
    while (session.read_request(request)) {
      (void)eventually([&] { return go_.load(); });
      session.write(k_hello);
    }
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  ASSERT_TRUE(eventually([&] { return upstream_->connections() == 1; }));
  std::thread retire([&] { dynamic_cast<LocalEdge&>(*edge_).retire(20s, 20s); });
  ASSERT_TRUE(client.read_until([&] { return client.goaway().has_value(); }));
  go_ = true;
  EXPECT_EQ(client.response(1).body, "hello");
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  retire.join();
}

TEST_F(Http2, an_idle_connection_is_told_before_it_is_closed) {
  serve(keep_and_answer(k_hello), [](EdgeConfig& config) {
    config.timeouts.keep_alive = 1500ms;
    config.timeouts.request_head = 1500ms;
  });
  Http2Client client;
  ASSERT_TRUE(client.connect(*edge_, k_host));
  client.get(1);
  EXPECT_EQ(client.response(1).body, "hello");
  EXPECT_EQ(client.read_goaway(), NGHTTP2_NO_ERROR);
  // Nor may one say nothing at all.
  Http2Client silent;
  ASSERT_TRUE(silent.connect(*edge_, k_host, 65535, false));
  EXPECT_TRUE(eventually([&] { return silent.connection().ended(); }));
}

}  // namespace
}  // namespace atlasflow::edge
