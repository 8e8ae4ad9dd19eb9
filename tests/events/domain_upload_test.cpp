// Certificates that a project brings, where a domain sends its visitors, and who is told that a
// certificate ends.
#include <gmock/gmock.h>

#include "events/domain_ledger.hpp"
#include "tests/events/domain_fixture.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const Principal k_user = Principal::user();

class UploadedCertificate : public Domain {
 protected:
  [[nodiscard]] TakeUploaded uploaded(const std::string& fingerprint,
                                      TimestampUs life = 90 * k_day_us) const {
    return {issued(fingerprint, life).issued, k_user};
  }
};

TEST_F(UploadedCertificate, takes_the_place_of_an_ordered_one_and_nothing_is_ordered_beside_it) {
  become_active();
  EXPECT_THAT(kinds(uploaded("bb")), ElementsAre("CertificateUploaded"));
  EXPECT_EQ(state_.certificate()->fingerprint, "bb");
  EXPECT_EQ(state_.installed->fingerprint, "aa") << "shown until the new one is";
  kinds(TakeInstalled{"bb"});
  EXPECT_EQ(state_.status(), DomainStatus::active);
  EXPECT_EQ(order_due_at(state_, rules_), std::nullopt);
  for (int day = 0; day < 120; ++day) {
    now_ += k_day_us;
    EXPECT_THAT(kinds(ready()), IsEmpty());
  }
  EXPECT_THAT(tell(RetryCertificate{k_user}).error().message,
              HasSubstr("was uploaded, and none is ordered beside it"));
  EXPECT_EQ(state_.certificate()->fingerprint, "bb") << "also when it has expired";
}

TEST_F(UploadedCertificate, ends_an_order_that_is_under_way_and_its_outcome_is_nothing) {
  kinds(add("shop"));
  kinds(ready());
  ASSERT_TRUE(state_.order);
  const auto late = issued("cc", k_day_us);
  const auto late_failure = failed(pb::CERTIFICATE_PROBLEM_VALIDATION);
  EXPECT_THAT(kinds(uploaded("bb")), ElementsAre("CertificateUploaded"));
  EXPECT_FALSE(state_.order);
  EXPECT_THAT(kinds(late), IsEmpty());
  EXPECT_THAT(kinds(late_failure), IsEmpty());
  EXPECT_EQ(state_.certificate()->fingerprint, "bb");
}

TEST_F(UploadedCertificate, an_order_or_a_release_that_has_no_place_is_a_violation) {
  become_active();
  kinds(uploaded("bb"));
  kinds(TakeInstalled{"bb"});
  pb::Event ordered;
  ordered.mutable_certificate_ordered();
  EXPECT_THAT(violation(state_, ordered), HasSubstr("beside a certificate"));
  kinds(ReleaseUploaded{k_user});
  EXPECT_EQ(violation(state_, ordered), "");
  pb::Event released;
  released.mutable_certificate_released();
  EXPECT_THAT(violation(state_, released), HasSubstr("nobody brought"));
}

TEST_F(UploadedCertificate, that_is_given_up_is_shown_until_an_ordered_one_is) {
  become_active();
  kinds(uploaded("bb"));
  kinds(TakeInstalled{"bb"});
  EXPECT_THAT(kinds(ReleaseUploaded{k_user}), ElementsAre("CertificateReleased"));
  EXPECT_EQ(state_.certificate()->fingerprint, "bb");
  EXPECT_EQ(state_.certificate()->source, CertificateSource::released);
  now_ += k_minute_us;
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
  EXPECT_EQ(last_.certificate_ordered().renews(), "") << "it is none of that authority's";
  kinds(issued("cc", 90 * k_day_us));
  EXPECT_EQ(state_.installed->fingerprint, "bb");
  kinds(TakeInstalled{"cc"});
  EXPECT_EQ(state_.certificate()->source, CertificateSource::ordered);
  EXPECT_THAT(tell(ReleaseUploaded{k_user}).error().message, HasSubstr("none that was uploaded"));
}

TEST_F(UploadedCertificate, is_not_given_up_where_no_other_would_come) {
  become_active();
  kinds(uploaded("bb"));
  rules_.directory.clear();
  EXPECT_THAT(tell(ReleaseUploaded{k_user}).error().message, HasSubstr("domains.acme_directory"));
}

