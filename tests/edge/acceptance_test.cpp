// What clients and applications of every kind do, and what is passed on of it.
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

using Request = UpstreamSession::Request;

class Acceptance : public EdgeTest {
 protected:
  std::unique_ptr<RecordingUpstream> upstream_;
  Client client_;
};

// As `nc -N` does, and programs that write a request and shut the socket down.
TEST_F(Acceptance, answers_clients_that_have_ended_their_sending_side) {
  start();
  upstream_ = std::make_unique<RecordingUpstream>([&](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      std::this_thread::sleep_for(200ms);  // the end of the client's side is known by then
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
      std::this_thread::sleep_for(100ms);
      session.write("ok");
    }
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  const std::string get = "GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n";
  const std::string post =
      "POST / HTTP/1.1\r\nHost: shop.apps.test\r\nContent-Length: 3\r\n\r\nabc";
  for (const std::string& requests : {get, post, get + get}) {
    ASSERT_TRUE(client_.connect(edge_->http_port()));
    ASSERT_TRUE(client_.send(requests));
    ASSERT_EQ(::shutdown(client_.fd(), SHUT_WR), 0);
    for (std::size_t i = 0; i < (requests.size() > 100 ? 2U : 1U); ++i) {
      const ClientResponse response = client_.receive();
      EXPECT_EQ(response.status, 200) << requests;
      EXPECT_EQ(response.body, "ok") << requests;
    }
    EXPECT_TRUE(client_.ended()) << requests;
    client_.close();
  }
}

TEST_F(Acceptance, passes_every_method_on_and_repeats_none_that_it_does_not_know) {
  // What an upstream has received is known when its connection ends.
  start([](EdgeConfig& config) { config.timeouts.upstream_idle = 50ms; });
  upstream_ = std::make_unique<RecordingUpstream>(answer_with("ok"));
  route("shop.apps.test", {at(*upstream_)});
  publish();
  for (const std::string method : {"QUERY", "UPDATE", "LABEL", "PURGE", "X-Custom", "patch"}) {
    ASSERT_TRUE(client_.connect(edge_->http_port()));
    ASSERT_TRUE(client_.send(method + " / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"));
    EXPECT_EQ(client_.receive().status, 200) << method;
    client_.close();
    EXPECT_TRUE(eventually([&] {
      return upstream_->received().find(method + " / HTTP/1.1\r\n") != std::string::npos;
    })) << method;
  }
}

// Not valid, but it can mean one thing only; HAProxy and nginx pass it as well.
TEST_F(Acceptance, writes_loose_answers_anew) {
  start();
  const std::vector<std::string> answers = {
      "HTTP/1.1 200 OK\nContent-Length: 2\nX-App: a\n\nok",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-App: a\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-App: a\nX-B: b\r\nX-C: c\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nX-App: a\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nX-App: a\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nX-App: a\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n",
      "HTTP/1.1 999 Denied\r\nContent-Length: 2\r\nX-App: a\r\n\r\nok",
      "HTTP/1.1 600\r\nContent-Length: 2\r\nX-App: a\r\n\r\nok",
  };
  for (const std::string& answer : answers) {
    upstream_ = std::make_unique<RecordingUpstream>([answer](UpstreamSession& session) {
      Request request;
      while (session.read_request(request)) session.write(answer);
    });
    route("shop.apps.test", {at(*upstream_)});
    publish();
    ASSERT_TRUE(client_.connect(edge_->http_port()));
    const ClientResponse response = client_.get("shop.apps.test");
    EXPECT_EQ(response.status, std::stoi(answer.substr(9, 3))) << answer;
    EXPECT_EQ(response.body, "ok") << answer;
    EXPECT_EQ(response.field("x-app"), "a") << answer;
    EXPECT_EQ(client_.get("shop.apps.test").body, "ok") << "the connection is kept";
    client_.close();
  }
}

// What an injected LF can say of the answer's length ends with that answer: the bytes behind it are
// nobody's.
TEST_F(Acceptance, what_follows_a_doubtful_length_is_no_answer) {
  start();
  upstream_ = std::make_unique<RecordingUpstream>([](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      session.write(
          "HTTP/1.1 200 OK\r\nX-App: a\nContent-Length: 2\r\n\r\nok"
          "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    }
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(client_.get("shop.apps.test").body, "ok");
  }
  EXPECT_EQ(upstream_->connections(), 3);
}

// As many fields as are allowed pass in both directions, beside those that the edge writes.
TEST_F(Acceptance, passes_two_hundred_fields_and_no_more) {
  start();
  std::string fields;
  for (int i = 0; i < 199; ++i) {
    fields += "X-Field-" + std::to_string(i) + ": " + std::to_string(i) + "\r\n";
  }
  std::string seen;
  upstream_ = std::make_unique<RecordingUpstream>([&](UpstreamSession& session) {
    while (seen.find("\r\n\r\n") == std::string::npos) {
      const std::string more = session.read_some();
      if (more.empty()) return;
      seen += more;
    }
    session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + fields + "\r\nok");
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  ASSERT_TRUE(client_.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\n" + fields + "\r\n"));
  std::string answer;
  while (answer.find("\r\n\r\nok") == std::string::npos) {
    const std::string more = client_.read_some();
    ASSERT_FALSE(more.empty()) << answer;
    answer += more;
  }
  EXPECT_NE(answer.find("\r\nX-Field-198: 198\r\n"), std::string::npos) << answer;
  EXPECT_NE(seen.find("\r\nX-Field-198: 198\r\n"), std::string::npos) << seen;
}

TEST_F(Acceptance, refuses_the_field_after_the_two_hundredth) {
  start();
  std::string fields;
  for (int i = 0; i < 200; ++i) fields += "X-Field: " + std::to_string(i) + "\r\n";
  upstream_ = std::make_unique<RecordingUpstream>([&](UpstreamSession& session) {
    Request request;
    while (session.read_request(request)) {
      session.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + fields + "\r\nok");
    }
  });
  route("shop.apps.test", {at(*upstream_)});
  publish();
  ASSERT_TRUE(client_.connect(edge_->http_port()));
  EXPECT_EQ(client_.get("shop.apps.test").status, 502);
  EXPECT_EQ(client_.get("shop.apps.test", "/", fields).status, 431);
}

}  // namespace
}  // namespace atlasflow::edge
