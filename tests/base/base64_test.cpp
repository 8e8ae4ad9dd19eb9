#include "base/base64.hpp"

#include <gtest/gtest.h>

namespace atlasflow {
namespace {

TEST(Base64, has_the_vectors_of_rfc_4648) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64url("f"), "Zg");
  EXPECT_EQ(base64url("\xfb\xff"), "-_8");
}

TEST(Base64, is_read_back_whatever_the_bytes) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(from_base64(base64(bytes)), bytes) << i;
    EXPECT_EQ(from_base64url(base64url(bytes)), bytes) << i;
    bytes += static_cast<char>(i * 7);
  }
}

TEST(Base64, is_read_from_nothing_but_what_is_written) {
  for (const auto* wrong : {"Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm8", " Zg==", "Zg==\n",
                            "Zg= =", "=", "====", "Z===", "-_8=", "Zm9v!mFy"}) {
    EXPECT_FALSE(from_base64(wrong)) << wrong;
  }
  for (const auto* wrong : {"Z", "Zg==", "Zh", "+/8", "-_8=", "Zm9vY", " Zg", "Zg\n"}) {
    EXPECT_FALSE(from_base64url(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace atlasflow
