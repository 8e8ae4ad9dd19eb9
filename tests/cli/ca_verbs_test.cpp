// The verbs of the server's own certificate authority, with one that the edge's code made, over the
// real API and Debian's real update-ca-certificates, in folders of the test's own.
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "base/file.hpp"
#include "base/x509.hpp"
#include "cli/verbs_ca.hpp"
#include "edge/tls/local_ca.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* k_begin = "-----BEGIN CERTIFICATE-----";

std::string content(const std::filesystem::path& path) {
  return read_file(path, 1U << 20U).value_or(std::string());
}

class CaVerbs : public VerbTest {
 protected:
  CaVerbs() {
    config_.socket = folder_.path() / "api.sock";
    const auto ca = edge::LocalCa::open_or_create(folder_.path() / "ca", "apps.test");
    EXPECT_TRUE(ca.has_value());
    if (ca) config_.ca_certificate = ca->certificate_path();
    for (const auto* name : {"etc", "hooks"}) {
      EXPECT_TRUE(make_folder(folder_.path() / name));
    }
    std::ofstream(folder_.path() / "packaged") << "";
    store_.folder = folder_.path() / "local";
    store_.update = {"/usr/sbin/update-ca-certificates",
                     "--localcertsdir",
                     store_.folder,
                     "--etccertsdir",
                     folder_.path() / "etc",
                     "--hooksdir",
                     folder_.path() / "hooks",
                     "--certsconf",
                     folder_.path() / "packaged"};
    store_.may_change = true;
  }

  // With whatever is there: a server only where the test has started one.
  template <typename Verb, typename... More>
  Ran run_verb(const Verb& command, const More&... more) {
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    const Connection connection{.socket = config_.socket, .state_dir = ""};
    const int code = cli::run(command, connection, Terminal{in, out, err}, more...);
    return {code, out.str(), err.str()};
  }

  [[nodiscard]] std::filesystem::path installed() const {
    return store_.folder / "atlasflow-apps.test.crt";
  }
  // What OpenSSL reads.
  [[nodiscard]] std::string bundle() const {
    return content(folder_.path() / "etc/ca-certificates.crt");
  }
  [[nodiscard]] std::string certificate() const { return content(config_.ca_certificate); }

  // Another one for the same domain, as a server had that was here before.
  std::string put_anothers() {
    const auto other = edge::LocalCa::open_or_create(folder_.path() / "other", "apps.test");
    EXPECT_TRUE(other.has_value());
    EXPECT_TRUE(make_folder(store_.folder));
    const auto pem = content(folder_.path() / "other/ca.pem");
    EXPECT_TRUE(replace_file(installed(), pem, 0644));
    return pem;
  }

  TrustStore store_;
};

TEST_F(CaVerbs, the_certificate_is_printed_by_the_server_and_without_one_and_never_the_key) {
  // Whatever lies in the file beside it.
  std::ofstream(config_.ca_certificate, std::ios::app) << content(folder_.path() / "ca/ca.key");
  ASSERT_THAT(certificate(), HasSubstr("PRIVATE KEY"));
  const auto from_folder = run_verb(CaExportCommand{});
  EXPECT_EQ(from_folder.code, 0) << from_folder.err;
  start();
  const auto from_server = run_verb(CaExportCommand{.file = "-"});
  EXPECT_EQ(from_server.code, 0) << from_server.err;
  EXPECT_EQ(from_server.out, from_folder.out);
  EXPECT_THAT(from_server.out, StartsWith(k_begin));
  EXPECT_EQ(from_server.out.find("KEY"), std::string::npos);
  EXPECT_THAT(certificate(), StartsWith(from_server.out));
}

TEST_F(CaVerbs, what_is_written_to_a_file_is_what_curl_takes) {
  start();
  const auto file = folder_.path() / "exported.pem";
  const auto ran = run_verb(CaExportCommand{.file = file});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(content(file), certificate());
  EXPECT_THAT(ran.out, HasSubstr("the authority for apps.test, SHA-256 "));
  EXPECT_EQ(run_verb(CaExportCommand{.file = file}).code, 0);
}

