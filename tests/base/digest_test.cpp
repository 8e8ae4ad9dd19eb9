#include "base/digest.hpp"

#include <set>

#include <gtest/gtest.h>

namespace atlasflow {
namespace {

TEST(Digest, is_the_sha256_of_the_standards_examples) {
  // FIPS 180-4, the examples "", "abc" and the two-block message.
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Digest, of_two_parts_is_that_of_their_concatenation_and_a_context_can_be_used_again) {
  Sha256 sha256;
  EXPECT_EQ(sha256.of("ab", "c"), sha256.of("abc"));
  EXPECT_EQ(to_hex(bytes_of(sha256.of("", "abc"))), sha256_hex("abc"));
}

TEST(Digest, is_read_from_the_hex_that_it_is_written_as_and_from_nothing_else) {
  const auto digest = Sha256().of("abc");
  const auto hex = sha256_hex("abc");
  EXPECT_EQ(digest_of_hex(hex), digest);
  for (const auto& wrong : {std::string(), hex.substr(1), hex + "0", "BA" + hex.substr(2),
                            "+" + hex.substr(1), " " + hex.substr(1), "0x" + hex.substr(2)}) {
    EXPECT_FALSE(digest_of_hex(wrong)) << wrong;
  }
}

TEST(ShortId, is_base32_of_the_digest_as_another_implementation_makes_it) {
  // python3: base64.b32encode(hashlib.sha256(b"abc").digest())[:8].lower() is "xj4bnp4p".
  EXPECT_EQ(short_id("abc"), "xj4bnp4p");
  // "4ct7wktm" with its first character, number 28 of the alphabet, moved to number 28 - 26.
  EXPECT_EQ(short_id("seed 4"), "cct7wktm");
}

TEST(ShortId, starts_with_a_letter_and_fits_a_dns_label_whatever_the_seed) {
  std::set<std::string> ids;
  for (int i = 0; i < 5000; ++i) {
    const std::string id = short_id("seed " + std::to_string(i));
    ASSERT_EQ(id.size(), 8U);
    ASSERT_TRUE(id[0] >= 'a' && id[0] <= 'z') << id;
    ASSERT_EQ(id.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567"), std::string::npos) << id;
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 5000U);
}

}  // namespace
}  // namespace atlasflow
