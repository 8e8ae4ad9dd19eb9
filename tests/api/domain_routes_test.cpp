// Domains of users' own over the API: names as people type them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using ::testing::HasSubstr;

class DomainRoutes : public testing::ApiTest {
 protected:
  DomainRoutes() {
    control_.add_project("shop");
    control_.add_domain("www.shop.test", "shop");
    pb::Event failed;
    failed.mutable_certificate_failed()->set_reason("the CA said no");
    control_.append_to_domain("www.shop.test", {failed});
  }
};

TEST_F(DomainRoutes, a_domain_is_found_however_its_name_is_typed) {
  EXPECT_EQ(get("/v1/domains/WWW.Shop.Test").at("domain"), "www.shop.test");
  const auto history = get("/v1/domains/WWW.Shop.Test/certificates").at("events");
  ASSERT_EQ(history.size(), 1U);
  EXPECT_EQ(history[0].at("type"), "CertificateFailed");
  const auto removed = ask("DELETE", "/v1/domains/WWW.Shop.Test");
  EXPECT_EQ(removed.status, 200) << removed.body;
  EXPECT_EQ(get("/v1/domains/www.shop.test").at("status"), "removed");
}

TEST_F(DomainRoutes, an_order_that_waits_for_its_registered_domain_says_why_and_until_when) {
  pb::Event verified;
  verified.mutable_domain_verified();
  control_.append_to_domain("www.shop.test", {verified});
  EXPECT_TRUE(get("/v1/domains/www.shop.test").at("order_held").is_null());
  control_.held_order = HeldOrder{4'711, "three are all in seven days"};
  const auto domain = get("/v1/domains/www.shop.test");
  EXPECT_EQ(domain.at("order_held"), "three are all in seven days");
  EXPECT_EQ(domain.at("next_order_at_us"), 4'711);
}

TEST_F(DomainRoutes, one_that_nobody_claimed_is_not_found) {
  const auto answer = ask("GET", "/v1/domains/nobody.test");
  EXPECT_EQ(answer.status, 404);
  EXPECT_THAT(answer.body, HasSubstr("There is no domain 'nobody.test'"));
}

TEST_F(DomainRoutes, what_there_is_nothing_to_try_again_of_is_a_409_with_the_reason) {
  control_.domain_error = Error{ErrorCode::conflict, "the certificate of it is good", ""};
  const auto answer = ask("POST", "/v1/domains/www.shop.test/retry", "{}");
  EXPECT_EQ(answer.status, 409);
  EXPECT_THAT(answer.body, HasSubstr("is good"));
}

TEST_F(DomainRoutes, a_certificate_is_brought_in_the_body_and_never_shown_again) {
  pb::Event verified;
  verified.mutable_domain_verified();
  control_.append_to_domain("www.shop.test", {verified});
  const auto answer = ask("PUT", "/v1/domains/WWW.Shop.Test/certificate",
                          R"({"certificate":"chain","private_key":"hush hush"})");
  EXPECT_EQ(answer.status, 200) << answer.body;
  const auto domain = get("/v1/domains/www.shop.test");
  EXPECT_EQ(domain.at("certificate").at("fingerprint"), "fp-of-chain-with-9");
  EXPECT_EQ(domain.at("certificate").at("source"), "uploaded");
  for (const auto& shown : {answer.body, domain.dump(), get("/v1/status").dump()}) {
    EXPECT_EQ(shown.find("hush"), shown.npos);
  }
  // It ended long ago, and says so wherever its owner looks.
  EXPECT_EQ(domain.at("expiry").at("stage"), "expired");
  EXPECT_THAT(domain.at("expiry").at("reason").get<std::string>(), HasSubstr("nobody renews it"));
  const auto listed = get("/v1/status").at("certificates");
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].at("domain"), "www.shop.test");
  EXPECT_EQ(listed[0].at("project"), "shop");
  EXPECT_EQ(ask("DELETE", "/v1/domains/www.shop.test/certificate").status, 200);
}

TEST_F(DomainRoutes, what_is_wrong_with_a_certificate_is_a_400_without_a_byte_of_the_key) {
  const std::vector<std::string> bodies = {"nonsense hush",
                                           "[]",
                                           R"({"certificate":"chain"})",
                                           R"({"certificate":"chain","private_key":7})",
                                           R"({"certificate":"","private_key":"hush"})",
                                           R"({"private_key":"hush"})"};
  for (const auto& body : bodies) {
    const auto answer = ask("PUT", "/v1/domains/www.shop.test/certificate", body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_EQ(answer.body.find("hush"), answer.body.npos) << answer.body;
  }
  const auto long_body =
      R"({"certificate":")" + std::string(200 << 10, 'x') + R"(","private_key":"hush"})";
  EXPECT_EQ(ask("PUT", "/v1/domains/www.shop.test/certificate", long_body).status, 413);
  control_.domain_error =
      Error{ErrorCode::invalid_argument, "The certificate has expired on 2020-01-01", ""};
  const auto answer = ask("PUT", "/v1/domains/www.shop.test/certificate",
                          R"({"certificate":"chain","private_key":"hush"})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, HasSubstr("has expired on"));
}

TEST_F(DomainRoutes, the_account_gets_another_key_at_the_authority_that_is_meant) {
  const auto first = ask("POST", "/v1/acme-account/key", "{}");
  EXPECT_EQ(first.status, 200);
  EXPECT_THAT(first.body, HasSubstr("first-thumbprint"));
  const auto second = ask("POST", "/v1/acme-account/key", R"({"fallback":true})");
  EXPECT_THAT(second.body, HasSubstr("second-thumbprint"));
  EXPECT_EQ(ask("POST", "/v1/acme-account/key", R"({"fallback":"yes"})").status, 400);
  EXPECT_EQ(ask("POST", "/v1/acme-account/key", "nonsense").status, 400);
  control_.domain_error = Error{ErrorCode::conflict, "there is no account yet", ""};
  const auto refused = ask("POST", "/v1/acme-account/key", "{}");
  EXPECT_EQ(refused.status, 409);
  EXPECT_THAT(refused.body, HasSubstr("no account yet"));
}

TEST_F(DomainRoutes, a_redirect_is_set_and_ended) {
  EXPECT_EQ(
      ask("PUT", "/v1/domains/www.shop.test/redirect", R"({"redirect_to":"shop.test"})").status,
      200);
  EXPECT_EQ(get("/v1/domains/www.shop.test").at("redirect_to"), "shop.test");
  EXPECT_EQ(ask("PUT", "/v1/domains/www.shop.test/redirect", R"({"redirect_to":""})").status, 200);
  EXPECT_TRUE(get("/v1/domains/www.shop.test").at("redirect_to").is_null());
  EXPECT_EQ(ask("PUT", "/v1/domains/www.shop.test/redirect", R"({"redirect_to":7})").status, 400);
}

}  // namespace
}  // namespace atlasflow::api
