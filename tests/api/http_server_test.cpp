#include "api/http_server.hpp"

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;
using testing::Client;
using ::testing::HasSubstr;
using testing::request_text;

constexpr std::uint64_t k_body_max = 1000;

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest() {
    router_.add({"GET", "/hello", 0, [](const Request&) {
                   Response response;
                   response.body = "hello";
                   return response;
                 }});
    router_.add({"POST", "/echo", k_body_max, [this](const Request& request) {
                   ++echoed_;
                   Response response;
                   response.body = request.body;
                   return response;
                 }});
    router_.add({"GET", "/throws", 0, [](const Request&) -> Response {
                   throw std::runtime_error("a secret of the inside");
                 }});
    router_.add({"GET", "/slow", 0, [this](const Request&) {
                   in_slow_handler_ = true;
                   std::this_thread::sleep_for(300ms);
                   Response response;
                   response.body = "done";
                   return response;
                 }});
    add_stream("/ticks", [](Stream& stream) {  // until the client leaves
      while (stream.write("tick\n") && stream.wait(10ms)) {
      }
      return false;
    });
    add_stream("/silent", [](Stream& stream) {
      while (stream.wait(50ms)) {
      }
      return false;
    });
    add_stream("/three", [](Stream& stream) {
      return stream.write("one ") && stream.write("") && stream.write("two ") &&
             stream.write("three");
    });
    add_stream("/flood", [](Stream& stream) {
      const std::string block(64 << 10, 'x');
      while (stream.write(block)) {
      }
      return false;
    });
    add_stream("/breaks", [](Stream& stream) { return stream.write("some") && false; });
    add_stream("/breaks-hard", [](Stream& stream) -> bool {
      static_cast<void>(stream.write("some"));
      throw std::runtime_error("no more");
    });
  }

  void add_stream(const char* path, std::function<bool(Stream&)> body) {
    router_.add({"GET", path, 0, [this, body = std::move(body)](const Request&) {
                   Response response;
                   response.stream = [this, body](Stream& stream) {
                     ++streams_begun_;
                     // Counted by hand: a stream that throws has ended as well.
                     struct Ended {
                       std::atomic<int>& count;
                       ~Ended() { ++count; }
                     } const ended{streams_ended_};
                     return body(stream);
                   };
                   return response;
                 }});
  }

  void start() {
    auto listener = Listener::on_unix_socket(socket_);
    ASSERT_TRUE(listener) << to_string(listener.error());
    auto server = HttpServer::start(std::move(*listener), router_, limits_);
    ASSERT_TRUE(server) << to_string(server.error());
    server_ = std::move(*server);
  }

  Client connect() {
    if (!server_) start();
    return Client::on_unix_socket(socket_);
  }

  static void await(const std::function<bool()>& condition) {
    // Asked once more after it held, the condition may find the server in its next state.
    bool held = condition();
    for (int i = 0; i < 3000 && !held; ++i) {
      std::this_thread::sleep_for(10ms);
      held = condition();
    }
    EXPECT_TRUE(held);
  }

  testing::TemporaryFolder folder_;
  const std::filesystem::path socket_ = folder_.path() / "http.sock";
  std::atomic<int> echoed_ = 0;
  std::atomic<bool> in_slow_handler_ = false;
  std::atomic<int> streams_begun_ = 0;
  std::atomic<int> streams_ended_ = 0;
  HttpServerLimits limits_;
  Router router_;
  std::unique_ptr<HttpServer> server_;
};

// ---- requests ----

TEST_F(HttpServerTest, a_connection_takes_one_request_after_the_other) {
  auto client = connect();
  for (int i = 0; i < 5; ++i) {
    const auto answer = client.ask(request_text("GET", "/hello"));
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "hello");
    EXPECT_EQ(answer->field("Connection"), "keep-alive");
  }
  const auto missing = client.ask(request_text("GET", "/nothing"));
  ASSERT_TRUE(missing);
  EXPECT_EQ(missing->status, 404);
  EXPECT_EQ(client.ask(request_text("GET", "/hello"))->status, 200);
}

TEST_F(HttpServerTest, pipelined_requests_are_answered_in_order) {
  auto client = connect();
  std::string requests;
  for (int i = 0; i < 20; ++i) {
    requests += request_text("POST", "/echo", {}, "body " + std::to_string(i));
    requests += request_text("GET", "/hello");
  }
  ASSERT_TRUE(client.send(requests));
  for (int i = 0; i < 20; ++i) {
    const auto echo = client.receive();
    ASSERT_TRUE(echo) << i;
    EXPECT_EQ(echo->body, "body " + std::to_string(i));
    const auto hello = client.receive();
    ASSERT_TRUE(hello) << i;
    EXPECT_EQ(hello->body, "hello");
  }
}

