// What the edge answers in its own name: to people, to programs, and in the project's words.
#include <nlohmann/json.hpp>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

class ErrorPage : public EdgeTest {
 protected:
  [[nodiscard]] ClientResponse get(const std::string& host, const std::string& fields = "") {
    Client client;
    if (!client.connect(edge_->http_port())) return {};
    return client.get(host, "/", fields);
  }
};

TEST_F(ErrorPage, an_unknown_host_gets_a_page_that_names_it) {
  start();
  route("shop.apps.test", {});
  publish();
  const ClientResponse text = get("shoop.apps.test:8080");
  EXPECT_EQ(text.status, 404);
  EXPECT_EQ(text.field("x-atlas-error"), "unknown_host");
  EXPECT_EQ(text.field("cache-control"), "no-store");
  EXPECT_EQ(text.field("x-request-id").size(), 36U);
  EXPECT_EQ(text.field("content-type"), "text/plain; charset=utf-8");
  EXPECT_NE(text.body.find("shoop.apps.test"), std::string::npos);
  EXPECT_NE(text.body.find("No deployment answers"), std::string::npos);

  const ClientResponse html =
      get("a.test", "Accept: application/json;q=0.8, text/html, */*;q=0.1\r\n");
  EXPECT_EQ(html.field("content-type"), "text/html; charset=utf-8");
  EXPECT_NE(html.body.find("<h1>There is no site at this address</h1>"), std::string::npos);
  EXPECT_NE(html.body.find("404 No deployment answers for a.test"), std::string::npos);
  EXPECT_NE(html.body.find(html.field("x-request-id")), std::string::npos);
  EXPECT_EQ(html.field("content-security-policy"), "default-src 'none'; style-src 'unsafe-inline'");
  const ClientResponse json = get("a.test", "Accept: text/html;q=0.5, application/json\r\n");
  EXPECT_EQ(json.field("content-type"), "application/json");
  EXPECT_NE(json.body.find("\"code\":\"unknown_host\""), std::string::npos);
}

TEST_F(ErrorPage, a_redirect_says_to_a_person_where_to_go) {
  start([](EdgeConfig& config) { config.redirect_http = true; });
  route("shop.apps.test", {});
  publish();
  const ClientResponse moved = get("shop.apps.test", "Accept: text/html\r\n");
  EXPECT_EQ(moved.status, 301);
  EXPECT_NE(moved.body.find("<h1>This page is at another address</h1>"), std::string::npos);
  EXPECT_NE(moved.body.find("https://shop.apps.test"), std::string::npos);
}

TEST_F(ErrorPage, programs_may_ask_for_problem_details) {
  start();
  route("shop.apps.test", {}, "its \"deployment\" is starting");
  table_.routes.back().unavailable_message = "Back at 14:00";
  publish();
  const ClientResponse response =
      get("shop.apps.test", "Accept: application/problem+json, application/json;q=0.9\r\n");
  EXPECT_EQ(response.field("content-type"), "application/problem+json");
  const auto problem = nlohmann::json::parse(response.body);
  EXPECT_EQ(problem.at("type"), "about:blank");
  EXPECT_EQ(problem.at("status"), 503);
  EXPECT_EQ(problem.at("code"), "no_instance");
  EXPECT_EQ(problem.at("title"), "shop.apps.test is not available now");
  EXPECT_EQ(problem.at("detail"),
            "shop.apps.test is not available now: its \"deployment\" is starting");
  EXPECT_EQ(problem.at("notice"), "Back at 14:00");
  EXPECT_EQ(problem.at("request_id"), response.field("x-request-id"));
}

TEST_F(ErrorPage, a_project_says_to_its_visitors_what_it_likes_and_nothing_of_it_runs) {
  start();
  route("shop.apps.test", {}, "its deployment is starting");
  table_.routes.back().unavailable_message = "Back at <b>14:00</b> & \"later\"";
  publish();
  const ClientResponse html = get("shop.apps.test", "Accept: text/html\r\n");
  EXPECT_EQ(html.status, 503);
  EXPECT_EQ(html.field("retry-after"), "5");
  EXPECT_NE(html.body.find("<h1>This site is not available right now</h1>\n<p>Back at "
                           "&lt;b&gt;14:00&lt;/b&gt; &amp; &quot;later&quot;</p>"),
            std::string::npos)
      << html.body;
  EXPECT_NE(get("shop.apps.test").body.find("Back at <b>14:00</b>"), std::string::npos);
  const ClientResponse forged = get("shop.apps.test", "Accept: text/html\r\nX-Request-Id: <i>\r\n");
  EXPECT_EQ(forged.body.find("<i>"), std::string::npos);
}

}  // namespace
}  // namespace atlasflow::edge
