// What follows from failures of a domain's orders: pauses, what a person may end of them, the time
// that the CA names, and the limits.
#include <gmock/gmock.h>

#include "tests/events/domain_fixture.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Principal k_user = Principal::user();

TEST_F(Domain, failures_back_off_to_six_hours_and_the_backoff_is_in_the_log) {
  kinds(add("shop"));
  kinds(ready());
  std::vector<std::int64_t> minutes;
  for (int i = 0; i < 15; ++i) {
    kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
    minutes.push_back((state_.failure->retry_at - now_) / k_minute_us);
    EXPECT_THAT(kinds(ready()), IsEmpty());  // not before
    now_ = state_.failure->retry_at;
    EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  }
  EXPECT_THAT(minutes, ElementsAre(1, 2, 2, 5, 10, 10, 10, 20, 30, 60, 120, 240, 360, 360, 360));
  kinds(issued("aa", 90 * k_day_us));
  EXPECT_EQ(state_.attempts, 0);
  EXPECT_FALSE(state_.failure);
}

TEST_F(Domain, the_time_that_the_ca_names_is_kept_to_also_against_a_person) {
  kinds(add("shop"));
  kinds(ready());
  const auto until = now_ + 3 * k_day_us + 1;
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, until));
  EXPECT_EQ(state_.failure->retry_at, until);
  const auto retried = tell(RetryCertificate{k_user});
  ASSERT_FALSE(retried);
  EXPECT_THAT(retried.error().message, HasSubstr("for 4 days more (the CA said no)"));
  now_ = until - 1;
  EXPECT_THAT(kinds(ready()), IsEmpty());
  now_ = until;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

TEST_F(Domain, a_time_that_the_ca_names_counts_whatever_the_failure_and_whoever_claims) {
  kinds(add("shop"));
  kinds(ready());
  const auto until = now_ + 3 * k_hour_us;
  kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE, until));  // as a 503 with Retry-After
  EXPECT_EQ(last_.certificate_failed().authority_retry_at_us(), until);
  const auto retried = tell(RetryCertificate{k_user});
  ASSERT_FALSE(retried);
  EXPECT_THAT(retried.error().message, HasSubstr("3 h more"));
  kinds(RemoveDomain{k_user, "it was asked for"});
  kinds(add("shop"));
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainChecked", "DomainVerified"));
  EXPECT_EQ(order_due_at(state_, rules_), until);
  now_ = until;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

TEST_F(Domain, a_time_that_one_ca_names_keeps_no_other_from_being_asked) {
  kinds(add("shop"));
  kinds(ready());
  const auto until = now_ + 7 * k_day_us;
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, until));
  rules_.directory = "https://other.test/dir";
  EXPECT_THAT(kinds(RetryCertificate{k_user}), ElementsAre("CertificateRetryRequested"));
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
  rules_.directory = "https://ca.test/dir";
  EXPECT_EQ(order_due_at(state_, rules_), until);
}

TEST_F(Domain, a_limit_of_which_the_ca_names_no_end_is_an_hour_that_a_person_may_end) {
  kinds(add("shop"));
  kinds(ready());
  kinds(failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED));
  EXPECT_EQ(last_.certificate_failed().authority_retry_at_us(), 0);
  EXPECT_EQ(state_.failure->retry_at, now_ + k_hour_us);
  EXPECT_THAT(kinds(RetryCertificate{k_user}), ElementsAre("CertificateRetryRequested"));
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

TEST_F(Domain, what_there_is_nothing_of_is_not_tried_again_and_says_why) {
  const auto refusal = [&] {
    const auto retried = tell(RetryCertificate{k_user});
    EXPECT_FALSE(retried);
    return retried ? "" : retried.error().message;
  };
  kinds(add("shop"));
  kinds(missing());
  EXPECT_THAT(refusal(), HasSubstr("do not lead here yet; atlasflow domains check www.shop.test"));
  kinds(ready());
  kinds(issued("aa", 90 * k_day_us));
  EXPECT_THAT(refusal(), HasSubstr("is on its way to the edge"));
  kinds(TakeInstalled{"aa"});
  EXPECT_THAT(refusal(), HasSubstr("is good, and is renewed by itself in "));
  EXPECT_THAT(refusal(), HasSubstr(" days"));
  rules_.directory.clear();
  EXPECT_THAT(refusal(), HasSubstr("domains.acme_directory"));
}

