// The store of certificates: found again, sealed, whole after anything.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "base/file.hpp"
#include "domains/certificates/certificate_store.hpp"
#include "domains/certificates/chain.hpp"
#include "tests/domains/test_authority.hpp"

namespace atlasflow::domains {
namespace {

namespace fs = std::filesystem;
using domains_test::issue;
using domains_test::TestAuthority;

const EffectId k_effect("domain/web.example-v7");

class Store : public testing::Test {
 protected:
  Store() {
    std::string pattern = testing::TempDir() + "store-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    open();
  }
  ~Store() override { fs::remove_all(folder_); }

  void open() {
    store_.reset();
    auto opened = CertificateStore::open(folder_ / "domains", folder_ / "secret.key");
    ASSERT_TRUE(opened.has_value()) << to_string(opened.error());
    store_ = std::move(*opened);
  }
  [[nodiscard]] StoredCertificate make(const std::string& name) const {
    const auto issued = issue(authority_, {.names = {name}});
    const auto chain = parse_certificates(issued.chain_pem).value();
    return {issued.chain_pem, issued.key_pem, facts_of(chain.front().get())};
  }
  // By an order of its own.
  void put(const StoredCertificate& certificate) {
    const EffectId effect("domain/" + certificate.facts.fingerprint());
    ASSERT_TRUE(store_->order(effect).has_value());
    const auto put = store_->put(effect, certificate);
    ASSERT_TRUE(put.has_value()) << to_string(put.error());
  }
  [[nodiscard]] fs::path record_of(const StoredCertificate& certificate) const {
    return folder_ / "domains" / "certificates" / (certificate.facts.fingerprint() + ".json");
  }
  // The file with the certificate's chain and key.
  [[nodiscard]] fs::path sealed_file_of(const StoredCertificate& certificate) const {
    const auto record = nlohmann::json::parse(read_file(record_of(certificate), 1U << 16U).value());
    return folder_ / "domains" / "sealed" / record["sealed"].get<std::string>();
  }
  [[nodiscard]] std::string all_bytes() const {
    std::string all;
    for (const auto& each : fs::recursive_directory_iterator(folder_ / "domains")) {
      if (each.is_regular_file()) all += read_file(each.path(), 1U << 20U).value();
    }
    return all;
  }

  fs::path folder_;
  TestAuthority authority_;
  std::unique_ptr<CertificateStore> store_;
};

TEST_F(Store, a_certificate_is_found_again_and_its_key_is_nowhere_in_the_clear) {
  const auto certificate = make("web.example");
  put(certificate);
  open();
  const auto found = store_->certificate(certificate.facts.fingerprint());
  ASSERT_TRUE(found.has_value()) << to_string(found.error());
  EXPECT_EQ(found->chain_pem, certificate.chain_pem);
  EXPECT_EQ(found->key_pem, certificate.key_pem);
  EXPECT_EQ(found->facts.names(0), "web.example");
  const auto bytes = all_bytes();
  EXPECT_EQ(bytes.find("PRIVATE KEY"), std::string::npos);
  EXPECT_EQ(bytes.find("BEGIN CERTIFICATE"), std::string::npos);
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "domains").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
}

TEST_F(Store, an_order_keeps_its_key_and_url) {
  const auto first = store_->order(k_effect);
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(first->announced);
  ASSERT_TRUE(store_->announce_order(k_effect).has_value());
  ASSERT_TRUE(store_->set_order_url(k_effect, "https://ca.example/order/1").has_value());
  open();
  const auto again = store_->order(k_effect);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->announced);
  EXPECT_EQ(again->url, "https://ca.example/order/1");
  EXPECT_EQ(EVP_PKEY_eq(again->key.get(), first->key.get()), 1);
  const auto other = store_->order(EffectId("domain/web.example-v8"));
  EXPECT_NE(EVP_PKEY_eq(other->key.get(), first->key.get()), 1);
  EXPECT_EQ(all_bytes().find("PRIVATE KEY"), std::string::npos);
}

TEST_F(Store, an_account_is_one_for_each_directory_and_external_account) {
  const auto first = store_->account("https://ca.example/dir", "").value();
  EXPECT_EQ(first.url, "");
  ASSERT_TRUE(
      store_->set_account_url("https://ca.example/dir", "", "https://ca.example/1").has_value());
  open();
  const auto again = store_->account("https://ca.example/dir", "").value();
  EXPECT_EQ(again.url, "https://ca.example/1");
  EXPECT_EQ(EVP_PKEY_eq(again.key.get(), first.key.get()), 1);
  EXPECT_NE(
      EVP_PKEY_eq(store_->account("https://ca.example/dir", "kid-1")->key.get(), first.key.get()),
      1);
}

