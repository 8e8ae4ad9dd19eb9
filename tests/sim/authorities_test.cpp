// Two certificate authorities: while the first has a limit or is away, the second one issues, and
// names are ordered from one of both at a time, within the limits of each.
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/checkers/certificates.hpp"
#include "sim/run/run.hpp"
#include "sim/world/outside_domains.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::sim {
namespace {

using testing::HasSubstr;

constexpr TimestampUs k_s = 1'000'000;

Step step(StepKind kind, TimestampUs at, TimestampUs span = 0) {
  Step step;
  step.kind = kind;
  step.at = at;
  step.span = span;
  return step;
}

// One app with one domain; what befalls the first authority comes before.
Scenario scenario(int authorities, const Step& befalls, TimestampUs duration) {
  Scenario scenario;
  scenario.seed = 5;
  scenario.authorities = authorities;
  scenario.duration = duration;
  scenario.steps = {befalls, step(StepKind::push, 2 * k_s), step(StepKind::domain_right, 3 * k_s),
                    step(StepKind::add_domain, 4 * k_s)};
  return scenario;
}

// How many orders, and how many certificates, by the authorities' directories.
struct Ordered {
  std::map<std::string, int> orders;
  std::map<std::string, int> issued;
};
Ordered ordered_in(const RunReport& report) {
  Ordered ordered;
  std::map<StreamId, std::string> under_way;
  const auto log = storage::open_memory_event_log(report.log, "test");
  EXPECT_TRUE(log->read_all(Position{1}, [&](const storage::Record& record) {
    if (record.event.has_certificate_ordered()) {
      under_way[record.stream] = record.event.certificate_ordered().directory();
      ++ordered.orders[under_way[record.stream]];
    }
    if (record.event.has_certificate_issued()) ++ordered.issued[under_way[record.stream]];
    return true;
  }));
  return ordered;
}

Ordered ran(const Scenario& scenario) {
  Fibers fibers;
  const auto report = run(scenario, fibers);
  EXPECT_FALSE(report.violation.has_value())
      << report.violation->name << ": " << report.violation->sentence << "\n"
      << testing::PrintToString(report.story);
  return ordered_in(report);
}

TEST(Authorities, the_second_issues_and_renews_while_the_first_has_a_limit) {
  const auto ordered = ran(scenario(2, step(StepKind::ca_limits, k_s, 1200 * k_s), 1200 * k_s));
  EXPECT_EQ(ordered.orders.at(k_first_authority), 1);
  EXPECT_FALSE(ordered.issued.contains(k_first_authority));
  EXPECT_GE(ordered.issued.at(k_second_authority), 2);
}

TEST(Authorities, the_second_issues_when_the_first_has_been_away_three_times) {
  const auto ordered = ran(scenario(2, step(StepKind::ca_away, k_s, 3000 * k_s), 3000 * k_s));
  EXPECT_GE(ordered.orders.at(k_first_authority), 3);
  EXPECT_GE(ordered.issued.at(k_second_authority), 1);
}

TEST(Authorities, one_alone_is_waited_for) {
  const auto ordered = ran(scenario(1, step(StepKind::ca_limits, k_s, 600 * k_s), 600 * k_s));
  EXPECT_EQ(ordered.orders.at(k_first_authority), 1);
  EXPECT_TRUE(ordered.issued.empty());
}

TEST(Authorities, drawn_worlds_have_two_and_the_second_is_asked_in_some) {
  Fibers fibers;
  int worlds = 0;
  int issued_by_second = 0;
  for (std::uint64_t seed = 1; worlds < 25; ++seed) {
    ASSERT_LT(seed, 2'000U) << "too few worlds have two";
    auto drawn = drawn_scenario(seed);
    if (drawn.authorities != 2 || drawn.duration > 600 * k_s) continue;
    ++worlds;
    drawn.log = LogKind::memory;
    const auto report = run(drawn, fibers);
    ASSERT_FALSE(report.violation.has_value())
        << "seed " << seed << ": " << report.violation->name << ": " << report.violation->sentence;
    issued_by_second += ordered_in(report).issued.contains(k_second_authority) ? 1 : 0;
  }
  EXPECT_GT(issued_by_second, 0);
}

// ---- the oracle ----

class CertificateOracle : public testing::Test {
 protected:
  std::string take(pb::Event event) {
    storage::Record record;
    record.stream = StreamId("domain/www.shop.test");
    record.stream_version = StreamVersion{++version_};
    record.recorded_at = now_;
    record.event = std::move(event);
    return certificates_.take(record);
  }
  std::string order(const std::string& directory = k_first_authority) {
    pb::Event event;
    event.mutable_certificate_ordered()->set_directory(directory);
    return take(event);
  }
  std::string fail_order(pb::CertificateProblem problem, TimestampUs authority_retry_at = 0) {
    pb::Event event;
    event.mutable_certificate_failed()->set_problem(problem);
    event.mutable_certificate_failed()->set_authority_retry_at_us(authority_retry_at);
    return take(event);
  }

  Certificates certificates_;
  TimestampUs now_ = 1'800'000'000 * k_s;
  std::uint64_t version_ = 0;
};

TEST_F(CertificateOracle, an_order_before_the_time_that_its_authority_named_is_seen) {
  EXPECT_EQ(order(), "");
  EXPECT_EQ(fail_order(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, now_ + 7200 * k_s), "");
  now_ += 600 * k_s;
  EXPECT_EQ(order(k_second_authority), "") << "the other one has named none";
  EXPECT_EQ(fail_order(pb::CERTIFICATE_PROBLEM_UNAVAILABLE), "");
  EXPECT_THAT(order(), HasSubstr("asked to be left alone for 6600 s more"));
  now_ += 7000 * k_s;
  EXPECT_EQ(order(), "");
}

TEST_F(CertificateOracle, an_order_after_five_failed_validations_within_the_hour_is_seen) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(order(), "");
    EXPECT_EQ(fail_order(pb::CERTIFICATE_PROBLEM_VALIDATION), "");
    now_ += 60 * k_s;
  }
  EXPECT_THAT(order(), HasSubstr("after 5 failed validations within the hour"));
  EXPECT_EQ(order(k_second_authority), "");
  now_ += 3600 * k_s;
  EXPECT_EQ(order(), "");
}

TEST_F(CertificateOracle, an_order_that_reaches_another_authority_than_its_intent_says_is_seen) {
  World world;
  pb::Event added;
  added.mutable_domain_added()->set_project_name("app-0");
  EXPECT_EQ(take(added), "");
  EXPECT_EQ(order(k_second_authority), "");
  const EffectId effect("www.shop.test-v2");
  EXPECT_EQ(certificates_.wrong_order(world, "www.shop.test", effect, k_second_authority), "");
  EXPECT_THAT(certificates_.wrong_order(world, "www.shop.test", effect, k_first_authority),
              HasSubstr("its intent in the log names " + std::string(k_second_authority)));
}

}  // namespace
}  // namespace atlasflow::sim
