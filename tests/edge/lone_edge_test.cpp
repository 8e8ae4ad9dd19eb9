// An edge that serves what a file says, without a control plane.
#include "edge/control/lone_edge.hpp"

#include <fstream>

#include "edge/control/route_file.hpp"
#include "edge/tls/local_ca.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

class LoneEdgeTest : public EdgeTest {
 protected:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ + "/" + name) << text;
  }
  void write_route(const std::string& host, const std::string& target) const {
    write("routes.json",
          R"({"routes": [{"host": ")" + host + R"(", "targets": [")" + target + R"("]}]})");
  }
  [[nodiscard]] Result<std::unique_ptr<LoneEdge>> start_lone() const {
    LoneConfig config;
    config.edge.domain = "apps.test";
    config.edge.ca_dir = directory_ + "/ca";
    config.edge.redirect_http = false;
    config.edge.workers = 2;
    config.routes = directory_ + "/routes.json";
    config.certificates = directory_ + "/certs";
    return LoneEdge::start(config);
  }
  static std::string at_port(const RecordingUpstream& upstream) {
    return "127.0.0.1:" + std::to_string(upstream.port());
  }
  [[nodiscard]] static std::string body_of(const LoneEdge& edge, const std::string& host) {
    Client client;
    return client.connect(edge.edge().http_port()) ? client.get(host).body : "";
  }
};

TEST_F(LoneEdgeTest, serves_what_its_file_says_and_what_it_says_then) {
  RecordingUpstream first(answer_with("first"));
  RecordingUpstream second(answer_with("second"));
  std::filesystem::create_directory(directory_ + "/certs");
  write_route("shop.apps.test", at_port(first));
  auto lone = start_lone();
  ASSERT_TRUE(lone.has_value()) << to_string(lone.error());
  EXPECT_EQ(body_of(**lone, "shop.apps.test"), "first");
  write_route("shop.apps.test", at_port(second));
  ASSERT_TRUE((*lone)->reload().has_value());
  EXPECT_EQ(body_of(**lone, "shop.apps.test"), "second");
  // What makes no sense changes nothing.
  for (const char* text :
       {"{", R"({"routes": [{"host": "shop.apps.test", "targets": ["nowhere"]}]})",
        R"({"routes": [{"host": "SHOP.apps.test", "targets": ["127.0.0.1:1"]}]})",
        R"({"routes": [{"host": "shop.apps.test"}, {"host": "shop.apps.test"}]})"}) {
    write("routes.json", text);
    EXPECT_FALSE((*lone)->reload().has_value()) << text;
    EXPECT_EQ(body_of(**lone, "shop.apps.test"), "second") << text;
  }
  (*lone)->retire(1s);
}

TEST_F(LoneEdgeTest, shows_the_certificates_of_its_folder) {
  RecordingUpstream upstream(answer_with("hello"));
  std::filesystem::create_directory(directory_ + "/certs");
  write_route("shop.example.org", at_port(upstream));
  auto lone = start_lone();
  ASSERT_TRUE(lone.has_value()) << to_string(lone.error());
  const auto https = [&] {
    Client client;
    return client.connect((*lone)->edge().https_port()) &&
           client.start_tls("shop.example.org", directory_ + "/other/ca.pem") &&
           client.get("shop.example.org").body == "hello";
  };
  auto other = LocalCa::open_or_create(directory_ + "/other", "example.org");
  ASSERT_TRUE(other.has_value());
  EXPECT_FALSE(https()) << "a name outside of the domain has none of the local CA's";
  const auto issued = other->issue({"shop.example.org"});
  ASSERT_TRUE(issued.has_value());
  write("certs/shop.example.org.pem", to_pem((*issued)->leaf.get()));
  EXPECT_FALSE((*lone)->reload().has_value()) << "its key is missing";
  write("certs/shop.example.org.key", to_pem((*issued)->key.get()));
  ASSERT_TRUE((*lone)->reload().has_value());
  EXPECT_TRUE(https());
  std::filesystem::remove(directory_ + "/certs/shop.example.org.pem");
  ASSERT_TRUE((*lone)->reload().has_value());
  EXPECT_FALSE(https());
}

TEST(RouteFile, takes_every_member_and_says_which_it_does_not_know) {
  const auto routes = parse_routes(
      R"({"routes": [
        {"host": "a.test", "targets": ["10.0.0.7:3000", "[::1]:80", "unix:/run/a.sock"],
         "request_rate": 50, "max_concurrent_requests": 8, "unavailable_message": "later",
         "app_protocol": "h2c"},
        {"host": "www.a.test", "redirect_to": "a.test"}]})");
  ASSERT_TRUE(routes.has_value()) << to_string(routes.error());
  ASSERT_EQ(routes->size(), 2U);
  const Route& route = routes->front();
  ASSERT_EQ(route.upstreams.size(), 3U);
  EXPECT_EQ(route.upstreams[0], (Upstream{"10.0.0.7:3000", "10.0.0.7", 3000}));
  EXPECT_EQ(route.upstreams[1], (Upstream{"[::1]:80", "::1", 80}));
  EXPECT_EQ(route.upstreams[2], (Upstream{"unix:/run/a.sock", "unix:/run/a.sock", 0}));
  EXPECT_EQ(route.limits, (RouteLimits{50, 8}));
  EXPECT_EQ(route.unavailable_message, "later");
  EXPECT_EQ(route.protocol, AppProtocol::h2c);
  EXPECT_EQ(routes->back().protocol, AppProtocol::http1);
  EXPECT_EQ(routes->back().redirect_to, "a.test");
  struct Case {
    const char* json;
    const char* said;
  };
  for (const auto& [json, said] : std::initializer_list<Case>{
           {"", "no JSON"},
           {"[]", "{\"routes\": [...]}"},
           {R"({"routes": [], "more": 1})", "{\"routes\": [...]}"},
           {R"({"routes": [7]})", "route 1: it must be an object"},
           {R"({"routes": [{"host": "a.test"}, {"targets": []}]})", "route 2: it has no host"},
           {R"({"routes": [{"host": 7}]})", "host must be a text"},
           {R"({"routes": [{"host": "a", "target": "x"}]})", "'target' is not known"},
           {R"({"routes": [{"host": "a", "targets": "x:1"}]})", "targets must be a list"},
           {R"({"routes": [{"host": "a", "targets": ["x"]}]})", "'x' is no target"},
           {R"({"routes": [{"host": "a", "targets": ["x:0"]}]})", "'x:0' is no target"},
           {R"({"routes": [{"host": "a", "targets": ["x:70000"]}]})", "is no target"},
           {R"({"routes": [{"host": "a", "app_protocol": "h2"}]})", "\"http1\" or \"h2c\""},
           {R"({"routes": [{"host": "a", "app_protocol": 2}]})", "\"http1\" or \"h2c\""},
           {R"({"routes": [{"host": "a", "request_rate": -1}]})", "from 0 to 1000000"},
           {R"({"routes": [{"host": "a", "request_rate": 1.5}]})", "from 0 to 1000000"}}) {
    const auto refused = parse_routes(json);
    ASSERT_FALSE(refused.has_value()) << json;
    EXPECT_NE(refused.error().message.find(said), std::string::npos) << refused.error().message;
  }
}

}  // namespace
}  // namespace atlasflow::edge
