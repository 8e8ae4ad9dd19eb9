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

}  // namespace
}  // namespace atlasflow::api