TEST_F(UploadedCertificate, brought_twice_is_one_event) {
  become_active();
  EXPECT_THAT(kinds(uploaded("bb")), ElementsAre("CertificateUploaded"));
  EXPECT_THAT(kinds(uploaded("bb")), IsEmpty());
  kinds(TakeInstalled{"bb"});
  EXPECT_THAT(kinds(uploaded("bb")), IsEmpty());
  kinds(ReleaseUploaded{k_user});
  EXPECT_THAT(kinds(uploaded("bb")), ElementsAre("CertificateUploaded"))
      << "after it was given up it is news";
}

// A project that claims a name whose records still lead here from another's time must not get its
// visitors by a certificate that it made itself.
TEST_F(UploadedCertificate, is_not_shown_before_the_domain_is_proved_to_be_the_projects) {
  become_active();
  kinds(RemoveDomain{k_user, "it was asked for"});
  kinds(add("thief"));
  EXPECT_TRUE(state_.proof_required);
  kinds(uploaded("bb"));
  EXPECT_EQ(state_.certificate(), nullptr);
  EXPECT_EQ(state_.status(), DomainStatus::pending_dns);
  kinds(missing());
  EXPECT_EQ(state_.certificate(), nullptr);
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainChecked", "DomainVerified"));
  EXPECT_EQ(state_.certificate()->fingerprint, "bb") << "and is there at once when it is";
}

TEST_F(UploadedCertificate, that_was_never_shown_is_gone_when_it_is_given_up) {
  kinds(add("shop"));
  kinds(uploaded("bb"));
  kinds(ReleaseUploaded{k_user});
  EXPECT_EQ(state_.newest_certificate(), nullptr);
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainChecked", "DomainVerified", "CertificateOrdered"));
}

TEST_F(UploadedCertificate, of_a_project_that_lost_the_domain_is_replaced) {
  become_active();
  kinds(uploaded("bb"));
  kinds(TakeInstalled{"bb"});
  kinds(add("other", true));
  auto proved = ready();
  proved.judgement.take_over_proved = true;
  kinds(proved);
  ASSERT_EQ(state_.project, ProjectId{"id-other"});
  EXPECT_EQ(state_.certificate()->fingerprint, "bb") << "visitors notice nothing";
  now_ += k_minute_us;
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainRecovered", "CertificateOrdered"));
}

TEST_F(UploadedCertificate, whose_key_is_lost_gives_way_to_the_one_before_or_to_an_order) {
  become_active();
  kinds(uploaded("bb"));
  EXPECT_THAT(kinds(TakeLost{"bb", "its file is damaged"}), ElementsAre("CertificateLost"));
  EXPECT_EQ(state_.certificate()->fingerprint, "aa");
  kinds(uploaded("bb"));
  kinds(TakeInstalled{"bb"});
  kinds(TakeLost{"bb", "its file is damaged"});
  EXPECT_THAT(kinds(ready()), ElementsAre("CertificateOrdered"));
}

// ---- warnings ----

class Expiry : public UploadedCertificate {
 protected:
  // Day by day, as long as somebody might be told: the days that were left when they were.
  std::vector<std::pair<std::string, TimestampUs>> told_until_the_end() {
    std::vector<std::pair<std::string, TimestampUs>> told;
    const auto end = state_.shown_certificate()->not_after;
    while (now_ < end + 3 * k_day_us) {
      const auto due = warning_due_at(state_);
      for (const auto& kind : kinds(WarnOfExpiry{})) {
        EXPECT_EQ(kind, "CertificateExpiring");
        EXPECT_LE(*due, now_);
        told.emplace_back(name_of(last_.certificate_expiring().stage()), (end - now_) / k_day_us);
      }
      now_ += k_day_us;
    }
    return told;
  }
};

TEST_F(Expiry, of_what_nobody_renews_is_told_from_thirty_days_on_once_each) {
  become_active();
  kinds(uploaded("bb", 365 * k_day_us));
  kinds(TakeInstalled{"bb"});
  EXPECT_THAT(told_until_the_end(), ElementsAre(std::pair("notice", 30), std::pair("warning", 7),
                                                std::pair("urgent", 1), std::pair("expired", 0)));
  EXPECT_EQ(warning_due_at(state_), std::nullopt);
}

TEST_F(Expiry, of_what_is_renewed_is_told_when_its_renewal_has_failed_for_a_while) {
  become_active(90 * k_day_us);
  EXPECT_THAT(told_until_the_end(), ElementsAre(std::pair("notice", 20), std::pair("warning", 7),
                                                std::pair("urgent", 1), std::pair("expired", 0)));
}

