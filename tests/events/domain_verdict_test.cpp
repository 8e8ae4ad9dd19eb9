#include "events/domain_verdict.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

struct Said {
  std::string name;
  std::string type;
  std::string value;
};

class Verdict : public testing::Test {
 protected:
  void server(const std::vector<Said>& records, bool authoritative = false) {
    auto* answers = observed_.add_answers();
    answers->set_server("192.0.2." + std::to_string(observed_.answers_size()) + ":53");
    answers->set_authoritative(authoritative);
    for (const auto& said : records) {
      auto* record = answers->add_records();
      record->set_name(said.name);
      record->set_type(said.type);
      record->set_value(said.value);
    }
  }
  void both(const std::vector<Said>& records) {
    server(records);
    server(records);
  }
  void silent() {
    auto* answers = observed_.add_answers();
    answers->set_server("192.0.2.99:53");
    answers->set_error("no answer within 5 s");
  }
  Judgement judged() const { return judge(expected_, observed_); }

  DomainExpectation expected_{.name = "www.shop.test",
                              .target = "shop.apps.test",
                              .addresses = {"192.0.2.7", "2001:db8::7"},
                              .proof = "atlas-verify=p1:token",
                              .proof_required = false,
                              .take_over_proof = {},
                              .caa_identities = {}};
  pb::DnsObservation observed_;
};

