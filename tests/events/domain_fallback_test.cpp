// A second authority, asked for a name while the first keeps failing in ways that are its own.
#include <gmock/gmock.h>

#include "events/domain_authority.hpp"
#include "events/domain_ledger.hpp"
#include "tests/events/domain_fixture.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string k_first = "https://ca.test/dir";
const std::string k_second = "https://second.test/dir";

class FallbackDomain : public Domain {
 protected:
  FallbackDomain() { rules_.fallback_directory = k_second; }

  void claim() {
    kinds(add("shop"));
    kinds(ready());
    ASSERT_EQ(asked(), k_first);
  }
  // Of the order under way.
  [[nodiscard]] std::string asked() const { return state_.order ? state_.order->directory : ""; }
  // As the keeper does: when it is due, and not a moment before.
  void order_when_due() {
    const auto due = next_order(state_, rules_, now_);
    ASSERT_TRUE(due.has_value());
    if (due->at > now_) {
      now_ = due->at - 1;
      EXPECT_THAT(kinds(ready()), IsEmpty()) << "not before";
      now_ = due->at;
    }
    EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
    EXPECT_EQ(last_.certificate_ordered().directory(), due->directory);
  }
  void fail_at_first(int times, pb::CertificateProblem problem) {
    for (int i = 0; i < times; ++i) {
      if (!state_.order) order_when_due();
      ASSERT_EQ(asked(), k_first);
      kinds(failed(problem));
    }
  }
};

TEST_F(FallbackDomain, is_ordered_elsewhere_after_three_failures_that_are_the_first_ones_own) {
  claim();
  fail_at_first(3, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  EXPECT_EQ(state_.failure->retry_at, now_ + 2 * k_minute_us) << "with the pause that there is";
  order_when_due();
  EXPECT_EQ(asked(), k_second);
  EXPECT_EQ(last_.certificate_ordered().fallback_reason(),
            "the last 3 orders at ca.test failed, and that was its own fault: the CA said no");
  EXPECT_EQ(last_.certificate_ordered().attempt(), 4);
  kinds(issued("aa", 90 * k_day_us));
  kinds(TakeInstalled{"aa"});
  EXPECT_EQ(state_.installed->directory, k_second);
  EXPECT_EQ(state_.attempts, 0);
}

TEST_F(FallbackDomain, is_ordered_elsewhere_when_the_first_asks_to_be_left_alone_for_long) {
  claim();
  const auto until = now_ + 7 * k_day_us;
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, until));
  EXPECT_EQ(last_.certificate_failed().authority_retry_at_us(), until);
  EXPECT_EQ(last_.certificate_failed().retry_at_us(), now_ + k_minute_us) << "and that is told";
  order_when_due();
  EXPECT_EQ(asked(), k_second);
  EXPECT_THAT(last_.certificate_ordered().fallback_reason(),
              HasSubstr("ca.test asked to be left alone for 7 days more: the CA said no"));
}

TEST_F(FallbackDomain, waits_for_the_first_as_long_as_that_is_short) {
  claim();
  const auto until = now_ + 30 * k_minute_us;
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, until));
  const auto hour = now_ + k_hour_us;  // as after every limit
  EXPECT_EQ(state_.failure->retry_at, hour);
  order_when_due();
  EXPECT_EQ(now_, hour);
  EXPECT_EQ(asked(), k_first);
}

// When the certificate that came of it is lost, an order is wanted at once.
TEST_F(FallbackDomain, a_time_that_was_named_long_ago_sends_nobody_elsewhere) {
  claim();
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, now_ + 30 * k_minute_us));
  order_when_due();
  kinds(issued("aa", 90 * k_day_us));
  kinds(TakeInstalled{"aa"});
  now_ += 10 * k_day_us;
  kinds(TakeLost{"aa", "its file is gone"});
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  EXPECT_EQ(asked(), k_first);
}

TEST_F(FallbackDomain, is_not_ordered_elsewhere_for_what_is_wrong_with_the_domain_or_this_server) {
  for (const auto problem : {pb::CERTIFICATE_PROBLEM_VALIDATION, pb::CERTIFICATE_PROBLEM_CAA,
                             pb::CERTIFICATE_PROBLEM_REFUSED, pb::CERTIFICATE_PROBLEM_ACCOUNT,
                             pb::CERTIFICATE_PROBLEM_LOCAL}) {
    state_ = {};
    state_.name = "www.shop.test";
    now_ += k_day_us;
    claim();
    fail_at_first(6, problem);
    order_when_due();
    EXPECT_EQ(asked(), k_first) << name_of(problem);
  }
}

