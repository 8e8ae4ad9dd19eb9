// A domain's life as a table of what happens and what follows: claims, looks, orders.
#include <gmock/gmock.h>

#include "events/domain_ledger.hpp"
#include "tests/events/domain_fixture.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Principal k_user = Principal::user();

TEST_F(Domain, goes_from_a_claim_to_a_certificate_that_is_shown) {
  EXPECT_EQ(state_.status(), DomainStatus::absent);
  EXPECT_THAT(kinds(add("shop")), ElementsAre("DomainAdded"));
  EXPECT_EQ(state_.status(), DomainStatus::pending_dns);
  EXPECT_THAT(kinds(missing()), ElementsAre("DomainChecked"));
  EXPECT_EQ(state_.status(), DomainStatus::pending_dns);
  EXPECT_EQ(state_.reason, "it leads to 198.51.100.1");
  now_ += k_minute_us;
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainChecked", "DomainVerified", "CertificateOrdered"));
  EXPECT_EQ(state_.status(), DomainStatus::issuing);
  EXPECT_EQ(last_.certificate_ordered().directory(), "https://ca.test/dir");
  EXPECT_EQ(last_.certificate_ordered().deadline_us(), now_ + k_order_deadline_us);
  EXPECT_EQ(state_.order->effect, EffectId("www.shop.test-v5"));
  EXPECT_THAT(kinds(issued("aa", 90 * k_day_us)), ElementsAre("CertificateIssued"));
  EXPECT_EQ(state_.status(), DomainStatus::issuing);
  EXPECT_THAT(kinds(TakeInstalled{"aa"}), ElementsAre("CertificateInstalled"));
  EXPECT_EQ(state_.status(), DomainStatus::active);
  EXPECT_EQ(state_.certificate()->issuer, "Test CA");
}

TEST_F(Domain, two_looks_that_find_the_same_are_one_record_unless_somebody_asked) {
  kinds(add("shop"));
  EXPECT_THAT(kinds(missing()), ElementsAre("DomainChecked"));
  EXPECT_THAT(kinds(missing()), IsEmpty());
  auto asked = missing();
  asked.asked = true;
  EXPECT_THAT(kinds(asked), ElementsAre("DomainChecked"));
  EXPECT_THAT(kinds(look(pb::DOMAIN_VERDICT_PENDING, "198.51.100.2")),
              ElementsAre("DomainChecked"));
}

TEST_F(Domain, a_second_order_is_never_made_while_one_is_under_way) {
  kinds(add("shop"));
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainChecked", "DomainVerified", "CertificateOrdered"));
  now_ += k_hour_us;
  EXPECT_THAT(kinds(ready()), IsEmpty());
  EXPECT_EQ(order_due_at(state_, rules_), std::nullopt);
  EXPECT_EQ(tell(RetryCertificate{k_user}).error().code, ErrorCode::conflict);
  // Nor while its certificate is on its way to the edge.
  kinds(issued("aa", k_day_us));
  now_ += k_day_us;
  EXPECT_THAT(kinds(ready()), IsEmpty());
}

TEST_F(Domain, an_outcome_of_an_earlier_order_is_nothing) {
  kinds(add("shop"));
  kinds(ready());
  const auto late = issued("aa", k_day_us);
  const auto late_failure = failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  kinds(failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE));
  now_ += k_hour_us;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  EXPECT_THAT(kinds(late), IsEmpty());
  EXPECT_THAT(kinds(late_failure), IsEmpty());
  EXPECT_TRUE(state_.order);
  kinds(RemoveDomain{k_user, "it was asked for"});
  EXPECT_THAT(kinds(issued("bb", k_day_us)), IsEmpty());
}

