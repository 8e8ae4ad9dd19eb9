// What certificate authorities count by registered domain: certificates that renew none, of all
// names that whoever registered it has.
#include <gmock/gmock.h>

#include "events/domain_authority.hpp"
#include "events/domain_ledger.hpp"
#include "tests/events/domain_fixture.hpp"

namespace atlasflow {
namespace {

using testing::HasSubstr;

class NewCertificates : public testing::Test {
 protected:
  void apply(const std::string& name, const pb::Event& event) {
    ledger_.apply(domain_stream(name), event, now_);
  }
  void claim(const std::string& name) {
    pb::Event event;
    event.mutable_domain_added()->set_project_id("p1");
    apply(name, event);
    event.mutable_domain_verified();
    apply(name, event);
  }
  void order(const std::string& name, const std::string& renews = {}, bool at_second = false) {
    pb::Event event;
    auto* ordered = event.mutable_certificate_ordered();
    ordered->set_directory(at_second ? rules_.fallback_directory : rules_.directory);
    ordered->set_renews(renews);
    if (at_second) ordered->set_fallback_reason("the first keeps failing");
    apply(name, event);
  }
  // Issued and shown.
  void issue(const std::string& name, const std::string& renews = {}, bool at_second = false) {
    order(name, renews, at_second);
    pb::Event event;
    auto* issued = event.mutable_certificate_issued();
    issued->set_fingerprint("fp-of-" + name);
    issued->set_not_before_us(now_);
    issued->set_not_after_us(now_ + 90 * k_day_us);
    apply(name, event);
    event.mutable_certificate_installed()->set_fingerprint("fp-of-" + name);
    apply(name, event);
  }
  void fail_order(const std::string& name) {
    pb::Event event;
    event.mutable_certificate_failed()->set_problem(pb::CERTIFICATE_PROBLEM_VALIDATION);
    apply(name, event);
  }
  // When a name that was just claimed may be ordered for.
  [[nodiscard]] TimestampUs allowed(const std::string& registered = "shop.test",
                                    bool at_second = false) const {
    return ledger_.new_order_allowed_at(DomainState{}, rules_, registered, at_second, now_);
  }

