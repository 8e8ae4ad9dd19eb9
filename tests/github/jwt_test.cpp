#include "github/jwt.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/github/test_keys.hpp"

namespace atlasflow::github {
namespace {

std::string decoded(std::string text) {
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  const auto padding = (4 - text.size() % 4) % 4;
  text.append(padding, '=');
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return bytes;
}

TEST(Jwt, is_the_example_of_rfc_7515_appendix_a_2) {
  const auto key = AppKey::parse(Secret(rfc_7515_key()));
  ASSERT_TRUE(key);
  const auto jwt = signed_jwt(
      R"({"alg":"RS256"})",
      "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}", *key);
  EXPECT_EQ(
      jwt.reveal(),
      "eyJhbGciOiJSUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
      "cnVlfQ."
      "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W"
      "2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkS"
      "jtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnv"
      "Wh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw");
}

TEST(Jwt, of_an_app_leaves_a_minute_to_the_clocks_on_either_side) {
  const auto key = AppKey::parse(Secret(rfc_7515_key()));
  ASSERT_TRUE(key);
  constexpr std::int64_t k_now_s = 1'700'000'000;
  const auto jwt = app_jwt(12345, *key, k_now_s).reveal();
  const auto first = jwt.find('.');
  const auto second = jwt.find('.', first + 1);
  const auto header = nlohmann::json::parse(decoded(jwt.substr(0, first)));
  const auto claims = nlohmann::json::parse(decoded(jwt.substr(first + 1, second - first - 1)));
  EXPECT_EQ(header, (nlohmann::json{{"alg", "RS256"}, {"typ", "JWT"}}));
  EXPECT_EQ(claims,
            (nlohmann::json{{"iat", k_now_s - 60}, {"exp", k_now_s + 540}, {"iss", "12345"}}));
}

}  // namespace
}  // namespace atlasflow::github
