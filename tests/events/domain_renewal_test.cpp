// Renewals as an authority advises them (RFC 9773).
#include <set>

#include <gmock/gmock.h>

#include "tests/events/domain_fixture.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Renewal : public Domain {
 protected:
  static TakeAdvice advice(TimestampUs start, TimestampUs end,
                           const std::string& fingerprint = "aa", const std::string& url = {}) {
    TakeAdvice command;
    command.advised.set_fingerprint(fingerprint);
    command.advised.set_start_us(start);
    command.advised.set_end_us(end);
    command.advised.set_explanation_url(url);
    return command;
  }
  TimestampUs due() const { return order_due_at(state_, rules_).value_or(0); }
};

TEST_F(Renewal, begins_inside_of_the_window_at_a_point_that_only_the_fingerprint_draws) {
  std::set<TimestampUs> points;
  const auto start = k_start + 40 * k_day_us;
  const auto end = start + 2 * k_day_us;
  for (int i = 0; i < 200; ++i) {
    CertificateFacts facts;
    facts.fingerprint = "fp-" + std::to_string(i);
    facts.not_before = k_start;
    facts.not_after = k_start + 90 * k_day_us;
    facts.advice = RenewalAdvice{start, end, ""};
    EXPECT_GE(facts.renew_at(), start);
    EXPECT_LT(facts.renew_at(), end);
    EXPECT_EQ(facts.renew_at(), facts.renew_at());
    points.insert((facts.renew_at() - start) / (k_day_us / 4));
  }
  EXPECT_EQ(points.size(), 8U) << "they are spread over all of it";
}

TEST_F(Renewal, a_window_that_moves_is_followed_and_one_that_stays_is_no_event) {
  become_active();
  const auto by_age = due();
  EXPECT_THAT(kinds(advice(k_start + 10 * k_day_us, k_start + 11 * k_day_us)),
              ElementsAre("RenewalAdvised"));
  EXPECT_LT(due(), by_age);
  EXPECT_GE(due(), k_start + 10 * k_day_us);
  EXPECT_THAT(kinds(advice(k_start + 10 * k_day_us, k_start + 11 * k_day_us)), IsEmpty());
  EXPECT_THAT(kinds(advice(k_start + 70 * k_day_us, k_start + 71 * k_day_us)),
              ElementsAre("RenewalAdvised"));
  EXPECT_GE(due(), k_start + 70 * k_day_us);
  EXPECT_THAT(kinds(advice(k_start + 70 * k_day_us, k_start + 71 * k_day_us, "aa",
                           "https://ca.example/why")),
              ElementsAre("RenewalAdvised"))
      << "people are to read it";
}

// As of a certificate that is about to be revoked.
TEST_F(Renewal, a_window_in_the_past_is_an_order_now) {
  become_active();
  now_ += k_day_us;
  kinds(advice(k_start - 2 * k_day_us, k_start - k_day_us));
  EXPECT_LE(due(), now_);
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  EXPECT_EQ(last_.certificate_ordered().renews(), "aa");
}

TEST_F(Renewal, never_waits_for_the_end_whatever_the_authority_says) {
  become_active();
  kinds(advice(k_start + 400 * k_day_us, k_start + 500 * k_day_us));
  EXPECT_EQ(due(), k_start + 90 * k_day_us - 90 * k_day_us / 20);
}

TEST_F(Renewal, an_authority_that_always_says_now_gets_no_more_orders_than_the_weeks_limit) {
  become_active();
  int orders = 1;
  for (int hour = 0; hour < 7 * 24; ++hour) {
    now_ += k_hour_us;
    if (state_.installed) {
      kinds(advice(k_start - k_day_us, k_start, state_.installed->fingerprint));
    }
    kinds(ready());
    if (!state_.order) continue;
    const auto fingerprint = "f" + std::to_string(++orders);
    kinds(issued(fingerprint, 90 * k_day_us));
    kinds(TakeInstalled{fingerprint});
  }
  EXPECT_LE(orders, rules_.certificates_per_week + 1);
}

TEST_F(Renewal, advice_goes_with_its_certificate) {
  become_active();
  kinds(advice(k_start, k_start + 1));
  now_ += k_minute_us;
  EXPECT_THAT(kinds(ready()), IsEmpty()) << "an authority's clock may be wrong";
  now_ += k_day_us;
  kinds(ready());
  ASSERT_TRUE(state_.order);
  EXPECT_THAT(kinds(advice(k_start + k_day_us, k_start + 2 * k_day_us)),
              ElementsAre("RenewalAdvised"))
      << "the answer may come while the order runs";
  kinds(issued("bb", 90 * k_day_us));
  kinds(TakeInstalled{"bb"});
  EXPECT_FALSE(state_.installed->advice);
  EXPECT_THAT(kinds(advice(k_start, k_start + 1, "aa")), IsEmpty()) << "of one that is gone";
}

TEST_F(Renewal, a_window_that_is_none_is_nothing_and_a_violation_in_a_log) {
  become_active();
  EXPECT_THAT(kinds(advice(k_start, k_start)), IsEmpty());
  EXPECT_THAT(kinds(advice(k_start + 1, k_start)), IsEmpty());
  pb::Event event;
  event.mutable_renewal_advised()->set_fingerprint("aa");
  EXPECT_THAT(violation(state_, event), HasSubstr("ends as it begins"));
  event.mutable_renewal_advised()->set_end_us(1);
  EXPECT_EQ(violation(state_, event), "");
  event.mutable_renewal_advised()->set_fingerprint("bb");
  EXPECT_THAT(violation(state_, event), HasSubstr("not shown"));
}

// A fifth of the life is less time than our own rule leaves, and no reason to tell people.
TEST_F(Renewal, who_is_told_of_an_end_is_told_by_the_time_that_the_authority_leaves) {
  become_active();
  const auto before = warning_due_at(state_).value();
  kinds(advice(k_start + 80 * k_day_us, k_start + 80 * k_day_us + 1));
  const auto after = warning_due_at(state_).value();
  EXPECT_LT(before, k_start + 80 * k_day_us);
  EXPECT_GT(after, k_start + 80 * k_day_us);
  EXPECT_LT(after, k_start + 90 * k_day_us);
  kinds(advice(k_start, k_start + 1));
  EXPECT_EQ(warning_due_at(state_), before) << "nor earlier, when it wants an early one";
}

TEST_F(Renewal, advice_is_asked_for_within_bounds_whatever_the_authority_says) {
  EXPECT_EQ(advice_due_at(state_, k_start, 0, 0), std::nullopt);
  become_active();
  const auto first = advice_due_at(state_, k_start, 0, 0);
  ASSERT_TRUE(first.has_value());
  EXPECT_GE(*first, k_start);
  EXPECT_LT(*first, k_start + 10 * k_minute_us);
  EXPECT_EQ(advice_due_at(state_, k_start, now_, 3 * k_hour_us), now_ + 3 * k_hour_us);
  EXPECT_EQ(advice_due_at(state_, k_start, now_, 0), now_ + k_minute_us);
  EXPECT_EQ(advice_due_at(state_, k_start, now_, -k_day_us), now_ + k_minute_us);
  EXPECT_EQ(advice_due_at(state_, k_start, now_, 90 * k_day_us), now_ + k_day_us);
  auto uploaded = state_;
  uploaded.installed->source = CertificateSource::uploaded;
  EXPECT_EQ(advice_due_at(uploaded, k_start, 0, 0), std::nullopt) << "nobody renews that";
}

}  // namespace
}  // namespace atlasflow