TEST_F(FallbackDomain, name_servers_of_our_own_that_do_not_answer_are_no_authoritys_fault) {
  claim();
  for (int i = 0; i < 5; ++i) {
    auto failure = failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
    failure.failed.set_by_own_dns(true);
    kinds(failure);
    order_when_due();
    EXPECT_EQ(asked(), k_first);
  }
}

TEST_F(FallbackDomain, a_failure_that_is_not_the_first_ones_own_begins_the_count_anew) {
  claim();
  fail_at_first(2, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  fail_at_first(1, pb::CERTIFICATE_PROBLEM_VALIDATION);
  fail_at_first(2, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  order_when_due();
  EXPECT_EQ(asked(), k_first);
  kinds(failed(pb::CERTIFICATE_PROBLEM_LOCAL));  // which says nothing of it
  order_when_due();
  kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
  order_when_due();
  EXPECT_EQ(asked(), k_second);
}

TEST_F(FallbackDomain, both_are_asked_by_turns_while_both_fail_and_never_two_at_a_time) {
  claim();
  fail_at_first(3, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  std::vector<std::string> order;
  for (int i = 0; i < 5; ++i) {
    order_when_due();
    order.push_back(asked());
    EXPECT_THAT(kinds(ready()), IsEmpty()) << "one at a time";
    kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
  }
  EXPECT_THAT(order, ElementsAre(k_second, k_first, k_second, k_first, k_second));
}

// It named no time, so the hour that is usual then holds through whatever the other one says.
TEST_F(FallbackDomain, a_limit_of_the_first_is_not_forgotten_over_the_others_failures) {
  claim();
  fail_at_first(3, pb::CERTIFICATE_PROBLEM_RATE_LIMITED);
  const auto limited_at = now_;
  for (int i = 0; i < 3; ++i) {
    order_when_due();
    EXPECT_EQ(asked(), k_second);
    kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
  }
  while (now_ < limited_at + k_hour_us) {
    order_when_due();
    EXPECT_TRUE(asked() == k_second || now_ >= limited_at + k_hour_us);
    kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
  }
}

TEST_F(FallbackDomain, a_renewal_goes_back_to_the_first_and_replaces_only_its_own) {
  claim();
  fail_at_first(3, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  order_when_due();
  kinds(issued("second", 90 * k_day_us));
  kinds(TakeInstalled{"second"});
  order_when_due();
  EXPECT_GE(now_, state_.installed->renew_at());
  EXPECT_EQ(asked(), k_first);
  EXPECT_EQ(state_.order->renews, "") << "another authority's is none that it replaces";
  kinds(issued("first", 90 * k_day_us));
  kinds(TakeInstalled{"first"});
  order_when_due();
  EXPECT_EQ(asked(), k_first);
  EXPECT_EQ(state_.order->renews, "first");
}

// With a month left there is no need to spend another authority's limits on a day's outage.
TEST_F(FallbackDomain, a_renewal_waits_for_the_first_until_people_would_be_told) {
  become_active();
  now_ = state_.installed->renew_at();
  order_when_due();
  while (now_ < state_.installed->begin_of(pb::EXPIRY_STAGE_NOTICE)) {
    EXPECT_EQ(asked(), k_first);
    kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
    const auto before = now_;
    order_when_due();
    ASSERT_LE(now_ - before, 6 * k_hour_us);
  }
  EXPECT_EQ(asked(), k_second);
}

TEST_F(FallbackDomain,
       a_renewal_that_the_first_limits_until_near_its_end_is_made_elsewhere_in_time) {
  become_active();
  now_ = state_.installed->renew_at();
  order_when_due();
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, now_ + 29 * k_day_us));
  order_when_due();
  EXPECT_EQ(asked(), k_second);
  EXPECT_EQ(now_, state_.installed->begin_of(pb::EXPIRY_STAGE_NOTICE));
}

TEST_F(FallbackDomain, each_authority_has_limits_of_its_own) {
  claim();
  for (int i = 0; i < 4; ++i) {
    if (!state_.order) order_when_due();
    kinds(failed(pb::CERTIFICATE_PROBLEM_VALIDATION));
    now_ += 5 * k_second_us;
  }
  EXPECT_EQ(state_.failed_validations.size(), 4U);
  EXPECT_THAT(state_.second.failed_validations, IsEmpty());
  state_ = {};
  state_.name = "www.shop.test";
  claim();
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, now_ + 7 * k_day_us));
  for (int i = 0; i < 4; ++i) {
    order_when_due();
    ASSERT_EQ(asked(), k_second);
    kinds(failed(pb::CERTIFICATE_PROBLEM_VALIDATION));
  }
  EXPECT_THAT(state_.failed_validations, IsEmpty());
  EXPECT_EQ(state_.second.failed_validations.size(), 4U);
  const auto due = next_order(state_, rules_, now_);
  EXPECT_EQ(due->directory, k_second);
  EXPECT_GE(due->at, state_.second.failed_validations.front() + k_hour_us);
}