TEST_F(Domain, is_looked_at_at_once_when_a_person_wants_an_order_tried_again) {
  kinds(add("shop"));
  kinds(ready());
  kinds(failed(pb::CERTIFICATE_PROBLEM_VALIDATION));
  now_ += k_hour_us;
  kinds(missing());
  now_ += 5 * k_hour_us;
  const auto looked_at = now_;
  now_ += k_minute_us;
  EXPECT_EQ(look_due_at(state_, looked_at), looked_at + k_hour_us);
  EXPECT_THAT(kinds(RetryCertificate{k_user}), ElementsAre("CertificateRetryRequested"));
  EXPECT_EQ(look_due_at(state_, looked_at), looked_at + k_looks_apart_us);
  EXPECT_EQ(look_due_at(state_, now_), now_ + k_hour_us);
}

TEST_F(Domain, a_renewal_for_which_no_name_server_answers_is_a_failure_with_its_pause) {
  become_active(60 * k_hour_us);
  now_ += 59 * k_hour_us;
  auto unknown = look(pb::DOMAIN_VERDICT_UNKNOWN);
  unknown.judgement.reason = "too few name servers answered";
  EXPECT_THAT(kinds(unknown), ElementsAre("CertificateFailed"));
  EXPECT_EQ(last_.certificate_failed().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  EXPECT_EQ(last_.certificate_failed().reason(), "too few name servers answered");
  EXPECT_EQ(order_due_at(state_, rules_), now_ + k_minute_us);
  EXPECT_THAT(kinds(unknown), IsEmpty());
  now_ += k_minute_us;
  EXPECT_THAT(kinds(unknown), ElementsAre("CertificateFailed"));
  EXPECT_EQ(order_due_at(state_, rules_), now_ + 2 * k_minute_us);
  now_ += 2 * k_minute_us;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

TEST_F(Domain, a_person_may_end_the_pause_of_any_other_failure) {
  kinds(add("shop"));
  kinds(ready());
  kinds(failed(pb::CERTIFICATE_PROBLEM_ACCOUNT));
  EXPECT_GE(state_.failure->retry_at, now_ + k_hour_us);
  EXPECT_THAT(kinds(RetryCertificate{k_user}), ElementsAre("CertificateRetryRequested"));
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

TEST_F(Domain, four_failed_validations_an_hour_are_all_that_one_name_gets) {
  kinds(add("shop"));
  kinds(ready());
  const auto first = now_;
  for (int i = 0; i < 4; ++i) {
    kinds(failed(pb::CERTIFICATE_PROBLEM_VALIDATION));
    now_ += k_minute_us;
    if (i < 3) {
      kinds(RetryCertificate{k_user});
      EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered")) << i;
    }
  }
  const auto retried = tell(RetryCertificate{k_user});
  ASSERT_FALSE(retried);
  EXPECT_THAT(retried.error().message, HasSubstr("allow 'www.shop.test' the next in 56 min"));
  EXPECT_THAT(kinds(ready()), IsEmpty());
  EXPECT_EQ(order_due_at(state_, rules_), first + k_hour_us);
  // Removed and claimed anew, it is the same name to the CA.
  kinds(RemoveDomain{k_user, "it was asked for"});
  kinds(add("shop"));
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainChecked", "DomainVerified"));
  now_ = first + k_hour_us;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

TEST_F(Domain, certificates_of_one_name_have_a_limit_a_week) {
  rules_.certificates_per_week = 2;
  kinds(add("shop"));
  kinds(ready());
  const auto first = now_;
  kinds(issued("aa", k_hour_us));
  kinds(TakeInstalled{"aa"});
  now_ += k_hour_us;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  kinds(issued("bb", k_hour_us));
  kinds(TakeInstalled{"bb"});
  now_ += k_hour_us;
  EXPECT_THAT(kinds(ready()), IsEmpty());
  EXPECT_EQ(order_due_at(state_, rules_), first + 7 * k_day_us);
  rules_.certificates_per_week = 0;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

}  // namespace
}  // namespace atlasflow