TEST_F(Domain, is_renewed_with_a_third_of_its_life_left_and_names_the_one_before) {
  become_active(90 * k_day_us);
  const auto due = *order_due_at(state_, rules_);
  EXPECT_LE(due, state_.installed->not_after - 30 * k_day_us);
  EXPECT_GE(due, state_.installed->not_after - 35 * k_day_us);
  now_ = due - 1;
  EXPECT_THAT(kinds(ready()), IsEmpty());
  now_ = due;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  EXPECT_EQ(last_.certificate_ordered().renews(), "aa");
  EXPECT_EQ(state_.status(), DomainStatus::active);  // the old one is served on
  kinds(issued("bb", 90 * k_day_us));
  EXPECT_EQ(state_.certificate()->fingerprint, "bb");
  EXPECT_EQ(state_.installed->fingerprint, "aa");
  kinds(TakeInstalled{"bb"});
  EXPECT_EQ(state_.installed->fingerprint, "bb");
}

TEST(CertificateFacts, a_short_life_is_renewed_at_its_half_and_names_spread) {
  std::set<TimestampUs> times;
  for (int i = 0; i < 100; ++i) {
    CertificateFacts facts;
    facts.fingerprint = "fingerprint-" + std::to_string(i);
    facts.not_before = k_start;
    facts.not_after = k_start + 6 * k_day_us;
    EXPECT_LE(facts.renew_at(), k_start + 3 * k_day_us);
    EXPECT_GE(facts.renew_at(), k_start + 3 * k_day_us - 6 * k_day_us / 20 - 1);
    times.insert(facts.renew_at() / k_minute_us);
  }
  EXPECT_GT(times.size(), 80U);
}

TEST(CertificateFacts, of_a_certificate_that_ends_before_it_begins_are_no_crash) {
  CertificateFacts facts;
  facts.fingerprint = "aa";
  facts.not_after = k_start;
  facts.not_before = k_start + 20;
  EXPECT_EQ(facts.renew_at(), k_start);
}

TEST_F(Domain, that_leads_elsewhere_is_degraded_served_on_and_not_renewed) {
  become_active(60 * k_hour_us);
  now_ += 59 * k_hour_us;
  EXPECT_THAT(kinds(missing()), ElementsAre("DomainChecked", "DomainDegraded"));
  EXPECT_EQ(state_.status(), DomainStatus::degraded);
  EXPECT_EQ(state_.certificate()->fingerprint, "aa");
  EXPECT_EQ(order_due_at(state_, rules_), std::nullopt);
  now_ += k_hour_us;
  EXPECT_THAT(kinds(ready()),
              ElementsAre("DomainChecked", "DomainRecovered", "CertificateOrdered"));
  EXPECT_EQ(state_.status(), DomainStatus::active);
}

TEST_F(Domain, servers_that_do_not_answer_take_nothing_away) {
  become_active();
  for (int i = 0; i < 20; ++i) {
    now_ += k_day_us;
    EXPECT_THAT(kinds(look(pb::DOMAIN_VERDICT_UNKNOWN)), IsEmpty());
  }
  EXPECT_EQ(state_.status(), DomainStatus::active);
}

TEST_F(Domain, a_claim_without_records_is_free_after_seven_days) {
  kinds(add("shop"));
  kinds(missing());
  now_ += 7 * k_day_us - 1;
  EXPECT_THAT(kinds(missing()), IsEmpty());
  EXPECT_THAT(kinds(look(pb::DOMAIN_VERDICT_UNKNOWN)), ElementsAre("DomainChecked"));
  now_ += 1;
  EXPECT_THAT(kinds(look(pb::DOMAIN_VERDICT_UNKNOWN)), IsEmpty());
  EXPECT_THAT(kinds(missing()), ElementsAre("DomainChecked", "DomainRemoved"));
  EXPECT_EQ(state_.status(), DomainStatus::removed);
  EXPECT_THAT(state_.removed_reason, HasSubstr("seven days"));
  EXPECT_EQ(look_due_at(state_, 0), std::nullopt);
}

TEST_F(Domain, a_degraded_one_is_free_after_seven_days_too) {
  become_active();
  kinds(missing());
  now_ += 7 * k_day_us;
  EXPECT_THAT(kinds(missing()), ElementsAre("DomainRemoved"));
  EXPECT_EQ(state_.certificate(), nullptr);
}

