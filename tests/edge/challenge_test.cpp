// Challenges of a public CA: answered over plain HTTP, for those hosts and tokens only.
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

class Challenges : public EdgeTest {
 protected:
  Challenges() {
    start([](EdgeConfig& config) { config.redirect_http = true; });
    route("shop.apps.test", {at(upstream_)});
    route("web.example", {at(upstream_)});
    publish();
  }
  void set(const std::vector<Challenge>& challenges) {
    const auto done = edge_->set_challenges(challenges);
    ASSERT_TRUE(done.has_value()) << to_string(done.error());
  }
  ClientResponse ask(const std::string& host, const std::string& path) {
    Client client;
    if (!client.connect(edge_->http_port())) return {};
    return client.get(host, path);
  }
  const std::string place_ = "/.well-known/acme-challenge/";
  RecordingUpstream upstream_{answer_with("served")};
};

TEST_F(Challenges, are_answered_before_any_redirect_and_without_a_route) {
  set({{"shop.apps.test", "tok-1", "tok-1.print"},
       {"new.example", "tok-2", "tok-2.print"},
       {"new.example", "tok-3", "tok-3.print"}});
  for (int i = 0; i < 8; ++i) {  // on every worker
    const auto ours = ask("shop.apps.test", place_ + "tok-1");
    EXPECT_EQ(ours.status, 200);
    EXPECT_EQ(ours.body, "tok-1.print");
    EXPECT_EQ(ours.field("content-type"), "text/plain; charset=utf-8");
    EXPECT_EQ(ask("new.example:80", place_ + "tok-2").body, "tok-2.print");
    EXPECT_EQ(ask("NEW.example", place_ + "tok-3").body, "tok-3.print");
  }
}

TEST_F(Challenges, nothing_else_is_answered) {
  set({{"web.example", "tok-1", "tok-1.print"}});
  EXPECT_EQ(ask("web.example", place_ + "tok-2").body, "served") << "another token is the app's";
  EXPECT_EQ(ask("web.example", place_ + "tok-1/").body, "served");
  EXPECT_EQ(ask("web.example", place_).body, "served");
  EXPECT_EQ(ask("web.example", place_ + "tok-1?x=1").body, "served");
  EXPECT_EQ(ask("web.example", "/tok-1").body, "served");
  EXPECT_EQ(ask("shop.apps.test", place_ + "tok-1").status, 301) << "it has none";
  EXPECT_EQ(ask("other.example", place_ + "tok-1").status, 404);
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(client.send("POST " + place_ +
                          "tok-1 HTTP/1.1\r\nHost: web.example\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_EQ(client.receive().body, "served");
  set({});
  EXPECT_EQ(ask("web.example", place_ + "tok-1").body, "served");
}

TEST_F(Challenges, a_head_request_gets_no_body) {
  set({{"web.example", "tok-1", "tok-1.print"}});
  Client client;
  ASSERT_TRUE(client.connect(edge_->http_port()));
  ASSERT_TRUE(client.send("HEAD " + place_ + "tok-1 HTTP/1.1\r\nHost: web.example\r\n\r\n"));
  const auto response = client.receive(true);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.field("content-length"), "11");
}

TEST_F(Challenges, what_no_ca_makes_is_refused) {
  set({{"web.example", "tok-1", "tok-1.print"}});
  for (const Challenge& wrong :
       {Challenge{"web example", "tok", "tok.print"}, Challenge{"web.example", "../tok", "x"},
        Challenge{"web.example", "tok", "two\r\nlines"}, Challenge{"web.example", "", "x"},
        Challenge{"web.example", "tok", ""},
        Challenge{"web.example", std::string(1'000, 'x'), "x"}}) {
    const auto done = edge_->set_challenges({wrong});
    ASSERT_FALSE(done.has_value());
    EXPECT_EQ(done.error().code, ErrorCode::invalid_argument);
  }
  EXPECT_EQ(ask("web.example", place_ + "tok-1").body, "tok-1.print");
}

}  // namespace
}  // namespace atlasflow::edge