TEST_F(HttpServerTest, a_request_that_comes_byte_by_byte_is_whole) {
  auto client = connect();
  for (const char byte : request_text("POST", "/echo", {}, "in pieces")) {
    ASSERT_TRUE(client.send({&byte, 1}));
  }
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "in pieces");
}

TEST_F(HttpServerTest, a_client_that_has_sent_all_and_shut_its_side_still_gets_its_answer) {
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/hello")));
  client.close_sending();
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "hello");
  EXPECT_TRUE(client.is_closed_by_server());
}

TEST_F(HttpServerTest, a_connection_that_the_client_wants_closed_is_closed) {
  auto client = connect();
  const auto answer = client.ask(request_text("GET", "/hello", {"Connection: close"}));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->field("Connection"), "close");
  EXPECT_TRUE(client.is_closed_by_server());
}

TEST_F(HttpServerTest, an_answer_to_head_has_no_body_and_the_next_answer_stands_alone) {
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("HEAD", "/hello")));
  const auto head = client.receive(/*to_head=*/true);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->field("Content-Length"), "5");
  EXPECT_EQ(head->body, "");
  ASSERT_TRUE(client.send(request_text("HEAD", "/ticks")));
  ASSERT_TRUE(client.receive(/*to_head=*/true));
  EXPECT_EQ(client.ask(request_text("GET", "/hello"))->body, "hello");
}

TEST_F(HttpServerTest, a_client_that_waits_for_the_word_gets_it) {
  auto client = connect();
  ASSERT_TRUE(client.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"));
  const auto word = client.receive();
  ASSERT_TRUE(word);
  EXPECT_EQ(word->status, 100);
  EXPECT_EQ(client.ask("data")->body, "data");
}

TEST_F(HttpServerTest, what_no_parser_takes_is_answered_in_json_and_closed) {
  for (const auto& [text, status] :
       {std::pair{"nonsense\r\n\r\n", 400}, std::pair{"GET / HTTP/1.1\r\n\r\n", 400},
        std::pair{"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n",
                  400},
        std::pair{"GET /hello HTTP/1.1\r\nHost: x\r\nBad header: 1\r\n\r\n", 400}}) {
    auto client = connect();
    const auto answer = client.ask(text);
    ASSERT_TRUE(answer) << text;
    EXPECT_EQ(answer->status, status) << text;
    EXPECT_EQ(nlohmann::json::parse(answer->body)["error"]["code"], "invalid_argument");
    EXPECT_TRUE(client.is_closed_by_server()) << text;
  }
}

TEST_F(HttpServerTest, a_head_of_endless_fields_is_refused) {
  auto client = connect();
  ASSERT_TRUE(client.send("GET /hello HTTP/1.1\r\nHost: x\r\n"));
  const std::string field = "X-Filler: " + std::string(1000, 'x') + "\r\n";
  for (int i = 0; i < 40; ++i) {
    if (!client.send(field)) break;
  }
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 431);
}

TEST_F(HttpServerTest, a_query_that_does_not_decode_is_refused) {
  EXPECT_EQ(connect().ask(request_text("GET", "/hello?a=%zz"))->status, 400);
}

TEST_F(HttpServerTest, a_handler_that_throws_is_a_500_that_tells_nothing_and_harms_nobody) {
  auto client = connect();
  const auto answer = client.ask(request_text("GET", "/throws"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 500);
  EXPECT_EQ(answer->body.find("secret"), std::string::npos);
  EXPECT_EQ(client.ask(request_text("GET", "/hello"))->status, 200);
}

// ---- bodies ----

TEST_F(HttpServerTest, a_body_of_the_limit_is_taken_and_one_byte_more_is_not) {
  auto client = connect();
  const auto fits = client.ask(request_text("POST", "/echo", {}, std::string(k_body_max, 'x')));
  ASSERT_TRUE(fits);
  EXPECT_EQ(fits->status, 200);
  const auto over = client.ask(request_text("POST", "/echo", {}, std::string(k_body_max + 1, 'x')));
  ASSERT_TRUE(over);
  EXPECT_EQ(over->status, 413);
  EXPECT_EQ(nlohmann::json::parse(over->body)["error"]["code"], "too_large");
  EXPECT_EQ(echoed_, 1);
}

TEST_F(HttpServerTest, a_body_announced_too_large_is_refused_before_it_is_sent) {
  auto client = connect();
  const auto answer = client.ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 413);
  EXPECT_EQ(echoed_, 0);
}

