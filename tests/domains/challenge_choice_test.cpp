// By which challenge a name is proved: as it is configured, as the authority offers, and as it
// could connect.
#include <chrono>
#include <filesystem>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domains/acme/issuer.hpp"
#include "tests/domains/fake_ca.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::FakeCa;
using domains_test::TestBoard;
using testing::HasSubstr;
using testing::Not;

// Nobody is shown what is put up here.
class ForgetfulBoard final : public ChallengeBoard {
  Result<void> put(const std::string&, const std::string&, const std::string&) override {
    return {};
  }
  Result<void> put_in_tls(const std::string&, const std::string&, const std::string&) override {
    return {};
  }
  void remove(const std::string&, const std::string&) override {}
};

class Proofs : public testing::Test {
 protected:
  Proofs() {
    std::string pattern = testing::TempDir() + "proofs-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    store_ = CertificateStore::open(folder_ / "domains", folder_ / "secret.key").value();
    ca_.in_tls = true;
  }
  ~Proofs() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] AcmeConfig config() const {
    AcmeConfig config;
    config.directory = ca_.directory();
    config.terms_agreed = true;
    config.request_timeout = 5s;
    config.poll_first = 20ms;
    config.challenge = choice_;
    config.profile = profile_;
    return config;
  }
  IssueResult order(const std::string& unreached_by = {}, const std::string& effect = "e-v1") {
    OrderRequest request;
    request.effect = EffectId(effect);
    request.names = {"web.example"};
    request.remaining = 20s;
    request.unreached_by = unreached_by;
    return Issuer(config(), *store_, board_).order(request, {});
  }

  std::filesystem::path folder_;
  TestBoard board_;
  FakeCa ca_{board_};
  std::string profile_;
  ChallengeChoice choice_ = ChallengeChoice::automatic;
  std::unique_ptr<CertificateStore> store_;
};

TEST_F(Proofs, are_by_http_where_nothing_speaks_against_it) {
  ASSERT_TRUE(order().has_value());
  EXPECT_EQ(board_.puts_in_tls, 0);
  EXPECT_EQ(ca_.asked("/challenge"), 1);
}

TEST_F(Proofs, are_in_tls_where_the_authority_could_not_connect_by_http) {
  ca_.unreachable = {"http-01"};
  const auto failed = order();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_VALIDATION);
  EXPECT_EQ(failed.error().unreached_by(), "http-01");
  EXPECT_THAT(failed.error().reason(), HasSubstr("is port 80 open"));
  EXPECT_THAT(failed.error().reason(),
              HasSubstr("The next order is proved over port 443 (TLS-ALPN-01)"));
  const auto issued = order(failed.error().unreached_by(), "e-v2");
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(board_.puts_in_tls, 1);
  EXPECT_EQ(board_.size(), 0U);
}

TEST_F(Proofs, go_back_to_http_when_port_443_is_not_reached_either) {
  ca_.unreachable = {"tls-alpn-01"};
  const auto failed = order("http-01");
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().unreached_by(), "tls-alpn-01");
  EXPECT_THAT(failed.error().reason(), HasSubstr("is port 443 open"));
  EXPECT_THAT(failed.error().reason(), HasSubstr("over port 80 (HTTP-01)"));
  ASSERT_TRUE(order("tls-alpn-01", "e-v2").has_value());
  EXPECT_EQ(board_.puts_in_tls, 1);
}

// As behind a proxy that ends TLS itself: it answers, and shows its own certificate.
TEST_F(Proofs, go_back_to_http_when_what_answers_on_port_443_proves_nothing) {
  ForgetfulBoard forgetful;
  const auto failed = Issuer(config(), *store_, forgetful)
                          .order({.effect = EffectId("e-v1"),
                                  .names = {"web.example"},
                                  .directory = {},
                                  .renews = {},
                                  .remaining = 20s,
                                  .unreached_by = "http-01"},
                                 {});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().unreached_by(), "tls-alpn-01");
  EXPECT_THAT(failed.error().reason(), HasSubstr("over port 80 (HTTP-01)"));
  ASSERT_TRUE(order(failed.error().unreached_by(), "e-v2").has_value());
  EXPECT_EQ(board_.puts_in_tls, 0);
}