// ---- whose it is ----

TEST_F(Domain, is_claimed_once) {
  kinds(add("shop"));
  EXPECT_EQ(tell(add("shop")).error().code, ErrorCode::already_exists);
  const auto other = tell(add("blog"));
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::conflict);
  EXPECT_THAT(other.error().message, HasSubstr("--take-over"));
}

TEST_F(Domain, is_taken_over_by_its_txt_record_only) {
  become_active();
  EXPECT_THAT(kinds(add("blog", true)), ElementsAre("TakeOverRequested"));
  EXPECT_THAT(kinds(add("blog", true)), IsEmpty());  // it is asked for already
  EXPECT_THAT(kinds(ready()), IsEmpty());
  EXPECT_EQ(state_.project, ProjectId("id-shop"));
  auto proved = ready();
  proved.judgement.take_over_proved = true;
  EXPECT_THAT(kinds(proved), ElementsAre("DomainChecked", "DomainTakenOver"));
  EXPECT_EQ(state_.project, ProjectId("id-blog"));
  EXPECT_EQ(state_.token, "token-blog");
  EXPECT_EQ(state_.certificate()->fingerprint, "aa");  // visitors notice nothing
  EXPECT_EQ(state_.status(), DomainStatus::degraded);  // until its records lead to its project
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainRecovered"));
}

TEST_F(Domain, that_another_project_had_needs_proof_when_it_is_claimed_again) {
  become_active();
  kinds(RemoveDomain{k_user, "it was asked for"});
  kinds(add("blog"));
  EXPECT_TRUE(last_.domain_added().proof_required());
  kinds(RemoveDomain{k_user, "it was asked for"});
  kinds(add("shop"));
  EXPECT_FALSE(last_.domain_added().proof_required());
}

TEST_F(Domain, below_another_projects_needs_proof) {
  auto command = add("shop");
  command.parent_claimant = "blog";
  kinds(command);
  EXPECT_TRUE(last_.domain_added().proof_required());
}

