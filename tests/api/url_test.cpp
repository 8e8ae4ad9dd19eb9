#include "api/url.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/router.hpp"

namespace atlasflow::api {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(Url, percent_encoding_is_undone_once) {
  EXPECT_EQ(percent_decoded("a%2fb%20c%2525", PlusSign::literal), "a/b c%25");
  EXPECT_EQ(percent_decoded("a+b", PlusSign::literal), "a+b");
  EXPECT_EQ(percent_decoded("a+b", PlusSign::space), "a b");
}

TEST(Url, percent_encoding_that_is_cut_or_not_hex_is_refused) {
  for (const char* text : {"%", "%2", "a%zz", "%2g", "100%"}) {
    EXPECT_FALSE(percent_decoded(text, PlusSign::literal)) << text;
  }
}

TEST(Url, a_query_keeps_order_and_repeated_names) {
  const auto query = parsed_query("name=A&name=B&&empty=&bare&x=1%3d2=3");
  ASSERT_TRUE(query);
  EXPECT_THAT(*query, ElementsAre(Pair("name", "A"), Pair("name", "B"), Pair("empty", ""),
                                  Pair("bare", ""), Pair("x", "1=2=3")));
}

TEST(Url, numbers_have_no_sign_no_rest_and_a_limit) {
  EXPECT_EQ(parsed_number("0", 10), 0U);
  EXPECT_EQ(parsed_number("10", 10), 10U);
  for (const char* text :
       {"", "11", "-1", "+1", "1 ", " 1", "0x1", "1e3", "99999999999999999999"}) {
    EXPECT_FALSE(parsed_number(text, 10)) << text;
  }
}

Router router_with(std::vector<std::pair<const char*, const char*>> routes) {
  Router router;
  for (const auto& [method, pattern] : routes) {
    router.add({method, pattern, 0, [](const Request&) { return Response{}; }});
  }
  return router;
}

int status_of(const std::variant<RouteMatch, Response>& matched) {
  const auto* response = std::get_if<Response>(&matched);
  return response == nullptr ? 200 : response->status;
}

TEST(Router, a_parameter_is_one_decoded_segment) {
  const auto router = router_with({{"GET", "/v1/projects/:name/env"}});
  const auto matched = router.match("GET", "/v1/projects/a%2Fb/env");
  ASSERT_TRUE(std::holds_alternative<RouteMatch>(matched));
  EXPECT_EQ(std::get<RouteMatch>(matched).parameters.at("name"), "a/b");
  EXPECT_EQ(status_of(router.match("GET", "/v1/projects/a/b/env")), 404);
  EXPECT_EQ(status_of(router.match("GET", "/v1/projects//env")), 404);
}

TEST(Router, paths_are_matched_whole) {
  const auto router = router_with({{"GET", "/healthz"}});
  for (const char* path :
       {"/", "", "*", "/healthz/", "//healthz", "/Healthz", "/healthz/x", "/h"}) {
    EXPECT_EQ(status_of(router.match("GET", path)), 404) << path;
  }
  EXPECT_EQ(status_of(router.match("GET", "/%zz")), 400);
  EXPECT_EQ(status_of(router.match("GET", "/healthz%00")), 400);
}

TEST(Router, a_wrong_method_is_told_the_right_ones) {
  const auto router = router_with({{"GET", "/a"}, {"POST", "/a"}, {"DELETE", "/b"}});
  const auto matched = router.match("PUT", "/a");
  ASSERT_TRUE(std::holds_alternative<Response>(matched));
  const auto& response = std::get<Response>(matched);
  EXPECT_EQ(response.status, 405);
  EXPECT_THAT(response.fields, ElementsAre(Pair("Allow", "GET, HEAD, POST")));
  EXPECT_EQ(status_of(router.match("HEAD", "/a")), 200);
  EXPECT_EQ(status_of(router.match("HEAD", "/b")), 405);
  EXPECT_EQ(status_of(router.match("get", "/a")), 405);
}

}  // namespace
}  // namespace atlasflow::api
