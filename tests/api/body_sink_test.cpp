// Bodies that go to a sink and not into memory.
#include <gmock/gmock.h>

#include "api/http_server.hpp"
#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using testing::Client;
using testing::request_text;

constexpr std::uint64_t k_body_max = 8ULL << 20;

struct CountingSink final : BodySink {
  void take(std::string_view more) override { bytes += more.size(); }
  std::size_t bytes = 0;
};

class BodySinks : public ::testing::Test {
 protected:
  void SetUp() override {
    Route route;
    route.method = "POST";
    route.pattern = "/sunk";
    route.body_bytes_max = k_body_max;
    route.open_sink = [](const Request& request) -> Route::Opened {
      if (request.field("X-Closed") == nullptr) return std::make_shared<CountingSink>();
      return error_response(403, ErrorCode::unauthorized, "not for you");
    };
    route.handler = [](const Request& request) {
      Response response;
      const auto& sink = dynamic_cast<const CountingSink&>(*request.sink);
      response.body = std::to_string(sink.bytes) + " " + std::to_string(request.body.size());
      return response;
    };
    router_.add(std::move(route));
    auto listener = Listener::on_unix_socket(socket_);
    ASSERT_TRUE(listener) << to_string(listener.error());
    HttpServerLimits limits;
    limits.body_bytes_in_memory_max = 1000;
    auto server = HttpServer::start(std::move(*listener), router_, limits);
    ASSERT_TRUE(server) << to_string(server.error());
    server_ = std::move(*server);
  }
  testing::Answer ask(const std::string& request) {
    auto answer = Client::on_unix_socket(socket_).ask(request);
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(testing::Answer{});
  }

  testing::TemporaryFolder folder_;
  const std::filesystem::path socket_ = folder_.path() / "http.sock";
  Router router_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(BodySinks, a_body_is_in_no_memory_whatever_its_size) {
  const std::string body(k_body_max, 'x');
  EXPECT_EQ(ask(request_text("POST", "/sunk", {}, body)).body, std::to_string(body.size()) + " 0");
}

TEST_F(BodySinks, a_body_beyond_the_routes_limit_is_refused_as_any_other) {
  const std::string body(k_body_max + 1, 'x');
  EXPECT_EQ(ask(request_text("POST", "/sunk", {}, body)).status, 413);
  std::string chunked =
      "POST /sunk HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n800001\r\n";
  chunked.append(body).append("\r\n0\r\n\r\n");
  EXPECT_EQ(ask(chunked).status, 413);
}

TEST_F(BodySinks, what_the_route_does_not_take_is_refused_before_it_is_sent) {
  EXPECT_EQ(ask("POST /sunk HTTP/1.1\r\nHost: x\r\nX-Closed: 1\r\nContent-Length: 1000\r\n"
                "Expect: 100-continue\r\n\r\n")
                .status,
            403);
}

TEST_F(BodySinks, a_client_that_waits_for_the_word_gets_it_where_the_route_takes_the_body) {
  auto client = Client::on_unix_socket(socket_);
  ASSERT_TRUE(
      client.send("POST /sunk HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
                  "Expect: 100-continue\r\n\r\n"));
  EXPECT_EQ(client.receive()->status, 100);
  ASSERT_TRUE(client.send("abcde"));
  EXPECT_EQ(client.receive()->body, "5 0");
}

TEST_F(BodySinks, a_request_without_a_body_has_an_empty_sink) {
  EXPECT_EQ(ask(request_text("POST", "/sunk")).body, "0 0");
}

}  // namespace
}  // namespace atlasflow::api