TEST_F(Store, damage_is_told_and_never_served) {
  const auto one = make("one.example");
  const auto two = make("two.example");
  put(one);
  put(two);
  // One's record under the other's name: the sealed value is bound to its own.
  fs::copy_file(record_of(one), record_of(two), fs::copy_options::overwrite_existing);
  EXPECT_EQ(store_->certificate(two.facts.fingerprint()).error().code, ErrorCode::corrupt);
  EXPECT_TRUE(store_->certificate(one.facts.fingerprint()).has_value());
  std::ofstream(record_of(one)) << "{";
  EXPECT_EQ(store_->certificate(one.facts.fingerprint()).error().code, ErrorCode::corrupt);
  fs::remove(record_of(one));
  EXPECT_EQ(store_->certificate(one.facts.fingerprint()).error().code, ErrorCode::not_found);
  for (const char* none : {"", "../secret", "zz"}) {
    EXPECT_EQ(store_->certificate(none).error().code, ErrorCode::not_found) << none;
  }
}

// Another certificate is ordered in place of a corrupt one, and its key is gone then: a disk that
// fails, or a process without a descriptor to spare, must not look like one.
TEST_F(Store, what_can_not_be_read_now_is_not_corrupt) {
  const auto certificate = make("web.example");
  put(certificate);
  const auto file = sealed_file_of(certificate);
  const auto aside = folder_ / "aside";
  fs::rename(file, aside);
  fs::create_directory(file);  // opens, and read() fails
  const auto unread = store_->certificate(certificate.facts.fingerprint());
  ASSERT_FALSE(unread.has_value());
  EXPECT_NE(unread.error().code, ErrorCode::corrupt) << to_string(unread.error());
  EXPECT_NE(unread.error().code, ErrorCode::not_found) << to_string(unread.error());
  fs::remove(file);
  EXPECT_EQ(store_->certificate(certificate.facts.fingerprint()).error().code, ErrorCode::corrupt)
      << "it is gone";
  fs::rename(aside, file);
  EXPECT_TRUE(store_->certificate(certificate.facts.fingerprint()).has_value());
}

TEST_F(Store, what_opens_and_is_neither_key_nor_chain_is_corrupt) {
  const auto certificate = make("web.example");
  put(certificate);
  auto sealed = storage::open_secret_store(folder_ / "domains" / "sealed", folder_ / "secret.key");
  ASSERT_TRUE(sealed.has_value());
  for (const auto& content : {std::string("nonsense"), certificate.key_pem}) {
    const auto ref =
        (*sealed)->seal("certificate/" + certificate.facts.fingerprint(), content).value().ref;
    std::ofstream(record_of(certificate)) << nlohmann::json{{"sealed", ref}};
    const auto found = store_->certificate(certificate.facts.fingerprint());
    ASSERT_FALSE(found.has_value());
    EXPECT_EQ(found.error().code, ErrorCode::corrupt) << to_string(found.error());
  }
}

// dNSName is to be ASCII (RFC 5280 section 4.2.1.6), and an authority may write what it likes.
TEST_F(Store, a_name_that_is_no_text_keeps_no_certificate_from_being_stored) {
  auto certificate = make("web.example");
  certificate.facts.add_names("\xFF.example");
  put(certificate);
  EXPECT_TRUE(store_->certificate(certificate.facts.fingerprint()).has_value());
}

TEST_F(Store, what_nobody_names_goes_and_what_an_order_brought_stays_with_it) {
  const auto kept = make("kept.example");
  const auto gone = make("gone.example");
  const auto fresh = make("fresh.example");
  put(kept);
  put(gone);
  ASSERT_TRUE(store_->order(k_effect).has_value());
  ASSERT_TRUE(store_->put(k_effect, fresh).has_value());
  ASSERT_TRUE(store_->order(EffectId("old-v1")).has_value());
  ASSERT_TRUE(store_->account("https://ca.example/dir", "").has_value());
  const auto sealed = [&] { return names_in(folder_ / "domains" / "sealed")->size(); };
  EXPECT_EQ(sealed(), 8U)
      << "three with the keys of their orders, another order's and the account's";
  ASSERT_TRUE(store_->keep_only({kept.facts.fingerprint()}, {k_effect}).has_value());
  EXPECT_EQ(sealed(), 4U) << "kept, fresh, its order's key and the account's";
  open();
  EXPECT_TRUE(store_->certificate(kept.facts.fingerprint()).has_value());
  EXPECT_TRUE(store_->certificate(fresh.facts.fingerprint()).has_value());
  EXPECT_FALSE(store_->certificate(gone.facts.fingerprint()).has_value());
  EXPECT_EQ(store_->order(k_effect)->fingerprint, fresh.facts.fingerprint());
}

// A start that died between the sealed value and the record that names it.
TEST_F(Store, a_value_without_a_record_is_cleared_away) {
  auto sealed = storage::open_secret_store(folder_ / "domains" / "sealed", folder_ / "secret.key");
  ASSERT_TRUE((*sealed)->seal("acme-order/none", "left over").has_value());
  ASSERT_TRUE(store_->keep_only({}, {}).has_value());
  EXPECT_TRUE((*sealed)->refs()->empty());
}

TEST_F(Store, another_key_file_opens_nothing) {
  const auto certificate = make("web.example");
  put(certificate);
  store_.reset();
  std::ofstream(folder_ / "secret.key") << std::string(32, 'x');
  open();
  EXPECT_EQ(store_->certificate(certificate.facts.fingerprint()).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace atlasflow::domains