TEST_F(Expiry, of_a_certificate_of_six_days_is_told_in_its_last_two) {
  become_active(6 * k_day_us);
  const auto end = state_.installed->not_after;
  EXPECT_EQ(warning_due_at(state_), end - 2 * k_day_us);
}

TEST_F(Expiry, that_passed_while_the_server_was_down_is_told_once_as_what_it_is_now) {
  become_active();
  now_ = state_.installed->not_after - k_hour_us;
  EXPECT_THAT(kinds(WarnOfExpiry{}), ElementsAre("CertificateExpiring"));
  EXPECT_EQ(last_.certificate_expiring().stage(), pb::EXPIRY_STAGE_URGENT);
  EXPECT_EQ(last_.certificate_expiring().project_id(), "id-shop");
  EXPECT_THAT(kinds(WarnOfExpiry{}), IsEmpty());
  EXPECT_EQ(warning_due_at(state_), state_.installed->not_after);
}

TEST_F(Expiry, begins_anew_with_a_new_certificate) {
  become_active();
  now_ = state_.installed->not_after - k_hour_us;
  kinds(WarnOfExpiry{});
  kinds(uploaded("bb", 365 * k_day_us));
  kinds(TakeInstalled{"bb"});
  EXPECT_EQ(warning_due_at(state_), state_.installed->not_after - 30 * k_day_us);
  pb::Event again;
  again.mutable_certificate_expiring()->set_fingerprint("aa");
  EXPECT_THAT(violation(state_, again), HasSubstr("not shown"));
}

TEST_F(Expiry, is_told_with_the_reason_that_the_owner_can_change) {
  become_active();
  now_ = state_.installed->not_after - k_day_us;
  EXPECT_THAT(expiry_reason(state_, rules_), HasSubstr("about to be ordered"));
  kinds(ready());
  EXPECT_THAT(expiry_reason(state_, rules_), HasSubstr("being ordered"));
  kinds(failed(pb::CERTIFICATE_PROBLEM_VALIDATION));
  EXPECT_EQ(expiry_reason(state_, rules_), "the CA said no");
  kinds(missing());
  EXPECT_THAT(expiry_reason(state_, rules_), HasSubstr("records do not lead here: it leads to"));
  kinds(uploaded("bb"));
  kinds(TakeInstalled{"bb"});
  EXPECT_THAT(expiry_reason(state_, rules_), HasSubstr("nobody renews it"));
}

// ---- redirects ----

class Redirects : public testing::Test {
 protected:
  void apply(const std::string& name, const std::function<void(pb::Event&)>& fill) {
    pb::Event event;
    fill(event);
    ledger_.apply(domain_stream(name), event, k_start);
  }
  void claim(const std::string& name, const std::string& project = "id-shop") {
    apply(name, [&](pb::Event& event) {
      event.mutable_domain_added()->set_project_id(project);
      event.mutable_domain_added()->set_project_name("shop");
    });
  }
  // With a certificate.
  void serve(const std::string& name) {
    apply(name, [](pb::Event& event) { event.mutable_domain_verified(); });
    apply(name, [&](pb::Event& event) {
      event.mutable_certificate_uploaded()->mutable_certificate()->set_fingerprint(name);
    });
  }
  void redirect(const std::string& name, const std::string& to) {
    apply(name, [&](pb::Event& event) { event.mutable_domain_redirect_set()->set_to(to); });
  }
  void make_primary(const std::string& name) {
    pb::Event event;
    event.mutable_settings_changed()->mutable_settings()->set_primary_domain(name);
    ledger_.apply(project_stream(k_shop), event, k_start);
  }
  [[nodiscard]] std::string target(const std::string& name) const {
    const auto* to = ledger_.redirect_of(*ledger_.find(name));
    return to == nullptr ? "" : to->name;
  }
  [[nodiscard]] std::string primary() const {
    const auto* domain = ledger_.primary_domain(k_shop);
    return domain == nullptr ? "" : domain->name;
  }

  const ProjectId k_shop{"id-shop"};
  DomainLedger ledger_;
};

TEST_F(Redirects, lead_only_to_a_domain_that_can_answer) {
  claim("www.shop.test");
  claim("shop.test");
  serve("www.shop.test");
  redirect("www.shop.test", "shop.test");
  EXPECT_EQ(target("www.shop.test"), "") << "it has no certificate yet";
  serve("shop.test");
  EXPECT_EQ(target("www.shop.test"), "shop.test");
  apply("shop.test", [](pb::Event& event) { event.mutable_domain_degraded(); });
  EXPECT_EQ(target("www.shop.test"), "") << "its records lead elsewhere";
  apply("shop.test", [](pb::Event& event) { event.mutable_domain_recovered(); });
  apply("shop.test", [](pb::Event& event) { event.mutable_domain_removed(); });
  EXPECT_EQ(target("www.shop.test"), "");
}