TEST_F(CaVerbs, what_is_no_file_is_not_replaced) {
  start();
  for (const auto& path : {folder_.path().string(), std::string("/dev/null"),
                           (folder_.path() / "nowhere/ca.pem").string()}) {
    const auto ran = run_verb(CaExportCommand{.file = path});
    EXPECT_EQ(ran.code, 2) << path;
    EXPECT_THAT(ran.err, HasSubstr(path));
  }
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_TRUE(std::filesystem::is_directory(folder_.path()));
}

TEST_F(CaVerbs, a_server_without_an_authority_and_a_folder_without_a_server_say_so) {
  config_.ca_certificate.clear();
  start();
  const auto none = run_verb(CaExportCommand{});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.err, HasSubstr("no certificate authority of its own"));
  EXPECT_EQ(none.out, "");
  config_.socket = folder_.path() / "elsewhere/api.sock";
  const auto nobody = run_verb(CaExportCommand{});
  EXPECT_EQ(nobody.code, 1);
  EXPECT_THAT(nobody.err, HasSubstr("no server answers on"));
}

TEST_F(CaVerbs, a_damaged_certificate_is_told_of_with_its_file) {
  std::ofstream(config_.ca_certificate) << k_begin << "\nnonsense\n-----END CERTIFICATE-----\n";
  start();
  const auto ran = run_verb(CaExportCommand{});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr(config_.ca_certificate.string() + ", can't be read"));
}

TEST_F(CaVerbs, the_machine_trusts_it_once_told_and_no_more_once_told_otherwise) {
  // One that its administrator trusts anyhow.
  ASSERT_TRUE(edge::LocalCa::open_or_create(folder_.path() / "unrelated", "other.test"));
  const auto unrelated = content(folder_.path() / "unrelated/ca.pem");
  ASSERT_TRUE(make_folder(store_.folder));
  ASSERT_TRUE(replace_file(store_.folder / "other.crt", unrelated, 0644));
  start();
  const auto trusted = run_verb(CaTrustCommand{}, store_);
  ASSERT_EQ(trusted.code, 0) << trusted.err;
  EXPECT_THAT(trusted.out, HasSubstr("Added " + installed().string()));
  EXPECT_THAT(trusted.out, HasSubstr("certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n "
                                     "atlasflow-apps.test -i " +
                                     installed().string()));
  EXPECT_EQ(content(installed()), certificate());
  EXPECT_THAT(bundle(), HasSubstr(certificate()));

  const auto again = run_verb(CaTrustCommand{}, store_);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("There was already " + installed().string()));
  EXPECT_THAT(bundle(), HasSubstr(certificate()));

  const auto removed = run_verb(CaTrustCommand{.remove = true}, store_);
  EXPECT_EQ(removed.code, 0) << removed.err;
  EXPECT_THAT(removed.out, HasSubstr("Removed " + installed().string()));
  EXPECT_FALSE(std::filesystem::exists(installed()));
  EXPECT_EQ(bundle().find(certificate()), std::string::npos);
  EXPECT_THAT(bundle(), HasSubstr(unrelated));
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path() / "etc")) {
    EXPECT_TRUE(std::filesystem::exists(entry.path())) << entry.path() << " leads nowhere";
  }

  const auto gone = run_verb(CaTrustCommand{.remove = true}, store_);
  EXPECT_EQ(gone.code, 0) << gone.err;
  EXPECT_THAT(gone.out, HasSubstr("There was no " + installed().string()));
}

TEST_F(CaVerbs, what_an_interrupted_try_left_is_finished_by_the_next) {
  ASSERT_TRUE(make_folder(store_.folder));
  ASSERT_TRUE(replace_file(installed(), certificate(), 0644));
  ASSERT_EQ(bundle(), "");
  start();
  EXPECT_EQ(run_verb(CaTrustCommand{}, store_).code, 0);
  EXPECT_THAT(bundle(), HasSubstr(certificate()));
}

