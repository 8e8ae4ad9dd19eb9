// The server's own domain: claimed by its configuration, and for no project.
#include <gmock/gmock.h>

#include "events/domain_ledger.hpp"
#include "tests/events/domain_fixture.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class OwnDomain : public Domain {
 protected:
  OwnDomain() { state_.name = "apps.test"; }
};

TEST_F(OwnDomain, is_claimed_once_and_its_order_has_the_wildcard_as_well) {
  EXPECT_THAT(kinds(ClaimForServer{}), ElementsAre("ServerDomainAdded"));
  EXPECT_THAT(kinds(ClaimForServer{}), IsEmpty());
  EXPECT_EQ(state_.status(), DomainStatus::verified) << "no record has to lead here";
  EXPECT_LE(look_due_at(state_, 0), now_);
  EXPECT_THAT(kinds(ready()), ElementsAre("DomainChecked", "CertificateOrdered"));
  EXPECT_THAT(last_.certificate_ordered().names(), ElementsAre("apps.test", "*.apps.test"));
  kinds(issued("aa", 90 * k_day_us));
  kinds(TakeInstalled{"aa"});
  EXPECT_EQ(state_.status(), DomainStatus::active);
  ASSERT_NE(state_.certificate(), nullptr);
  EXPECT_TRUE(order_due_at(state_, rules_).has_value()) << "and is renewed";
}

TEST_F(OwnDomain, fails_and_waits_as_every_other) {
  kinds(ClaimForServer{});
  kinds(ready());
  EXPECT_THAT(kinds(failed(pb::CERTIFICATE_PROBLEM_LOCAL)), ElementsAre("CertificateFailed"));
  EXPECT_EQ(order_due_at(state_, rules_), now_ + k_minute_us);
  EXPECT_EQ(state_.status(), DomainStatus::verified);
  auto forbidden = ready();
  forbidden.judgement.caa_reason = "only other.example";
  now_ += k_minute_us;
  EXPECT_THAT(kinds(forbidden), ElementsAre("CertificateFailed"));
  EXPECT_EQ(state_.failure->problem, pb::CERTIFICATE_PROBLEM_CAA);
}

TEST_F(OwnDomain, takes_no_command_that_is_for_a_projects_domain) {
  kinds(ClaimForServer{});
  const auto user = Principal::user();
  for (const auto& command : std::vector<DomainCommand>{
           add("shop"), add("shop", true), RemoveDomain{user, "asked for"},
           SetRedirect{"other.test", "", user}, TakeUploaded{{}, user}, ReleaseUploaded{user}}) {
    const auto told = tell(command);
    ASSERT_FALSE(told.has_value()) << command.index();
    EXPECT_EQ(told.error().code, ErrorCode::conflict);
    EXPECT_THAT(told.error().message, HasSubstr("this server's own domain"));
  }
}

TEST_F(OwnDomain, is_not_taken_from_the_project_that_has_it) {
  kinds(add("shop"));
  const auto told = tell(ClaimForServer{});
  ASSERT_FALSE(told.has_value());
  EXPECT_THAT(told.error().message, HasSubstr("project 'shop' has it; atlasflow domains remove"));
  kinds(ready());
  kinds(RemoveDomain{Principal::user(), "asked for"});
  EXPECT_THAT(kinds(ClaimForServer{}), ElementsAre("ServerDomainAdded"));
  kinds(ready());
  kinds(issued("aa", 90 * k_day_us));
  EXPECT_NE(state_.certificate(), nullptr) << "whoever had proved the name before";
}

// Every name of the old domain still leads to this server, so routing proves no project's claim.
TEST_F(OwnDomain, that_was_given_up_is_claimed_by_its_txt_record_only) {
  kinds(ClaimForServer{});
  kinds(ready());
  EXPECT_THAT(kinds(ReleaseByServer{"the server has another domain"}),
              ElementsAre("DomainRemoved"));
  EXPECT_THAT(kinds(ReleaseByServer{"again"}), IsEmpty());
  EXPECT_FALSE(state_.order) << "its outcome is nobody's";
  kinds(add("thief"));
  EXPECT_TRUE(state_.proof_required);
  kinds(RemoveDomain{Principal::user(), "asked for"});
  kinds(add("thief"));
  EXPECT_TRUE(state_.proof_required) << "also the second time";
  kinds(ready());
  kinds(RemoveDomain{Principal::user(), "asked for"});
  kinds(add("thief"));
  EXPECT_FALSE(state_.proof_required) << "until it was proved";
}

TEST_F(OwnDomain, keeps_what_the_authoritys_limits_count) {
  kinds(ClaimForServer{});
  for (int i = 0; i < 4; ++i) {
    kinds(ready());
    kinds(issued("a" + std::to_string(i), k_day_us));
    kinds(TakeInstalled{"a" + std::to_string(i)});
    kinds(ReleaseByServer{"a switch that is flipped"});
    kinds(ClaimForServer{});
    now_ += k_minute_us;
  }
  EXPECT_EQ(order_due_at(state_, rules_), k_start + 7 * k_day_us);
}

struct CaaCase {
  std::vector<std::string> records;
  std::string reason;  // a part of it; empty: the CA may
};
class OwnDomainCaa : public testing::TestWithParam<CaaCase> {};

// RFC 8659 section 4.3: for a wildcard "issuewild" counts where there is one, else "issue".
TEST_P(OwnDomainCaa, is_judged_for_the_name_and_the_wildcard) {
  DomainExpectation expected;
  expected.name = "apps.test";
  expected.is_servers = true;
  expected.caa_identities = {"ca.example"};
  pb::DnsObservation observed;
  auto& answers = *observed.add_answers();
  answers.set_server("192.0.2.53:53");
  for (const auto& value : GetParam().records) {
    auto& record = *answers.add_records();
    record.set_name("apps.test");
    record.set_type("CAA");
    record.set_value(value);
  }
  const auto judgement = judge(expected, observed);
  EXPECT_EQ(judgement.verdict, pb::DOMAIN_VERDICT_READY) << "wherever it leads";
  if (GetParam().reason.empty()) {
    EXPECT_EQ(judgement.caa_reason, "");
  } else {
    EXPECT_THAT(judgement.caa_reason, HasSubstr(GetParam().reason));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Records, OwnDomainCaa,
    testing::Values(CaaCase{{}, ""}, CaaCase{{"0 issue \"ca.example\""}, ""},
                    CaaCase{{"0 issue \"other.example\""}, "only other.example"},
                    CaaCase{{"0 issue \"ca.example\"", "0 issuewild \";\""},
                            "let nobody issue wildcard certificates"},
                    CaaCase{{"0 issue \"other.example\"", "0 issuewild \"ca.example\""},
                            "only other.example issue certificates"},
                    CaaCase{{"0 issuewild \"other.example\""},
                            "add CAA 0 issuewild \"ca.example\""},
                    CaaCase{{"0 issuewild \"ca.example\""}, ""}));

TEST(OwnDomainVerdict, a_projects_domain_is_not_held_to_issuewild) {
  DomainExpectation expected;
  expected.name = "apps.test";
  expected.caa_identities = {"ca.example"};
  pb::DnsObservation observed;
  auto& answers = *observed.add_answers();
  answers.set_server("192.0.2.53:53");
  auto& record = *answers.add_records();
  record.set_name("apps.test");
  record.set_type("CAA");
  record.set_value("0 issuewild \";\"");
  EXPECT_EQ(judge(expected, observed).caa_reason, "");
}

}  // namespace
}  // namespace atlasflow
