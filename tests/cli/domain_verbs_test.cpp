// The verbs of users' own domains over the real API, whose control plane records what it is asked.
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/verbs.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;

class DomainVerbs : public VerbTest {
 protected:
  DomainVerbs() {
    control_.add_project("shop");
    control_.add_domain("www.shop.test", "shop");
  }
};

TEST_F(DomainVerbs, a_retry_says_what_it_leads_to_and_where_that_is_seen) {
  const auto ran = run(DomainRetryCommand{.domain = "WWW.Shop.Test"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("The name servers of www.shop.test are asked within seconds"));
  EXPECT_THAT(ran.out, HasSubstr("if they say that it leads here"));
  EXPECT_THAT(ran.out, HasSubstr("'atlasflow domains cert www.shop.test'"));
}

TEST_F(DomainVerbs, a_retry_that_is_refused_says_why_and_fails) {
  control_.domain_error = Error{ErrorCode::conflict, "its certificate is good", ""};
  const auto ran = run(DomainRetryCommand{.domain = "www.shop.test"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("its certificate is good"));
}

TEST_F(DomainVerbs, a_name_is_shown_and_given_up_however_it_is_typed) {
  const auto shown = run(DomainCertCommand{.domain = "WWW.Shop.Test"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("www.shop.test"));
  const auto refused = run(DomainRemoveCommand{.domain = "WWW.Shop.Test"}, "another\n");
  EXPECT_EQ(refused.code, 1);
  EXPECT_THAT(refused.err, HasSubstr("nothing was removed"));
  const auto removed = run(DomainRemoveCommand{.domain = "WWW.Shop.Test"}, "WWW.Shop.Test\n");
  EXPECT_EQ(removed.code, 0) << removed.err;
  EXPECT_THAT(removed.out, HasSubstr("Removed www.shop.test"));
}

}  // namespace
}  // namespace atlasflow::cli