TEST_F(Verdict, a_cname_to_the_projects_host_is_right_whatever_its_addresses) {
  both({{"www.shop.test", "CNAME", "shop.apps.test"}, {"shop.apps.test", "A", "198.51.100.1"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_READY);
  EXPECT_THAT(judged().reason, IsEmpty());
}

TEST_F(Verdict, a_chain_of_cnames_is_followed) {
  both({{"www.shop.test", "CNAME", "alias.shop.test"},
        {"alias.shop.test", "CNAME", "shop.apps.test"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_READY);
}

TEST_F(Verdict, a_loop_of_cnames_ends) {
  both({{"www.shop.test", "CNAME", "a.test"}, {"a.test", "CNAME", "www.shop.test"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
}

TEST_F(Verdict, a_cname_to_another_projects_host_does_not_lead_here) {
  both({{"www.shop.test", "CNAME", "blog.apps.test"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
  EXPECT_THAT(judged().reason, HasSubstr("is a CNAME to blog.apps.test"));
  EXPECT_THAT(judged().reason, HasSubstr("a CNAME to shop.apps.test or to 192.0.2.7"));
}

TEST_F(Verdict, addresses_are_right_when_all_of_them_are_ours) {
  both({{"www.shop.test", "A", "192.0.2.7"}, {"www.shop.test", "AAAA", "2001:db8::7"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_READY);
}

TEST_F(Verdict, an_aaaa_that_leads_elsewhere_is_named) {
  both({{"www.shop.test", "A", "192.0.2.7"}, {"www.shop.test", "AAAA", "2001:db8::bad"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
  EXPECT_THAT(judged().reason, HasSubstr("AAAA 2001:db8::bad"));
  EXPECT_THAT(judged().reason, HasSubstr("remove it"));
}

TEST_F(Verdict, a_proxy_in_front_is_named) {
  both({{"www.shop.test", "A", "203.0.113.1"}});
  EXPECT_THAT(judged().reason, HasSubstr("leads to A 203.0.113.1"));
  EXPECT_THAT(judged().reason, HasSubstr("proxy"));
}

TEST_F(Verdict, no_record_says_what_is_expected) {
  both({});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
  EXPECT_EQ(judged().reason,
            "www.shop.test has no address; expected is a CNAME to shop.apps.test or to 192.0.2.7, "
            "2001:db8::7");
}

TEST_F(Verdict, one_server_of_two_does_not_make_it_ready) {
  server({{"www.shop.test", "A", "192.0.2.7"}});
  server({{"www.shop.test", "A", "203.0.113.1"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
  EXPECT_THAT(judged().reason, HasSubstr("do not agree yet"));
}

TEST_F(Verdict, too_few_answers_are_no_answer) {
  server({{"www.shop.test", "A", "192.0.2.7"}});
  silent();
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_UNKNOWN);
  EXPECT_THAT(judged().reason, HasSubstr("no answer within 5 s"));
  // A third one makes two.
  server({{"www.shop.test", "A", "192.0.2.7"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_READY);
}

TEST_F(Verdict, nobody_asked_is_no_answer) {
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_UNKNOWN);
}

TEST_F(Verdict, one_configured_server_is_enough) {
  server({{"www.shop.test", "A", "192.0.2.7"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_READY);
}

TEST_F(Verdict, proof_is_required_where_routing_alone_proves_nothing) {
  expected_.proof_required = true;
  both({{"www.shop.test", "A", "192.0.2.7"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
  EXPECT_THAT(judged().reason,
              HasSubstr("set _atlas-verify.www.shop.test to \"atlas-verify=p1:token\""));
}

TEST_F(Verdict, the_zones_own_servers_outweigh_a_resolver_that_lies) {
  expected_.proof_required = true;
  const std::vector<Said> with_proof = {
      {"www.shop.test", "A", "192.0.2.7"},
      {"_atlas-verify.www.shop.test", "TXT", "atlas-verify=p1:token"}};
  both(with_proof);
  server({}, true);
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
  observed_.Clear();
  both({{"www.shop.test", "A", "192.0.2.7"}});
  server({{"_atlas-verify.www.shop.test", "TXT", "atlas-verify=p1:token"}}, true);
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_READY);
}

TEST_F(Verdict, the_proof_of_another_claim_or_at_another_name_proves_nothing) {
  expected_.proof_required = true;
  both({{"www.shop.test", "A", "192.0.2.7"},
        {"_atlas-verify.www.shop.test", "TXT", "atlas-verify=p2:token"},
        {"_atlas-verify.shop.test", "TXT", "atlas-verify=p1:token"}});
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
}

TEST_F(Verdict, a_take_over_is_proved_before_the_domain_leads_here) {
  expected_.take_over_proof = "atlas-verify=p2:token";
  both({{"_atlas-verify.www.shop.test", "TXT", "atlas-verify=p2:token"}});
  EXPECT_TRUE(judged().take_over_proved);
  EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_PENDING);
}

struct CaaCase {
  std::string value;
  bool allowed;
};
TEST_F(Verdict, caa_records_that_forbid_the_ca_are_told) {
  expected_.caa_identities = {"ca.test", "ca-two.test"};
  for (const auto& [value, allowed] : std::vector<CaaCase>{{"0 issue \"ca.test\"", true},
                                                           {"0 issue \"ca-two.test; a=b\"", true},
                                                           {"0 iodef \"mailto:a@b\"", true},
                                                           {"0 issue \"other.test\"", false},
                                                           {"0 issue \";\"", false}}) {
    observed_.Clear();
    both({{"www.shop.test", "A", "192.0.2.7"}, {"shop.test", "CAA", value}});
    EXPECT_EQ(judged().caa_reason.empty(), allowed) << value << ": " << judged().caa_reason;
    EXPECT_EQ(judged().verdict, pb::DOMAIN_VERDICT_READY);
  }
  EXPECT_THAT(judged().caa_reason, HasSubstr("add CAA 0 issue \"ca.test\""));
  expected_.caa_identities.clear();
  EXPECT_THAT(judged().caa_reason, IsEmpty());
}

TEST(WantedRecords, an_apex_has_addresses_and_anything_else_a_cname_first) {
  DomainExpectation expected;
  expected.name = "shop.test";
  expected.target = "shop.apps.test";
  expected.addresses = {"192.0.2.7", "2001:db8::7"};
  expected.proof = "atlas-verify=p1:token";
  auto wanted = wanted_records(expected, true);
  ASSERT_EQ(wanted.routing.size(), 2U);
  EXPECT_EQ(wanted.routing[0].type, "A");
  EXPECT_EQ(wanted.routing[1].type, "AAAA");
  EXPECT_THAT(wanted.instead, IsEmpty());
  wanted = wanted_records(expected, false);
  ASSERT_EQ(wanted.routing.size(), 1U);
  EXPECT_EQ(wanted.routing[0].type, "CNAME");
  EXPECT_EQ(wanted.routing[0].value, "shop.apps.test");
  EXPECT_EQ(wanted.instead.size(), 2U);
  EXPECT_EQ(wanted.proof[0].name, "_atlas-verify.shop.test");
  // A server that knows no address of its own can ask for nothing else.
  expected.addresses.clear();
  EXPECT_EQ(wanted_records(expected, true).routing[0].type, "CNAME");
}

TEST(SameRecords, looks_at_what_was_said_and_not_by_whom) {
  pb::DnsObservation a;
  pb::DnsObservation b;
  const auto add = [](pb::DnsObservation& observed, const std::string& server,
                      const std::string& value) {
    auto* answers = observed.add_answers();
    answers->set_server(server);
    auto* record = answers->add_records();
    record->set_name("www.shop.test");
    record->set_type("A");
    record->set_value(value);
  };
  add(a, "192.0.2.1:53", "192.0.2.7");
  add(b, "192.0.2.2:53", "192.0.2.7");
  EXPECT_TRUE(same_records(a, b));
  add(b, "192.0.2.3:53", "192.0.2.8");
  EXPECT_FALSE(same_records(a, b));
}

}  // namespace
}  // namespace atlasflow