TEST_F(CaVerbs, another_authority_of_that_name_stays_until_it_is_to_be_replaced) {
  const auto others = put_anothers();
  ASSERT_NE(others, certificate());
  start();
  for (const auto& command : {CaTrustCommand{}, CaTrustCommand{.remove = true}}) {
    const auto refused = run_verb(command, store_);
    EXPECT_EQ(refused.code, 2);
    EXPECT_THAT(refused.err, HasSubstr(installed().string() + " holds another authority's"));
    EXPECT_EQ(content(installed()), others);
    EXPECT_EQ(bundle(), "");
  }
  const auto replaced = run_verb(CaTrustCommand{.replace = true}, store_);
  EXPECT_EQ(replaced.code, 0) << replaced.err;
  EXPECT_THAT(replaced.out, HasSubstr("Replaced "));
  EXPECT_EQ(content(installed()), certificate());
  EXPECT_THAT(bundle(), HasSubstr(certificate()));
  EXPECT_EQ(bundle().find(others), std::string::npos);
}

TEST_F(CaVerbs, who_is_not_root_is_told_what_to_run_and_nothing_is_changed) {
  start();
  store_.may_change = false;
  const auto ran = run_verb(CaTrustCommand{.remove = true}, store_);
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("only root may"));
  EXPECT_THAT(ran.err, HasSubstr("'sudo atlasflow ca trust --socket " + config_.socket.string() +
                                 " --remove'"));
  EXPECT_FALSE(std::filesystem::exists(store_.folder));
}

TEST_F(CaVerbs, a_machine_without_the_program_is_left_as_it_was_and_one_that_fails_is_told_of) {
  start();
  store_.update = {(folder_.path() / "no-such-program").string()};
  const auto missing = run_verb(CaTrustCommand{}, store_);
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("install the package ca-certificates"));
  EXPECT_FALSE(std::filesystem::exists(installed()));
  store_.update = {"/bin/false"};
  const auto failed = run_verb(CaTrustCommand{}, store_);
  EXPECT_EQ(failed.code, 1);
  EXPECT_THAT(failed.err, HasSubstr("/bin/false failed"));
}

// Whoever answers on the socket may want to be trusted for everybody's names.
TEST_F(CaVerbs, an_authority_that_is_not_bounded_to_its_domain_is_not_taken) {
  const auto made = [](const char* constraint) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                  &EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
    X509* self = certificate.get();
    X509_set_version(self, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(self), 0);
    X509_gmtime_adj(X509_getm_notAfter(self), 3'600);
    X509_set_pubkey(self, key.get());
    const std::string name = "Atlasflow local CA for apps.test";
    X509_NAME_add_entry_by_txt(X509_get_subject_name(self), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.data()), -1, -1, 0);
    X509_set_issuer_name(self, X509_get_subject_name(self));
    const auto add = [self](int nid, const char* value) {
      X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
      ASSERT_NE(extension, nullptr) << value;
      X509_add_ext(self, extension, -1);
      X509_EXTENSION_free(extension);
    };
    add(NID_basic_constraints, "critical,CA:TRUE");
    if (*constraint != '\0') add(NID_name_constraints, constraint);
    X509_sign(self, key.get(), EVP_sha256());
    return to_pem(self);
  };
  EXPECT_TRUE(parse_authority(made("critical,permitted;DNS:apps.test")));
  for (const char* constraint : {"", "permitted;DNS:apps.test", "critical,permitted;DNS:test",
                                 "critical,permitted;DNS:apps.test,permitted;DNS:bank.example",
                                 "critical,excluded;DNS:x.y"}) {
    EXPECT_FALSE(parse_authority(made(constraint))) << constraint;
  }
}

TEST_F(CaVerbs, only_what_atlasflow_made_is_taken_for_its_authority) {
  const auto ca = edge::LocalCa::open_or_create(folder_.path() / "ca", "apps.test");
  ASSERT_TRUE(ca);
  const auto leaf = ca->issue({"web.apps.test"});
  ASSERT_TRUE(leaf);
  EXPECT_FALSE(parse_authority(to_pem((*leaf)->leaf.get())));
  EXPECT_FALSE(parse_authority("no PEM"));
  const auto authority = parse_authority(certificate());
  ASSERT_TRUE(authority);
  EXPECT_EQ(authority->domain, "apps.test");
  EXPECT_EQ(authority->fingerprint.size(), 64U);
}

}  // namespace
}  // namespace atlasflow::cli