  DomainLedger ledger_;
  DomainRules rules_{.directory = "https://ca.test/dir",
                     .fallback_directory = "https://second.test/dir",
                     .new_certificates_per_week = 3};
  TimestampUs now_ = k_start;
};

TEST_F(NewCertificates, of_all_names_of_a_registered_domain_have_one_limit_a_week) {
  for (const auto* name : {"shop.test", "www.shop.test"}) {
    EXPECT_EQ(allowed(), 0);
    claim(name);
    issue(name);
    now_ += k_hour_us;
  }
  EXPECT_EQ(allowed(), 0);
  claim("a.b.shop.test");
  issue("a.b.shop.test");
  EXPECT_EQ(allowed(), k_start + 7 * k_day_us);
  now_ = k_start + 7 * k_day_us;
  EXPECT_EQ(allowed(), now_) << "the first counts no more";
  issue("www.shop.test", "");
  EXPECT_EQ(allowed(), k_start + 7 * k_day_us + k_hour_us) << "the second is the next to go";
}

TEST_F(NewCertificates, of_others_and_of_the_other_authority_are_counted_by_themselves) {
  for (const auto* name : {"myshop.test", "shop.test.example", "shop.example", "test"}) {
    claim(name);
    issue(name);
  }
  EXPECT_EQ(allowed(), 0);
  for (const auto* name : {"a.shop.test", "b.shop.test", "c.shop.test"}) {
    claim(name);
    issue(name, {}, true);
  }
  EXPECT_EQ(allowed(), 0);
  EXPECT_EQ(allowed("shop.test", true), k_start + 7 * k_day_us);
}

TEST_F(NewCertificates, are_none_that_renew_one_and_renewals_never_wait_for_them) {
  for (const auto* name : {"a.shop.test", "b.shop.test"}) {
    claim(name);
    issue(name);
    for (int i = 0; i < 10; ++i) issue(name, std::string("fp-of-") + name);
  }
  EXPECT_EQ(allowed(), 0);
  claim("c.shop.test");
  issue("c.shop.test");
  EXPECT_GT(allowed(), now_);
  const auto& renewing = *ledger_.find("a.shop.test");
  EXPECT_EQ(ledger_.new_order_allowed_at(renewing, rules_, "shop.test", false, now_), 0);
  // At the other authority it would be a new one.
  EXPECT_FALSE(renews_own(renewing, rules_.fallback_directory));
  EXPECT_TRUE(renews_own(renewing, rules_.directory));
}

TEST_F(NewCertificates, are_counted_while_they_are_ordered_and_not_when_that_fails) {
  for (const auto* name : {"a.shop.test", "b.shop.test", "c.shop.test"}) {
    claim(name);
    order(name);
  }
  EXPECT_GT(allowed(), now_);
  fail_order("b.shop.test");
  EXPECT_EQ(allowed(), 0);
  order("b.shop.test");
  pb::Event removed;
  removed.mutable_domain_removed();
  apply("b.shop.test", removed);
  EXPECT_EQ(allowed(), 0) << "its order was given up";
}

TEST_F(NewCertificates, stay_counted_when_their_domains_are_given_up_and_claimed_anew) {
  for (const auto* name : {"a.shop.test", "b.shop.test", "c.shop.test"}) {
    claim(name);
    issue(name);
    pb::Event removed;
    removed.mutable_domain_removed();
    apply(name, removed);
    claim(name);
  }
  EXPECT_EQ(allowed(), k_start + 7 * k_day_us);
}

TEST_F(NewCertificates, have_no_limit_where_the_owner_wants_none) {
  rules_.new_certificates_per_week = 0;
  for (int i = 0; i < 100; ++i) {
    const auto name = "n" + std::to_string(i) + ".shop.test";
    claim(name);
    issue(name);
  }
  EXPECT_EQ(allowed(), 0);
  rules_.new_certificates_per_week = 100;
  EXPECT_EQ(allowed(), k_start + 7 * k_day_us);
  rules_.new_certificates_per_week = 101;
  EXPECT_EQ(allowed(), 0);
}

TEST_F(NewCertificates, that_wait_say_for_what_and_how_long) {
  for (const auto* name : {"a.shop.test", "b.shop.test", "c.shop.test", "d.shop.test"}) claim(name);
  const auto held = [&] {
    return ledger_.held_order(*ledger_.find("d.shop.test"), rules_, "shop.test", now_);
  };
  EXPECT_FALSE(held());
  for (const auto* name : {"a.shop.test", "b.shop.test", "c.shop.test"}) issue(name);
  now_ += k_day_us;
  ASSERT_TRUE(held());
  EXPECT_EQ(held()->until, k_start + 7 * k_day_us);
  EXPECT_EQ(held()->reason,
            "3 new certificates for names of 'shop.test' are all that ca.test is asked for in "
            "seven days (new_certificates_per_week); the one for 'd.shop.test' is ordered in 6 "
            "days");
  now_ = k_start + 7 * k_day_us;
  EXPECT_FALSE(held());
  EXPECT_FALSE(ledger_.held_order(*ledger_.find("a.shop.test"), rules_, "shop.test", now_))
      << "its renewal is counted nowhere";
}

TEST_F(Domain, a_retry_of_one_that_waits_for_its_registered_domain_says_so) {
  kinds(add("shop"));
  auto look = ready();
  look.may_order = false;
  EXPECT_THAT(kinds(look), testing::ElementsAre("DomainChecked", "DomainVerified"));
  const auto refused = tell(RetryCertificate{Principal::user(), "three are all; wait 6 days"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("wait 6 days"));
  EXPECT_TRUE(tell(RetryCertificate{Principal::user()}));
}

}  // namespace
}  // namespace atlasflow
