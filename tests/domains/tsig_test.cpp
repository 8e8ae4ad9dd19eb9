// Signatures over DNS messages, against bytes that Python's hmac and struct made from RFC 8945's
// text, and the files that keys come in.
#include "domains/dns/tsig.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.hpp"
#include "domains/dns/update.hpp"

namespace atlasflow::domains {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t k_at_s = 1'700'000'000;
const std::string k_secret_text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const std::string k_unsigned =
    "123428000001000000010000076578616d706c65036e657400000600010f5f61636d652d6368616c6c656e67650461"
    "707073076578616d706c65036e657400001000010000003c00060570726f6f66";
const std::string k_mac = "8c26408bc0a1006b919304344a9bce80d0ad34a5a4fc3d6a6d1ea2a119110b7b";
const std::string k_signed =
    "123428000001000000010001076578616d706c65036e657400000600010f5f61636d652d6368616c6c656e67650461"
    "707073076578616d706c65036e657400001000010000003c00060570726f6f660561746c6173076578616d706c6500"
    "00fa00ff00000000003d0b686d61632d7368613235360000006553f100012c00208c26408bc0a1006b919304344a9b"
    "ce80d0ad34a5a4fc3d6a6d1ea2a119110b7b123400000000";
// Two seconds later.
const std::string k_response =
    "1234a80000000000000000010561746c6173076578616d706c650000fa00ff00000000003d0b686d61632d73686132"
    "35360000006553f102012c0020d89086a43f4321b17c7d4d1b4358022be77fa86cd216b959d06947f52d5960181234"
    "00000000";

std::string from_hex(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(text.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

TsigKey key() { return parse_tsig_key("atlas.example " + k_secret_text).value(); }

TEST(Tsig, an_update_and_its_signature_have_the_bytes_that_the_rfcs_say) {
  const auto message = update_message(0x1234, "example.net", "_acme-challenge.apps.example.net",
                                      "proof", TextChange::add);
  EXPECT_EQ(to_hex(message), k_unsigned);
  const auto made = sign_message(message, key(), k_at_s);
  EXPECT_EQ(to_hex(made.mac), k_mac);
  EXPECT_EQ(to_hex(made.bytes), k_signed);
}

// RFC 2136 section 2.5.4: the class is NONE, and the time to live 0.
TEST(Tsig, a_record_is_removed_by_its_own_text) {
  const auto message = update_message(0x1234, "example.net", "_acme-challenge.apps.example.net",
                                      "proof", TextChange::remove);
  EXPECT_THAT(to_hex(message), testing::EndsWith("001000fe0000000000060570726f6f66"));
}

TEST(Tsig, a_response_is_believed_for_its_signature_alone) {
  const auto response = from_hex(k_response);
  const auto mac = from_hex(k_mac);
  EXPECT_TRUE(verify_response(response, key(), mac, k_at_s).has_value());
  EXPECT_THAT(verify_response(response, key(), mac, k_at_s + 400).error().message,
              HasSubstr("another time"));
  EXPECT_FALSE(verify_response(response, key(), from_hex(k_mac.substr(2) + "00"), k_at_s))
      << "it is the answer to another request";
  auto other = key();
  other.secret.back() ^= 1;
  EXPECT_FALSE(verify_response(response, other, mac, k_at_s));
}

TEST(Tsig, no_changed_or_shortened_response_is_believed) {
  const auto response = from_hex(k_response);
  const auto mac = from_hex(k_mac);
  for (std::size_t i = 0; i < response.size(); ++i) {
    // The id on the wire may differ from the one that was signed; whoever asked compares it.
    if (i >= 2) {
      auto changed = response;
      changed[i] = static_cast<char>(changed[i] ^ 1);
      EXPECT_FALSE(verify_response(changed, key(), mac, k_at_s)) << i;
    }
    EXPECT_FALSE(verify_response(response.substr(0, i), key(), mac, k_at_s)) << i;
  }
  EXPECT_FALSE(verify_response(response + '\0', key(), mac, k_at_s));
}

TEST(TsigKeyFile, is_read_as_bind_writes_it_or_as_a_name_and_a_secret) {
  const std::vector<std::string> files = {
      "key \"Atlas.Example.\" {\n\talgorithm hmac-sha256;\n\tsecret \"" + k_secret_text +
          "\";\n};\n",
      "# made by hand\nkey atlas.example { secret " + k_secret_text +
          "; /* soon */ algorithm HMAC-SHA256; }; // end",
      "atlas.example " + k_secret_text + "\n"};
  for (const auto& text : files) {
    const auto read = parse_tsig_key(text);
    ASSERT_TRUE(read.has_value()) << text << read.error().message;
    EXPECT_EQ(read->name, "atlas.example");
    EXPECT_EQ(read->secret.size(), 32U);
  }
}

TEST(TsigKeyFile, that_is_wrong_is_told_without_a_byte_of_its_secret) {
  const std::vector<std::pair<std::string, std::string>> files = {
      {"", "is empty"},
      {"# nothing", "is empty"},
      {k_secret_text, "neither a key of BIND's nor"},
      {"atlas a b", "neither a key of BIND's nor"},
      {"atlas !" + k_secret_text, "no base64"},
      {"at..las " + k_secret_text, "no name in DNS"},
      {"key atlas { algorithm hmac-md5; secret \"" + k_secret_text + "\"; };", "'hmac-md5'"},
      {"key atlas { secret \"" + k_secret_text + "\"; };", "the algorithm ''"},
      {"key atlas { algorithm hmac-sha256; };", "no base64"},
      {"key atlas { algorithm hmac-sha256; secret " + k_secret_text, "semicolon"},
      {"key atlas secret " + k_secret_text + ";", "braces"},
      {"key a { algorithm hmac-sha256; secret AA==; }; key b { algorithm hmac-sha256; };",
       "more than one key"}};
  for (const auto& [text, why] : files) {
    const auto read = parse_tsig_key(text);
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(read.error().message, HasSubstr(why)) << text;
    EXPECT_THAT(to_string(read.error()), Not(HasSubstr(k_secret_text.substr(0, 8))));
  }
}

}  // namespace
}  // namespace atlasflow::domains
