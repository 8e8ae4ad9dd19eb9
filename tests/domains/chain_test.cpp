// Certificates before they are kept: each mistake is told by what was found and what is expected.
#include "domains/certificates/chain.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>

#include "domains/acme/acme_client.hpp"
#include "tests/domains/test_authority.hpp"

namespace atlasflow::domains {
namespace {

using domains_test::issue;
using domains_test::Issued;
using domains_test::TestAuthority;
using testing::HasSubstr;

class Chain : public testing::Test {
 protected:
  [[nodiscard]] Result<CheckedChain> check(const std::string& pem, EVP_PKEY* key,
                                           std::vector<std::string> hosts = {"web.example"}) const {
    ChainQuestion question;
    question.chain_pem = pem;
    question.key = key;
    question.hosts = std::move(hosts);
    question.now_us = now_us();
    return check_chain(question);
  }
  void expect_refused(const std::string& pem, EVP_PKEY* key, const std::string& because,
                      std::vector<std::string> hosts = {"web.example"}) const {
    const auto checked = check(pem, key, std::move(hosts));
    ASSERT_FALSE(checked.has_value()) << because;
    EXPECT_EQ(checked.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(checked.error().message, HasSubstr(because));
  }

  TestAuthority authority_;
  Issued issued_ = issue(authority_, {.names = {"web.example", "*.web.example"}});
};

TEST_F(Chain, a_whole_chain_is_taken_and_its_root_left_out) {
  const auto checked = check(issued_.chain_pem + authority_.root_pem(), issued_.key.get(),
                             {"web.example", "a.web.example"});
  ASSERT_TRUE(checked.has_value()) << to_string(checked.error());
  EXPECT_EQ(checked->chain_pem, issued_.chain_pem);
  EXPECT_EQ(checked->facts.issuer(), "Test Intermediate");
  EXPECT_EQ(checked->facts.names_size(), 2);
  EXPECT_EQ(checked->facts.fingerprint().size(), 64U);
  EXPECT_NEAR(static_cast<double>(checked->facts.not_after_us() - now_us()), 90.0 * 86'400e6, 60e6);
}

// What is asked is often a text that ends with the line: what the authority sent, moved on.
TEST_F(Chain, a_question_keeps_the_text_that_it_was_given) {
  std::string sent = issued_.chain_pem;
  ChainQuestion question;
  question.chain_pem = sent;
  question.key = issued_.key.get();
  question.hosts = {"web.example"};
  question.now_us = now_us();
  sent.assign(sent.size(), 'x');
  const auto checked = check_chain(question);
  ASSERT_TRUE(checked.has_value()) << to_string(checked.error());
  EXPECT_EQ(checked->chain_pem, issued_.chain_pem);
}

// A browser may know an issuer that this machine does not.
TEST_F(Chain, where_a_chain_ends_is_the_authoritys) {
  for (const auto& pem : {issued_.leaf_pem, issued_.chain_pem}) {
    const auto checked = check(pem, issued_.key.get());
    ASSERT_TRUE(checked.has_value()) << to_string(checked.error());
    EXPECT_EQ(checked->chain_pem, pem);
  }
}

TEST_F(Chain, every_mistake_is_named) {
  const auto whole = issued_.chain_pem + authority_.root_pem();
  const auto other = issue(authority_, {.names = {"web.example"}});
  const auto old =
      issue(authority_, {.names = {"web.example"}, .begins_in_s = -172'800, .ends_in_s = -86'400});
  const auto early = issue(authority_, {.names = {"web.example"}, .begins_in_s = 86'400});
  const auto never =
      issue(authority_, {.names = {"web.example"}, .begins_in_s = 7'200, .ends_in_s = 3'600});
  const auto nameless = issue(authority_, {});
  const auto rest = authority_.intermediate_pem() + authority_.root_pem();
  const TestAuthority stranger("Other");
  expect_refused(whole, other.key.get(), "belongs to another private key");
  expect_refused(old.leaf_pem + rest, old.key.get(), "has expired on ");
  expect_refused(early.leaf_pem + rest, early.key.get(), "is this machine's clock right?");
  expect_refused(whole, issued_.key.get(),
                 "is for web.example, *.web.example and does not cover b.example", {"b.example"});
  expect_refused(whole, issued_.key.get(), "does not cover a.b.web.example", {"a.b.web.example"});
  expect_refused(nameless.leaf_pem + rest, nameless.key.get(), "is for no name");
  expect_refused(never.leaf_pem + rest, never.key.get(), "The certificate is never valid");
  expect_refused(issued_.leaf_pem + authority_.root_pem() + authority_.intermediate_pem(),
                 issued_.key.get(),
                 "certificate 2, Test Root, did not issue certificate 1, whose issuer is Test "
                 "Intermediate");
  expect_refused(issued_.leaf_pem + stranger.intermediate_pem(), issued_.key.get(),
                 "Other Intermediate, did not issue");
  expect_refused("", issued_.key.get(), "-----BEGIN CERTIFICATE-----");
  expect_refused(issued_.key_pem, issued_.key.get(), "there is no certificate in it");
}

TEST_F(Chain, a_weak_key_is_refused_and_a_good_one_of_rsa_taken) {
  for (const int bits : {1024, 2048}) {
    const KeyPtr key(EVP_RSA_gen(static_cast<unsigned>(bits)));
    const auto pem = to_pem(authority_.sign(key.get(), {.names = {"web.example"}}).get()) +
                     authority_.intermediate_pem() + authority_.root_pem();
    if (bits == 1024) {
      expect_refused(pem, key.get(), "too weak, 1024 bits");
    } else {
      EXPECT_TRUE(check(pem, key.get()).has_value());
    }
  }
}

TEST_F(Chain, damaged_and_endless_files_are_refused) {
  auto damaged = issued_.chain_pem;
  damaged[damaged.size() / 4] = '!';
  expect_refused(damaged, issued_.key.get(), "certificate 1 in it is damaged");
  std::string many;
  for (int i = 0; i < 17; ++i) many += issued_.leaf_pem;
  expect_refused(many, issued_.key.get(), "more than 16 certificates");
}

TEST(PrivateKey, what_is_no_key_or_sealed_is_told_without_asking_for_a_passphrase) {
  EXPECT_THAT(parse_private_key("nonsense").error().message, HasSubstr("no private key"));
  // openssl ecparam -genkey -name prime256v1 | openssl ec -aes128 -passout pass:secret
  const auto key = make_p256_key().value();
  const BioPtr bio(BIO_new(BIO_s_mem()));
  char word[] = "secret";
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key.get(), EVP_aes_128_cbc(), word, 6, nullptr, nullptr);
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  const auto sealed = parse_private_key({bytes, static_cast<std::size_t>(size)});
  ASSERT_FALSE(sealed.has_value());
  EXPECT_THAT(sealed.error().message, HasSubstr("sealed with a passphrase"));
}

TEST(Names, a_wildcard_covers_one_label) {
  EXPECT_TRUE(covers("web.example", "web.example"));
  EXPECT_TRUE(covers("*.example", "web.example"));
  EXPECT_FALSE(covers("*.example", "example"));
  EXPECT_FALSE(covers("*.example", "a.web.example"));
  EXPECT_FALSE(covers("*.example", ".example"));
  EXPECT_FALSE(covers("*", "example"));
}

TEST(Request, a_csr_names_all_and_is_signed_by_its_key) {
  const auto key = make_p256_key().value();
  const auto der = make_csr(key.get(), {"web.example", "www.web.example"}).value();
  const auto found = TestAuthority::key_of_request(der);
  ASSERT_TRUE(found);
  EXPECT_EQ(EVP_PKEY_eq(found.get(), key.get()), 1);
  EXPECT_THAT(TestAuthority::names_of_request(der),
              testing::ElementsAre("web.example", "www.web.example"));
}

// RFC 9773 appendix A.
TEST(RenewalId, is_that_of_rfc_9773) {
  const auto chain = parse_certificates(
      "-----BEGIN CERTIFICATE-----\n"
      "MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt\n"
      "cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS\n"
      "BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu\n"
      "7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf\n"
      "qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B\n"
      "yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb\n"
      "+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK\n"
      "-----END CERTIFICATE-----\n");
  ASSERT_TRUE(chain.has_value()) << to_string(chain.error());
  EXPECT_EQ(renewal_id_of(chain->front().get()), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
}

}  // namespace
}  // namespace atlasflow::domains
