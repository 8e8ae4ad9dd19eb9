#include "api/signature.hpp"

#include <gtest/gtest.h>

namespace atlasflow::api {
namespace {

constexpr const char* k_published =
    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

TEST(Signature, is_the_one_that_github_documents) {
  const auto parsed = parsed_signature(k_published);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(
      equal_in_constant_time(hmac_sha256("It's a Secret to Everybody", "Hello, World!"), *parsed));
}

TEST(Signature, of_another_body_or_secret_differs) {
  const auto signature = hmac_sha256("secret", "body");
  EXPECT_FALSE(equal_in_constant_time(hmac_sha256("secret", "body "), signature));
  EXPECT_FALSE(equal_in_constant_time(hmac_sha256("secret2", "body"), signature));
  EXPECT_FALSE(equal_in_constant_time(hmac_sha256("", "body"), signature));
}

TEST(Signature, that_is_not_64_hex_digits_is_none) {
  const std::string good(k_published);
  for (const std::string& text :
       {std::string(), std::string("sha256="), good.substr(0, good.size() - 1), good + "0",
        "sha1=" + good.substr(7), good.substr(7), "SHA256=" + good.substr(7),
        "sha256= " + good.substr(8), "sha256=+" + good.substr(8), "sha256=-" + good.substr(8),
        "sha256=0x" + good.substr(9), "sha256=g" + good.substr(8),
        "sha256=" + std::string(64, '\0')}) {
    EXPECT_FALSE(parsed_signature(text)) << text;
  }
}

}  // namespace
}  // namespace atlasflow::api
