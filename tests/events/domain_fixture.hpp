// A domain under test: what happens to it is told as a command, and its time goes on as the test
// says.
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "events/domain.hpp"

namespace atlasflow {

constexpr TimestampUs k_start = 1'800'000'000'000'000;

class Domain : public testing::Test {
 protected:
  Domain() { state_.name = "www.shop.test"; }

  static std::string kind_of(const pb::Event& event) {
    return pb::Event::descriptor()
        ->FindFieldByNumber(static_cast<int>(event.kind_case()))
        ->message_type()
        ->name();
  }

  Result<std::vector<std::string>> tell(const DomainCommand& command) {
    ATLAS_TRY(const auto events, decide(state_, command, rules_, now_));
    std::vector<std::string> kinds;
    for (const auto& event : events) {
      EXPECT_EQ(violation(state_, event), "");
      evolve(state_, event, now_);
      kinds.push_back(kind_of(event));
    }
    last_ = events.empty() ? pb::Event{} : events.back();
    return kinds;
  }
  std::vector<std::string> kinds(const DomainCommand& command) {
    auto told = tell(command);
    EXPECT_TRUE(told) << to_string(told.error());
    return told.value_or(std::vector<std::string>{});
  }

  static AddDomain add(const std::string& project, bool take_over = false) {
    return {.project = ProjectId("id-" + project),
            .project_name = project,
            .display_name = "www.shop.test",
            .token = "token-" + project,
            .take_over = take_over,
            .parent_claimant = {},
            .by = Principal::user()};
  }
  static TakeLook look(pb::DomainVerdict verdict, const std::string& value = "192.0.2.7") {
    TakeLook look;
    auto* answers = look.observed.add_answers();
    answers->set_server("192.0.2.53:53");
    auto* record = answers->add_records();
    record->set_name("www.shop.test");
    record->set_type("A");
    record->set_value(value);
    look.judgement.verdict = verdict;
    if (verdict != pb::DOMAIN_VERDICT_READY) look.judgement.reason = "it leads to " + value;
    return look;
  }
  static TakeLook ready() { return look(pb::DOMAIN_VERDICT_READY); }
  static TakeLook missing() { return look(pb::DOMAIN_VERDICT_PENDING, "198.51.100.1"); }

  TakeIssued issued(const std::string& fingerprint, TimestampUs life) const {
    TakeIssued command;
    command.effect = state_.order ? state_.order->effect : EffectId("none");
    command.issued.set_fingerprint(fingerprint);
    command.issued.set_serial("01");
    command.issued.set_issuer("Test CA");
    command.issued.set_not_before_us(now_);
    command.issued.set_not_after_us(now_ + life);
    command.issued.add_names("www.shop.test");
    return command;
  }
  TakeFailed failed(pb::CertificateProblem problem, TimestampUs retry_at = 0) const {
    TakeFailed command;
    command.effect = state_.order ? state_.order->effect : EffectId("none");
    command.failed.set_problem(problem);
    command.failed.set_reason("the CA said no");
    command.failed.set_retry_at_us(retry_at);
    return command;
  }
  void become_active(TimestampUs life = 90 * k_day_us) {
    kinds(add("shop"));
    kinds(ready());
    kinds(issued("aa", life));
    kinds(TakeInstalled{"aa"});
    ASSERT_EQ(state_.status(), DomainStatus::active);
  }

  DomainState state_;
  DomainRules rules_{.directory = "https://ca.test/dir"};
  TimestampUs now_ = k_start;
  pb::Event last_;
};

}  // namespace atlasflow