TEST_F(HttpServerTest, a_chunked_body_is_counted_as_it_comes) {
  auto client = connect();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string chunk = "1f4\r\n" + std::string(500, 'x') + "\r\n";
  const auto fits = client.ask(head + chunk + chunk + "0\r\n\r\n");
  ASSERT_TRUE(fits);
  EXPECT_EQ(fits->body, std::string(1000, 'x'));
  const auto over = client.ask(head + chunk + chunk + "1\r\nx\r\n");
  ASSERT_TRUE(over);
  EXPECT_EQ(over->status, 413);
  EXPECT_EQ(echoed_, 1);
}

TEST_F(HttpServerTest, a_client_that_sends_on_after_a_refusal_can_read_it) {
  auto client = connect();
  // More than the sockets' buffers hold: it can only all be sent if the server goes on reading.
  const auto answer = client.ask(request_text("POST", "/echo", {}, std::string(4 << 20, 'x')));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 413);
}

TEST_F(HttpServerTest, a_body_for_a_path_that_takes_none_is_refused) {
  const auto answer = connect().ask(request_text("GET", "/hello", {}, "unexpected"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 413);
}

TEST_F(HttpServerTest, bodies_of_all_connections_together_have_a_limit_that_ends_with_them) {
  limits_.body_bytes_in_memory_max = 1500;
  const std::string nearly = request_text("POST", "/echo", {}, std::string(900, 'x'));
  {
    auto first = connect();
    ASSERT_TRUE(first.send(nearly.substr(0, nearly.size() - 1)));
    await([&] {
      const auto answer = connect().ask(nearly);
      return answer && answer->status == 503;
    });
  }
  await([&] {
    const auto answer = connect().ask(nearly);
    return answer && answer->status == 200;
  });
}

// ---- slow and many clients ----

TEST_F(HttpServerTest, a_head_that_does_not_end_is_cut) {
  limits_.head_timeout = 100ms;
  auto client = connect();
  const auto answer = client.ask("GET /hello HTTP/1.1\r\nHost:");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 408);
  EXPECT_TRUE(client.is_closed_by_server());
}

TEST_F(HttpServerTest, a_head_that_trickles_is_cut_as_well) {
  limits_.head_timeout = 300ms;
  auto client = connect();
  const std::string request =
      request_text("GET", "/hello", {"X-Filler: " + std::string(4000, 'x')});
  for (const char byte : request) {
    if (!client.send({&byte, 1})) break;
    std::this_thread::sleep_for(2ms);
  }
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 408);
}

TEST_F(HttpServerTest, a_body_that_does_not_come_is_cut) {
  limits_.body_idle_timeout = 100ms;
  auto client = connect();
  const auto answer = client.ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 408);
  EXPECT_EQ(nlohmann::json::parse(answer->body)["error"]["code"], "timed_out");
  EXPECT_EQ(echoed_, 0);
}

TEST_F(HttpServerTest, a_connection_that_idles_is_closed_without_a_word) {
  limits_.keep_alive_timeout = 100ms;
  auto client = connect();
  ASSERT_TRUE(client.ask(request_text("GET", "/hello")));
  EXPECT_TRUE(client.is_closed_by_server());
}

TEST_F(HttpServerTest, a_client_that_reads_nothing_is_cut) {
  limits_.write_idle_timeout = 100ms;
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/flood")));
  await([&] { return streams_ended_ == 1; });
}

TEST_F(HttpServerTest, a_connection_over_the_limit_is_told_to_come_back_and_may) {
  limits_.connections_max = 2;
  {
    auto first = connect();
    auto second = connect();
    ASSERT_EQ(first.ask(request_text("GET", "/hello"))->status, 200);
    ASSERT_EQ(second.ask(request_text("GET", "/hello"))->status, 200);
    auto third = connect();
    const auto answer = third.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 503);
    EXPECT_EQ(nlohmann::json::parse(answer->body)["error"]["code"], "unavailable");
  }
  await([&] {
    const auto answer = connect().ask(request_text("GET", "/hello"));
    return answer && answer->status == 200;
  });
}

