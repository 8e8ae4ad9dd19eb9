// Requests that two parsers could read differently: each is refused with its status, the connection
// is closed, and not one byte of it reaches the upstream.
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

struct Payload {
  const char* name;
  std::string bytes;
  int status = 400;
};

std::string host(const std::string& fields, const std::string& body = "") {
  return "POST / HTTP/1.1\r\nHost: shop.apps.test\r\n" + fields + "\r\n" + body;
}
std::string chunked(const std::string& body) {
  return host("Transfer-Encoding: chunked\r\n", body);
}
constexpr const char* k_second = "GET /smuggled HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n";

std::vector<Payload> payloads() {
  return {
      {"cr_ends_the_head", "GET / HTTP/1.1\r\nHost: shop.apps.test\r\n\r" + std::string(k_second)},
      {"cr_in_a_value", host("X:\r\r\n")},
      {"te_and_cl", host("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
                         "0\r\n\r\n" + std::string(k_second))},
      {"cl_twice", host("Content-Length: 0\r\nContent-Length: 52\r\n", k_second)},
      {"cl_list", host("Content-Length: 0, 52\r\n", k_second)},
      {"cl_plus", host("Content-Length: +52\r\n", k_second)},
      {"obs_fold", host("X: a\r\n Content-Length: 52\r\n", k_second)},
      {"fold_te", host("Transfer-Encoding:\r\n chunked\r\n", k_second)},
      {"bare_lf", "POST / HTTP/1.1\nHost: shop.apps.test\nContent-Length: 0\n\n"},
      {"bare_lf_between_fields", host("X: a\nContent-Length: 52\r\n", k_second)},
      {"host_twice", host("Host: other.test\r\n")},
      {"host_missing", "GET / HTTP/1.1\r\n\r\n"},
      {"host_differs", "GET http://other.test/ HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"},
      {"space_before_colon", host("Transfer-Encoding : chunked\r\n", k_second)},
      {"te_comma", host("Transfer-Encoding: ,chunked\r\n", k_second)},
      {"te_tab", host("Transfer-Encoding: chunked\t, identity\r\n", k_second)},
      {"te_form_feed", host("Transfer-Encoding: \x0c"
                            "chunked\r\n",
                            k_second)},
      {"te_identity", host("Transfer-Encoding: identity\r\n", k_second), 501},
      {"te_http10",
       "POST / HTTP/1.0\r\nHost: shop.apps.test\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"nul", host(std::string("X: a\0b\r\n", 8))},
      {"no_colon", host("Transfer-Encoding\r\n")},
      {"split_name", host("Transfer-\r\nEncoding: chunked\r\n", k_second)},
      {"two_spaces", "GET  / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"},
      {"target_space", "GET / HTTP/1.1 HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"},
      {"fragment", "GET /#a HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n"},
      {"http09", "GET /\r\n\r\n"},
      {"http2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"connect", "CONNECT shop.apps.test:80 HTTP/1.1\r\nHost: shop.apps.test:80\r\n\r\n", 405},
      {"trace", "TRACE / HTTP/1.1\r\nHost: shop.apps.test\r\n\r\n", 405},
      {"line_too_long", "GET /" + std::string(17000, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
      {"head_too_large", host("X: " + std::string(40000, 'a') + "\r\n"), 431},
  };
}

class Smuggling : public EdgeTest {};

TEST_F(Smuggling, no_ambiguous_head_reaches_the_upstream) {
  start();
  RecordingUpstream upstream(answer_with("ok"));
  route("shop.apps.test", {at(upstream)});
  publish();
  for (const Payload& payload : payloads()) {
    SCOPED_TRACE(payload.name);
    Client client;
    ASSERT_TRUE(client.connect(edge_->http_port()));
    ASSERT_TRUE(client.send(payload.bytes));
    const ClientResponse response = client.receive();
    EXPECT_EQ(response.status, payload.status);
    EXPECT_EQ(response.field("connection"), "close");
    EXPECT_TRUE(client.ended()) << "nothing after it is answered";
  }
  EXPECT_EQ(upstream.connections(), 0);
}

// The head of these is fine, so the upstream is asked; what must not arrive is a second request, or
// a first one that looks whole.
TEST_F(Smuggling, no_ambiguous_chunk_desynchronises_the_upstream) {
  start();
  const std::vector<std::string> bodies = {
      "5\r\r;ABCD\r\nabcde\r\n0\r\n\r\n",
      "1\r0\n\r\n",
      "5\nabcde\r\n0\r\n\r\n",
      "5\r\nabcde\n0\r\n\r\n",
      " 5\r\nabcde\r\n0\r\n\r\n",
      "5 \nabcde\r\n0\r\n\r\n",
      "5 \r;ABCD\r\nabcde\r\n0\r\n\r\n",
      "0x5\r\nabcde\r\n0\r\n\r\n",
      "-5\r\nabcde\r\n0\r\n\r\n",
      "5\r\nabcdeXX0\r\n\r\n",
      "FFFFFFFFFFFFFFFFF\r\nabcde\r\n0\r\n\r\n",
      "5;\x01\r\nabcde\r\n0\r\n\r\n",
      "0\r\nX: a\nY: b\r\n\r\n",
  };
  for (const std::string& body : bodies) {
    std::atomic<int> whole{0};
    RecordingUpstream upstream([&](UpstreamSession& session) {
      UpstreamSession::Request request;
      while (session.read_request(request)) ++whole;
    });
    route("shop.apps.test", {at(upstream)});
    publish();
    Client client;
    ASSERT_TRUE(client.connect(edge_->http_port()));
    ASSERT_TRUE(client.send(chunked(body) + k_second));
    EXPECT_EQ(client.receive().status, 400) << body;
    EXPECT_TRUE(client.ended());
    upstream.stop();
    EXPECT_EQ(whole.load(), 0) << body;
    EXPECT_EQ(upstream.received().find("smuggled"), std::string::npos) << body;
  }
}

TEST_F(Smuggling, bytes_after_the_last_request_of_a_connection_are_dropped) {
  start();
  RecordingUpstream upstream(answer_with("ok"));
  route("shop.apps.test", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(client.send("GET / HTTP/1.1\r\nHost: shop.apps.test\r\nConnection: close\r\n\r\n" +
                          std::string(k_second)));
  EXPECT_EQ(client.receive().body, "ok");
  EXPECT_TRUE(client.ended());
  upstream.stop();
  EXPECT_EQ(upstream.received().find("smuggled"), std::string::npos);
}

TEST_F(Smuggling, an_underscore_does_not_carry_a_framing_field_past_the_edge) {
  start();
  RecordingUpstream upstream(answer_with("ok"));
  route("shop.apps.test", {at(upstream)});
  publish();
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  EXPECT_EQ(client.get("shop.apps.test", "/", "Transfer_Encoding: chunked\r\nContent_Length: 5\r\n")
                .status,
            200);
  client.close();
  upstream.stop();
  EXPECT_EQ(upstream.received().find("Transfer_Encoding"), std::string::npos);
  EXPECT_EQ(upstream.received().find("Content_Length"), std::string::npos);
}

}  // namespace
}  // namespace atlasflow::edge
