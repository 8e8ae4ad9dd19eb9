// Certificates that users bring: what is wrong with each is told with what was found and what is
// expected, and nothing of the key.
#include "domains/certificates/upload.hpp"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <unistd.h>

#include "domains/acme/acme_client.hpp"
#include "domains/certificates/chain.hpp"
#include "tests/domains/test_authority.hpp"

namespace atlasflow::domains {
namespace {

using domains_test::issue;
using domains_test::Issued;
using domains_test::LeafWish;
using domains_test::TestAuthority;
using testing::HasSubstr;
using testing::Not;

class Upload : public testing::Test {
 protected:
  Upload() { std::ofstream(roots_) << public_authority_.root_pem(); }
  ~Upload() override { std::filesystem::remove(roots_); }

  [[nodiscard]] Result<StoredCertificate> check(const std::string& chain, const std::string& key,
                                                const std::string& host = "web.example") const {
    return check_upload({.chain_pem = chain,
                         .key_pem = key,
                         .host = host,
                         .now_us = now_us(),
                         .roots_file = roots_.string()});
  }
  void expect_refused(const std::string& chain, const std::string& key,
                      const std::string& because) const {
    const auto checked = check(chain, key);
    ASSERT_FALSE(checked.has_value()) << because;
    EXPECT_EQ(checked.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(checked.error().message, HasSubstr(because));
    // A line of the key's base64, but for the one that all keys of its kind begin with.
    const auto second = key.find('\n', key.find('\n') + 1);
    if (key.size() > 200 && second != key.npos) {
      EXPECT_THAT(to_string(checked.error()), Not(HasSubstr(key.substr(second + 1, 24))));
    }
  }
  // Of a leaf for a key of another kind.
  [[nodiscard]] Issued with_key(EVP_PKEY* made, const LeafWish& wish = {{"web.example"}}) const {
    Issued issued;
    issued.key.reset(made);
    issued.chain_pem =
        to_pem(own_authority_.sign(made, wish).get()) + own_authority_.intermediate_pem();
    issued.key_pem = to_pem(made);
    return issued;
  }

  const std::filesystem::path roots_ =
      std::filesystem::temp_directory_path() /
      ("upload-" + std::to_string(::getpid()) + "-" +
       testing::UnitTest::GetInstance()->current_test_info()->name() + ".pem");
  TestAuthority public_authority_{"Public"};
  TestAuthority own_authority_{"Own"};
};

TEST_F(Upload, a_chain_below_a_known_root_is_taken_without_it) {
  const auto issued = issue(public_authority_, {.names = {"*.example", "web.example"}});
  const auto checked = check(issued.chain_pem, issued.key_pem);
  ASSERT_TRUE(checked.has_value()) << to_string(checked.error());
  EXPECT_EQ(checked->chain_pem, issued.chain_pem);
  EXPECT_EQ(checked->key_pem, issued.key_pem);
  EXPECT_EQ(checked->facts.issuer(), "Public Intermediate");
}

TEST_F(Upload, a_chain_of_an_own_authority_needs_its_root_which_is_not_sent) {
  const auto issued = issue(own_authority_, {.names = {"web.example"}});
  expect_refused(issued.chain_pem, issued.key_pem,
                 "The chain is not complete: it ends with Own Intermediate, and its issuer, Own "
                 "Root, is no authority that this machine knows");
  const auto checked = check(issued.chain_pem + own_authority_.root_pem(), issued.key_pem);
  ASSERT_TRUE(checked.has_value()) << to_string(checked.error());
  EXPECT_EQ(checked->chain_pem, issued.chain_pem);
}

TEST_F(Upload, a_leaf_alone_is_told_which_issuer_is_missing) {
  const auto issued = issue(public_authority_, {.names = {"web.example"}});
  expect_refused(issued.leaf_pem, issued.key_pem, "its issuer, Public Intermediate, is no");
}

TEST_F(Upload, a_chain_out_of_order_or_with_a_stranger_in_it_is_refused) {
  const auto issued = issue(public_authority_, {.names = {"web.example"}});
  expect_refused(public_authority_.intermediate_pem() + issued.leaf_pem, issued.key_pem,
                 "belongs to another private key");
  expect_refused(issued.leaf_pem + own_authority_.intermediate_pem(), issued.key_pem,
                 "The chain is not in order: certificate 2, Own Intermediate");
}

TEST_F(Upload, another_key_another_name_and_another_time_are_told) {
  const auto issued = issue(public_authority_, {.names = {"web.example"}});
  const auto other = issue(public_authority_, {.names = {"web.example"}});
  expect_refused(issued.chain_pem, other.key_pem, "belongs to another private key");
  const auto foreign = issue(public_authority_, {.names = {"shop.example", "*.web.example"}});
  expect_refused(foreign.chain_pem, foreign.key_pem,
                 "is for shop.example, *.web.example and does not cover web.example");
  const auto nobodys = issue(public_authority_, {.names = {}});
  expect_refused(nobodys.chain_pem, nobodys.key_pem, "is for no name");
  const auto old =
      issue(public_authority_, {.names = {"web.example"}, .begins_in_s = -7200, .ends_in_s = -60});
  expect_refused(old.chain_pem, old.key_pem, "has expired on");
  const auto early = issue(public_authority_, {.names = {"web.example"}, .begins_in_s = 7200});
  expect_refused(early.chain_pem, early.key_pem, "is valid from");
}

TEST_F(Upload, keys_that_browsers_do_not_take_are_refused_with_those_that_they_do) {
  const std::vector<std::pair<EVP_PKEY*, std::string>> wrong = {
      {EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{1024}), "RSA of 1024 bits"},
      {EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), "of type ED25519"},
      {EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "secp256k1"), "on the curve secp256k1"},
      {EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "secp224r1"), "on the curve secp224r1"}};
  for (const auto& [key, because] : wrong) {
    const auto issued = with_key(key);
    expect_refused(issued.chain_pem + own_authority_.root_pem(), issued.key_pem, because);
    expect_refused(issued.chain_pem + own_authority_.root_pem(), issued.key_pem,
                   "take a key on P-256 or P-384, or RSA of 2048 to 4096 bits");
  }
  const std::vector<EVP_PKEY*> right = {
      EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048}),
      EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-384")};
  for (auto* key : right) {
    const auto issued = with_key(key);
    const auto checked = check(issued.chain_pem + own_authority_.root_pem(), issued.key_pem);
    EXPECT_TRUE(checked.has_value()) << to_string(checked.error());
  }
}