TEST_F(Domain, a_caa_record_that_forbids_costs_the_ca_nothing) {
  kinds(add("shop"));
  auto forbidden = ready();
  forbidden.judgement.caa_reason = "only other.test may issue";
  EXPECT_THAT(kinds(forbidden),
              ElementsAre("DomainChecked", "DomainVerified", "CertificateFailed"));
  EXPECT_EQ(last_.certificate_failed().problem(), pb::CERTIFICATE_PROBLEM_CAA);
  EXPECT_THAT(kinds(forbidden), IsEmpty());
  now_ = state_.failure->retry_at;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

TEST_F(Domain, a_lost_certificate_is_ordered_anew) {
  become_active();
  EXPECT_THAT(kinds(TakeLost{"bb", "its file is gone"}), IsEmpty());
  EXPECT_THAT(kinds(TakeLost{"aa", "its file is gone"}), ElementsAre("CertificateLost"));
  EXPECT_EQ(state_.status(), DomainStatus::verified);
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

TEST_F(Domain, nothing_is_ordered_without_a_directory) {
  rules_.directory.clear();
  kinds(add("shop"));
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainChecked", "DomainVerified"));
}

TEST_F(Domain, is_looked_at_often_at_first_and_hourly_later) {
  kinds(add("shop"));
  EXPECT_EQ(look_due_at(state_, 0), 0);
  std::map<TimestampUs, int> pauses;
  TimestampUs looked_at = now_ + 1;
  while (looked_at < now_ + k_day_us) {
    const auto due = *look_due_at(state_, looked_at);
    ++pauses[due - looked_at];
    looked_at = due;
  }
  EXPECT_EQ(pauses[10 * k_second_us], 6);
  EXPECT_EQ(pauses[k_minute_us], 10);
  EXPECT_EQ(pauses[5 * k_minute_us], 12);
  EXPECT_EQ(pauses[k_hour_us], 23);
  kinds(ready());
  EXPECT_EQ(look_due_at(state_, looked_at), looked_at + k_day_us);
}

TEST(Violation, of_a_domain_names_what_must_not_follow) {
  DomainState state;
  state.name = "www.shop.test";
  pb::Event ordered;
  ordered.mutable_certificate_ordered();
  EXPECT_THAT(violation(state, ordered), HasSubstr("nobody's"));
  pb::Event added;
  added.mutable_domain_added();
  evolve(state, added, k_start);
  EXPECT_THAT(violation(state, added), HasSubstr("twice"));
  EXPECT_THAT(violation(state, ordered), HasSubstr("does not lead here"));
  pb::Event verified;
  verified.mutable_domain_verified();
  evolve(state, verified, k_start);
  EXPECT_EQ(violation(state, ordered), "");
  evolve(state, ordered, k_start);
  EXPECT_THAT(violation(state, ordered), HasSubstr("two orders"));
}

// ---- all of them ----

TEST(DomainLedger, knows_who_has_what_is_above_and_whose_project_is_gone) {
  DomainLedger ledger;
  pb::Event added;
  added.mutable_domain_added()->set_project_id("p1");
  added.mutable_domain_added()->set_project_name("shop");
  ledger.apply(domain_stream("shop.test"), added, k_start);
  EXPECT_EQ(ledger.foreign_parent("a.b.shop.test", ProjectId("p2")), nullptr);  // not proved
  pb::Event verified;
  verified.mutable_domain_verified();
  ledger.apply(domain_stream("shop.test"), verified, k_start);
  ASSERT_NE(ledger.foreign_parent("a.b.shop.test", ProjectId("p2")), nullptr);
  EXPECT_EQ(ledger.foreign_parent("a.b.shop.test", ProjectId("p1")), nullptr);
  EXPECT_EQ(ledger.foreign_parent("myshop.test", ProjectId("p2")), nullptr);
  EXPECT_THAT(ledger.orphaned(), IsEmpty());
  pb::Event deleted;
  deleted.mutable_project_deleted();
  ledger.apply(project_stream(ProjectId("p1")), deleted, k_start);
  EXPECT_THAT(ledger.orphaned(), ElementsAre("shop.test"));
}

TEST(DomainLedger, gives_a_domain_for_seven_days_and_to_a_project_that_is_there) {
  DomainLedger ledger;
  const auto stream = domain_stream("shop.test");
  pb::Event added;
  added.mutable_domain_added()->set_project_id("p1");
  ledger.apply(stream, added, k_start);
  EXPECT_FALSE(ledger.may_take_over(*ledger.find("shop.test"), k_start));
  pb::Event asked;
  asked.mutable_take_over_requested()->set_project_id("p2");
  ledger.apply(stream, asked, k_start);
  const auto end = k_start + k_claim_without_dns_max_us;
  EXPECT_TRUE(ledger.may_take_over(*ledger.find("shop.test"), end - 1));
  EXPECT_FALSE(ledger.may_take_over(*ledger.find("shop.test"), end));
  pb::Event deleted;
  deleted.mutable_project_deleted();
  ledger.apply(project_stream(ProjectId("p2")), deleted, k_start);
  EXPECT_FALSE(ledger.may_take_over(*ledger.find("shop.test"), k_start));
}

TEST(DomainLedger, counts_the_orders_of_all_domains_against_the_accounts_limit) {
  DomainLedger ledger;
  DomainRules rules;
  rules.orders_per_three_hours = 3;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ledger.order_allowed_at(rules), 0);
    pb::Event ordered;
    ordered.mutable_certificate_ordered();
    ledger.apply(domain_stream("d" + std::to_string(i) + ".test"), ordered, k_start + i);
  }
  EXPECT_EQ(ledger.order_allowed_at(rules), k_start + 3 * k_hour_us);
}

}  // namespace
}  // namespace atlasflow
