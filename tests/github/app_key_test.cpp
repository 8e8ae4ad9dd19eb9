// The App's private key: what GitHub hands out is taken, what people mix it up with is named.
#include "github/app_key.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ec.h>

#include "tests/github/test_keys.hpp"

namespace atlasflow::github {
namespace {

using testing::HasSubstr;

std::string refusal(const std::string& text) {
  const auto key = AppKey::parse(Secret(text));
  if (key) return "taken";
  EXPECT_EQ(key.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(key.error().cause, "");
  return key.error().message;
}

TEST(AppKey, of_pkcs1_and_pkcs8_is_the_same_key) {
  const auto made = make_rsa_key(2048);
  const auto first = AppKey::parse(Secret(pkcs1_pem(made.get())));
  const auto second = AppKey::parse(Secret(pkcs8_pem(made.get())));
  ASSERT_TRUE(first) << to_string(first.error());
  ASSERT_TRUE(second) << to_string(second.error());
  EXPECT_EQ(first->sign("x"), second->sign("x"));
  EXPECT_EQ(first->fingerprint(), second->fingerprint());
}

TEST(AppKey, survives_what_editors_and_windows_do_to_a_file) {
  auto pem = rfc_7515_key();
  std::string windows = "\r\n";
  for (const char c : pem) windows += c == '\n' ? "\r\n" : std::string(1, c);
  EXPECT_EQ(refusal(windows), "taken");
  pem.pop_back();
  EXPECT_EQ(refusal("  " + pem), "taken");
}

// docs.github.com, "Verifying private keys": openssl rsa -pubout -outform DER | openssl sha256
// -binary | openssl base64, run by hand over this key.
TEST(AppKey, has_the_fingerprint_that_github_shows) {
  EXPECT_EQ(AppKey::parse(Secret(rfc_7515_key()))->fingerprint(),
            "SHA256:b9E8JDWjYefFiM0X9V9a098Bd6ZsFyemogCEX016uIw=");
}

TEST(AppKey, what_is_given_instead_is_named) {
  const auto rsa = make_rsa_key(2048);
  const TestKey ec(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const auto one = pkcs1_pem(rsa.get());
  const struct {
    std::string text;
    const char* reason;
  } k_cases[] = {
      {"", "is empty"},
      {" \r\n\t", "is empty"},
      {public_pem(rsa.get()), "is a public key"},
      {"ssh-rsa AAAAB3NzaC1yc2E me@here", "is a public key for SSH"},
      {"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r\n-----END OPENSSH PRIVATE KEY-----\n",
       "is one for SSH"},
      {"-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----\n", "is a certificate"},
      {pkcs1_pem(ec.get()), "elliptic curves"},
      {pkcs8_pem(ec.get()), "is not for RSA"},
      {locked_pem(rsa.get(), true), "passphrase"},
      {locked_pem(rsa.get(), false), "passphrase"},
      {private_der(rsa.get()), "is binary (DER)"},
      {one + one, "is more than one"},
      {one.substr(0, one.size() / 2), "is cut off"},
      {"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "is damaged"},
      {"-----BEGIN RSA PRIVATE KEY-----\\nMIIE\\n-----END RSA PRIVATE KEY-----", "has \\n where"},
      {"Iv1.8a61f9b3a7aba766", "is not PEM"},
      {"{\"pem\": 1}", "is not PEM"},
      {pkcs1_pem(make_rsa_key(1024).get()), "has 1024 bits"},
      {std::string(70'000, 'x'), "larger than 64 KiB"},
  };
  for (const auto& each : k_cases) {
    EXPECT_THAT(refusal(each.text), HasSubstr(each.reason));
    EXPECT_THAT(refusal(each.text), HasSubstr("\"Private keys\"")) << each.reason;
  }
}

// Every cut and every changed byte: an answer, no crash, and never a question on the terminal.
TEST(AppKey, damage_anywhere_is_told_and_nothing_of_the_key_is) {
  const auto pem = rfc_7515_key();
  for (std::size_t size = 0; size < pem.size(); size += 7) {
    EXPECT_NE(refusal(pem.substr(0, size)), "");
  }
  for (std::size_t at = 0; at < pem.size(); at += 11) {
    auto changed = pem;
    changed[at] = changed[at] == 'A' ? 'B' : 'A';
    const auto said = refusal(changed);
    EXPECT_THAT(said, testing::Not(HasSubstr(pem.substr(40, 12))));
  }
}

}  // namespace
}  // namespace atlasflow::github