TEST_F(FallbackDomain, a_time_that_the_second_names_holds_for_it_and_not_for_the_first) {
  claim();
  fail_at_first(3, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  order_when_due();
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, now_ + 3 * k_day_us));
  EXPECT_EQ(state_.authority_retry_at(k_second), now_ + 3 * k_day_us);
  EXPECT_EQ(state_.authority_retry_at(k_first), 0);
  for (int i = 0; i < 6; ++i) {
    order_when_due();
    EXPECT_EQ(asked(), k_first);
    kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
  }
  // Whoever claims the name next.
  kinds(RemoveDomain{Principal::user(), "it was asked for"});
  kinds(add("shop"));
  EXPECT_EQ(state_.authority_retry_at(k_second), state_.second.pause.until);
  EXPECT_GT(state_.second.pause.until, now_);
}

TEST_F(FallbackDomain,
       a_person_may_have_it_ordered_elsewhere_at_once_while_the_first_is_left_alone) {
  claim();
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, now_ + 7 * k_day_us));
  EXPECT_THAT(kinds(RetryCertificate{Principal::user()}), ElementsAre("CertificateRetryRequested"));
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  EXPECT_EQ(asked(), k_second);
  // Where there is no other, it stays refused.
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, now_ + 7 * k_day_us));
  EXPECT_FALSE(tell(RetryCertificate{Principal::user()}));
}

TEST_F(FallbackDomain, one_that_a_caa_record_forbids_the_second_is_left_to_the_first) {
  claim();
  fail_at_first(3, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  auto look = ready();
  look.fallback_caa_reason = "the CAA records let only ca.test issue";
  now_ = next_order(state_, rules_, now_)->at;
  EXPECT_THAT(kinds(look), ElementsAre("CertificateOrdered"));
  EXPECT_EQ(asked(), k_first);
  // While the first may not be asked it is told, and tried again when that is over.
  const auto until = now_ + 3 * k_hour_us;
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, until));
  now_ = next_order(state_, rules_, now_)->at;
  EXPECT_THAT(kinds(look), ElementsAre("CertificateFailed"));
  EXPECT_EQ(last_.certificate_failed().problem(), pb::CERTIFICATE_PROBLEM_CAA);
  for (int i = 0; i < 20 && !state_.order; ++i) {
    now_ = next_order(state_, rules_, now_)->at;
    kinds(look);
  }
  EXPECT_EQ(asked(), k_first);
  EXPECT_GE(now_, until);
  EXPECT_LE(now_, until + 6 * k_hour_us);
}

TEST_F(FallbackDomain, is_not_ordered_where_the_account_has_no_room) {
  claim();
  fail_at_first(3, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  now_ = next_order(state_, rules_, now_)->at;
  auto look = ready();
  look.may_order_elsewhere = false;
  EXPECT_THAT(kinds(look), IsEmpty());
  look.may_order_elsewhere = true;
  look.may_order = false;  // which is the first one's
  EXPECT_THAT(kinds(look), ElementsAre("CertificateOrdered"));
  EXPECT_EQ(asked(), k_second);
}

TEST_F(FallbackDomain, without_a_second_authority_nothing_of_this_is) {
  claim();
  rules_.fallback_directory.clear();
  fail_at_first(8, pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  const auto until = now_ + 7 * k_day_us;
  order_when_due();
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, until));
  EXPECT_EQ(state_.failure->retry_at, until);
  // One that is configured later is asked for what failed before.
  rules_.fallback_directory = k_second;
  order_when_due();
  EXPECT_EQ(asked(), k_second);
  EXPECT_LT(now_, until);
}

TEST(Fallback, orders_at_each_authority_count_by_themselves) {
  DomainLedger ledger;
  DomainRules rules{.directory = k_first, .fallback_directory = k_second};
  rules.orders_per_three_hours = 2;
  const auto order = [&](const std::string& name, bool at_second) {
    pb::Event event;
    event.mutable_certificate_ordered()->set_directory(at_second ? k_second : k_first);
    if (at_second) event.mutable_certificate_ordered()->set_fallback_reason("it is away");
    ledger.apply(domain_stream(name), event, k_start);
  };
  order("a.test", false);
  order("b.test", true);
  order("c.test", false);
  EXPECT_EQ(ledger.order_allowed_at(rules), k_start + 3 * k_hour_us);
  EXPECT_EQ(ledger.order_allowed_at(rules, true), 0);
  order("d.test", true);
  EXPECT_EQ(ledger.order_allowed_at(rules, true), k_start + 3 * k_hour_us);
}

}  // namespace
}  // namespace atlasflow