TEST_F(Redirects, go_in_no_circle_even_when_both_were_asked_for_at_once) {
  claim("a.shop.test");
  claim("b.shop.test");
  serve("a.shop.test");
  serve("b.shop.test");
  redirect("a.shop.test", "b.shop.test");
  EXPECT_THAT(ledger_.why_no_redirect("b.shop.test", k_shop, "a.shop.test"),
              HasSubstr("redirects to 'b.shop.test' itself"));
  redirect("b.shop.test", "a.shop.test");
  EXPECT_EQ(target("a.shop.test"), "");
  EXPECT_EQ(target("b.shop.test"), "");
}

TEST_F(Redirects, are_refused_with_what_is_wrong) {
  claim("www.shop.test");
  claim("shop.test");
  claim("foreign.test", "id-other");
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"www.shop.test", "can't redirect to itself"},
      {"foreign.test", "is no domain of the same project"},
      {"nobody.test", "claim it first"}};
  for (const auto& [to, why] : wrong) {
    EXPECT_THAT(ledger_.why_no_redirect("www.shop.test", k_shop, to), HasSubstr(why));
  }
  EXPECT_EQ(ledger_.why_no_redirect("www.shop.test", k_shop, "shop.test"), "");
  redirect("www.shop.test", "shop.test");
  EXPECT_THAT(ledger_.why_no_redirect("shop.test", k_shop, "www.shop.test"),
              HasSubstr("redirects to 'shop.test' itself"));
  claim("third.shop.test");
  EXPECT_THAT(ledger_.why_no_redirect("shop.test", k_shop, "third.shop.test"),
              HasSubstr("has to answer itself"));
}

TEST_F(Redirects, of_the_default_hostname_lead_to_the_primary_domain_while_it_answers) {
  claim("www.shop.test");
  make_primary("www.shop.test");
  EXPECT_EQ(primary(), "");
  serve("www.shop.test");
  EXPECT_EQ(primary(), "www.shop.test");
  // In one step, where that one is sent on.
  claim("shop.test");
  serve("shop.test");
  redirect("www.shop.test", "shop.test");
  EXPECT_EQ(primary(), "shop.test");
  claim("foreign.test", "id-other");
  serve("foreign.test");
  make_primary("foreign.test");
  EXPECT_EQ(primary(), "");
  make_primary("");
  EXPECT_THAT(ledger_.primary_domains(), IsEmpty());
}

TEST_F(Domain, is_added_with_a_redirect_in_one_append_or_not_at_all) {
  auto wanted = add("shop");
  wanted.redirect_to = "shop.test";
  wanted.redirect_refused = "'shop.test' is no domain of the same project";
  EXPECT_THAT(tell(wanted).error().message, HasSubstr("no domain of the same project"));
  EXPECT_EQ(state_.status(), DomainStatus::absent);
  wanted.redirect_refused.clear();
  EXPECT_THAT(kinds(wanted), ElementsAre("DomainAdded", "DomainRedirectSet"));
  EXPECT_EQ(state_.redirect_to, "shop.test");
  EXPECT_THAT(kinds(SetRedirect{.to = "shop.test", .refused = {}, .by = k_user}), IsEmpty());
  EXPECT_THAT(kinds(SetRedirect{.to = "", .refused = {}, .by = k_user}),
              ElementsAre("DomainRedirectSet"));
  kinds(RemoveDomain{k_user, "it was asked for"});
  EXPECT_EQ(tell(SetRedirect{.to = "x.test", .refused = {}, .by = k_user}).error().code,
            ErrorCode::not_found);
}

TEST_F(Domain, keeps_its_redirect_out_of_another_projects_hands) {
  become_active();
  kinds(SetRedirect{.to = "shop.test", .refused = {}, .by = k_user});
  auto wanted = add("other", true);
  wanted.redirect_to = "other.test";
  EXPECT_THAT(tell(wanted).error().message, HasSubstr("without a redirect"));
  kinds(add("other", true));
  auto proved = ready();
  proved.judgement.take_over_proved = true;
  kinds(proved);
  EXPECT_EQ(state_.redirect_to, "");
}

}  // namespace
}  // namespace atlasflow