TEST_F(Upload, a_certificate_for_clients_or_with_must_staple_is_refused) {
  const auto client = issue(public_authority_, {.names = {"web.example"}, .purpose = "clientAuth"});
  expect_refused(client.chain_pem, client.key_pem, "it takes a certificate for servers");
  const auto stapled = issue(public_authority_, {.names = {"web.example"}, .must_staple = true});
  expect_refused(stapled.chain_pem, stapled.key_pem, "demands OCSP stapling");
}

// A certificate of one's own for a.example can sign one for web.example that no browser believes.
TEST_F(Upload, an_issuer_that_is_no_authority_is_refused) {
  const auto issuer = issue(public_authority_, {.names = {"a.example"}});
  const auto key = make_p256_key().value();
  const auto issuer_leaf = std::move(parse_certificates(issuer.leaf_pem)->front());
  X509Ptr leaf = public_authority_.sign(key.get(), {.names = {"web.example"}});
  X509_set_issuer_name(leaf.get(), X509_get_subject_name(issuer_leaf.get()));
  X509_sign(leaf.get(), issuer.key.get(), EVP_sha256());
  const auto checked = check(to_pem(leaf.get()) + issuer.chain_pem, to_pem(key.get()));
  ASSERT_FALSE(checked.has_value());
  EXPECT_EQ(checked.error().code, ErrorCode::invalid_argument);
}

TEST_F(Upload, what_is_no_pem_says_which_of_both_it_is) {
  const auto issued = issue(public_authority_, {.names = {"web.example"}});
  expect_refused("nonsense", issued.key_pem, "The certificate can't be taken");
  expect_refused(issued.chain_pem, "nonsense", "The private key can't be taken");
  // Both in one file does.
  const auto both = issued.key_pem + issued.chain_pem;
  EXPECT_TRUE(check(both, both).has_value());
}

TEST_F(Upload, what_was_just_uploaded_stays_whatever_a_list_of_before_names) {
  const auto folder = roots_.string() + ".store";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  auto store = CertificateStore::open(folder + "/certificates", folder + "/secret.key").value();
  const auto issued = issue(public_authority_, {.names = {"web.example"}});
  const auto checked = check(issued.chain_pem, issued.key_pem).value();
  const auto& fingerprint = checked.facts.fingerprint();
  ASSERT_TRUE(store->put_uploaded(checked).has_value());
  ASSERT_TRUE(store->keep_only({}, {}).has_value());
  EXPECT_EQ(store->certificate(fingerprint)->key_pem, issued.key_pem);
  // A process that starts anew knows by the log alone what was recorded.
  store = CertificateStore::open(folder + "/certificates", folder + "/secret.key").value();
  ASSERT_TRUE(store->keep_only({fingerprint}, {}).has_value());
  EXPECT_TRUE(store->certificate(fingerprint).has_value());
  ASSERT_TRUE(store->keep_only({}, {}).has_value());
  EXPECT_EQ(store->certificate(fingerprint).error().code, ErrorCode::not_found);
  // Sealed: no file holds the key's bytes.
  ASSERT_TRUE(store->put_uploaded(checked).has_value());
  const auto line = issued.key_pem.substr(issued.key_pem.find('\n') + 40, 20);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(bytes.find(line), bytes.npos) << entry.path();
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace atlasflow::domains