TEST_F(Proofs, are_in_tls_where_the_authority_offers_nothing_else) {
  ca_.over_http = false;
  ASSERT_TRUE(order().has_value());
  EXPECT_EQ(board_.puts_in_tls, 1);
}

TEST_F(Proofs, are_by_http_where_the_authority_offers_nothing_else) {
  ca_.in_tls = false;
  ASSERT_TRUE(order("http-01").has_value());
  EXPECT_EQ(board_.puts_in_tls, 0);
}

TEST_F(Proofs, are_as_the_configuration_says_and_as_nothing_else) {
  choice_ = ChallengeChoice::tls_alpn;
  ASSERT_TRUE(order().has_value());
  EXPECT_EQ(board_.puts_in_tls, 1);
  choice_ = ChallengeChoice::http;
  ASSERT_TRUE(order("http-01", "e-v2").has_value());
  EXPECT_EQ(board_.puts_in_tls, 1);
  ca_.unreachable = {"http-01"};
  const auto failed = order("", "e-v3");
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().reason(), Not(HasSubstr("TLS-ALPN-01")));
  choice_ = ChallengeChoice::tls_alpn;
  ca_.in_tls = false;
  const auto none = order("", "e-v4");
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().problem(), pb::CERTIFICATE_PROBLEM_REFUSED);
  EXPECT_THAT(none.error().reason(), HasSubstr("expected is one of tls-alpn-01"));
}

// The choice may be another one by then, and the authority looks at what it was told to.
TEST_F(Proofs, that_were_accepted_before_a_restart_are_the_ones_that_are_gone_on_with) {
  choice_ = ChallengeChoice::automatic;
  ca_.pending_polls = 100;
  std::stop_source stop;
  ca_.instead = [&](const std::string& part, int number) {
    if (part == "/authz" && number == 3) stop.request_stop();
    return std::string();
  };
  OrderRequest request;
  request.effect = EffectId("e-v1");
  request.names = {"web.example"};
  request.remaining = 20s;
  ASSERT_FALSE(Issuer(config(), *store_, board_).order(request, stop.get_token()).has_value());
  EXPECT_EQ(board_.puts_in_tls, 0);
  ca_.instead = nullptr;
  ca_.pending_polls = 0;
  request.unreached_by = "http-01";
  const auto issued = Issuer(config(), *store_, board_).order(request, {});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(board_.puts_in_tls, 0);
  EXPECT_EQ(ca_.orders(), 1);
}

TEST_F(Proofs, a_proof_that_fails_is_told_with_the_cas_reason) {
  ForgetfulBoard forgetful;
  Issuer issuer(config(), *store_, forgetful);
  const auto failed = issuer.order({EffectId("e-v1"), {"web.example"}, "", "", 20s}, {});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_VALIDATION);
  EXPECT_THAT(failed.error().reason(), HasSubstr("the proof for web.example: unauthorized: The key "
                                                 "authorization file"));
  // Asked again under the same effect, it says the same, and orders nothing.
  const auto again = issuer.order({EffectId("e-v1"), {"web.example"}, "", "", 20s}, {});
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().problem(), pb::CERTIFICATE_PROBLEM_VALIDATION);
  EXPECT_EQ(ca_.orders(), 1);
}

TEST_F(Proofs, are_of_certificates_of_the_profile_that_is_configured) {
  ca_.profiles = {"classic", "shortlived"};
  ASSERT_TRUE(order().has_value());
  EXPECT_THAT(ca_.ordered_profiles(), testing::IsEmpty()) << "nobody asked for one";
  profile_ = "shortlived";
  ASSERT_TRUE(order("", "e-v2").has_value());
  EXPECT_THAT(ca_.ordered_profiles(), testing::ElementsAre("shortlived"));
  profile_ = "gold";
  const auto orders = ca_.orders();
  const auto failed = order("", "e-v3");
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_ACCOUNT);
  EXPECT_THAT(failed.error().reason(), HasSubstr("no profile 'gold': it has classic, shortlived"));
  ca_.profiles.clear();
  const auto none = order("", "e-v4");
  ASSERT_FALSE(none.has_value());
  EXPECT_THAT(none.error().reason(), HasSubstr("it has none at all"));
  EXPECT_EQ(ca_.orders(), orders) << "the authority was not asked";
}

}  // namespace
}  // namespace atlasflow::domains