TEST_F(HttpServerTest, many_short_connections_leave_room_for_more) {
  limits_.connections_max = 4;
  int served = 0;
  for (int i = 0; i < 200; ++i) {
    const auto answer = connect().ask(request_text("GET", "/hello", {"Connection: close"}));
    if (answer && answer->status == 200) ++served;
  }
  EXPECT_GT(served, 4);
}

// ---- streams ----

TEST_F(HttpServerTest, a_stream_is_chunked_and_the_connection_goes_on_after_it) {
  auto client = connect();
  const auto answer = client.ask(request_text("GET", "/three"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->field("Transfer-Encoding"), "chunked");
  EXPECT_EQ(answer->body, "one two three");
  EXPECT_EQ(client.ask(request_text("GET", "/hello"))->body, "hello");
}

TEST_F(HttpServerTest, a_stream_to_an_old_client_ends_with_the_connection) {
  auto client = connect();
  const auto answer = client.ask("GET /three HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->field("Transfer-Encoding"), "");
  EXPECT_EQ(answer->body, "one two three");
}

TEST_F(HttpServerTest, a_stream_that_breaks_is_cut_so_that_its_end_cannot_be_believed) {
  for (const char* path : {"/breaks", "/breaks-hard"}) {
    auto client = connect();
    ASSERT_TRUE(client.send(request_text("GET", path)));
    EXPECT_FALSE(client.receive()) << path;
  }
  EXPECT_EQ(connect().ask(request_text("GET", "/hello"))->status, 200);
}

TEST_F(HttpServerTest, a_stream_ends_when_its_client_leaves) {
  for (const char* path : {"/ticks", "/silent"}) {
    streams_begun_ = streams_ended_ = 0;
    {
      auto client = connect();
      ASSERT_TRUE(client.send(request_text("GET", path)));
      await([&] { return streams_begun_ == 1; });
      EXPECT_EQ(streams_ended_, 0) << path;
    }
    await([&] { return streams_ended_ == 1; });
  }
}

TEST_F(HttpServerTest, a_client_that_pipelines_behind_a_stream_does_not_end_it) {
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/ticks") + request_text("GET", "/hello")));
  EXPECT_TRUE(client.receive_body_until("tick\ntick\ntick\n"));
  EXPECT_EQ(streams_ended_, 0);
}

// ---- the end ----

TEST_F(HttpServerTest, a_stop_cuts_streams_and_idle_connections_and_joins_all) {
  auto ticks = connect();
  auto silent = connect();
  auto flood = connect();
  auto idle = connect();
  auto half = connect();
  ASSERT_TRUE(ticks.send(request_text("GET", "/ticks")));
  ASSERT_TRUE(silent.send(request_text("GET", "/silent")));
  ASSERT_TRUE(flood.send(request_text("GET", "/flood")));
  ASSERT_TRUE(idle.ask(request_text("GET", "/hello")));
  ASSERT_TRUE(half.send("GET /hello HTTP/1.1\r\n"));
  await([&] { return streams_begun_ == 3; });
  server_->stop();
  EXPECT_EQ(streams_ended_, 3);
  EXPECT_FALSE(ticks.receive()) << "a cut stream must not look whole";
  EXPECT_TRUE(idle.is_closed_by_server());
  server_->stop();  // twice does no harm
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

TEST_F(HttpServerTest, a_handler_that_runs_at_a_stop_still_answers) {
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/slow")));
  await([&] { return in_slow_handler_.load(); });
  server_->stop();
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "done");
  EXPECT_EQ(answer->field("Connection"), "close");
}

TEST_F(HttpServerTest, clients_that_die_at_any_moment_do_not_kill_the_server) {
  auto listener = Listener::on_tcp("127.0.0.1", 0);
  ASSERT_TRUE(listener);
  auto server = HttpServer::start(std::move(*listener), router_, limits_);
  ASSERT_TRUE(server);
  const std::string request =
      request_text("POST", "/echo", {}, "abc") + request_text("GET", "/flood");
  for (std::size_t cut = 0; cut <= request.size(); cut += 7) {
    auto client = Client::on_port((*server)->port());
    ASSERT_TRUE(client.send(std::string_view(request).substr(0, cut)));
    if (cut % 2 == 0) client.reset_on_close();
  }
  EXPECT_EQ(Client::on_port((*server)->port()).ask(request_text("GET", "/hello"))->status, 200);
}

}  // namespace
}  // namespace atlasflow::api
