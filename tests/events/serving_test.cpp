#include "events/serving.hpp"

#include <gmock/gmock.h>

namespace atlasflow {
namespace {

struct Production {
  std::vector<DeploymentState> states;

  void add(const std::string& id, DeploymentStatus status, std::uint64_t generation = 0,
           const std::string& environment = "production") {
    auto& state = states.emplace_back();
    state.id = DeploymentId{id};
    state.status = status;
    state.generation = generation;
    state.push.set_environment(environment);
  }
  std::string chosen(const DeploymentState* (*choose)(const DeploymentStates&)) const {
    DeploymentStates all;
    for (const auto& state : states) all.push_back(&state);
    const auto* found = choose(all);
    return found == nullptr ? "" : found->id.str();
  }
};

TEST(Serving, of_two_that_serve_the_newer_claim_has_the_hostname_whichever_was_made_first) {
  Production production;
  EXPECT_EQ(production.chosen(serving_production), "");
  production.add("back", DeploymentStatus::live, 9);
  production.add("made-later", DeploymentStatus::live, 7);
  EXPECT_EQ(production.chosen(serving_production), "back");
}

TEST(Serving, what_is_stopped_or_crashed_serves_and_what_is_under_way_or_retires_does_not) {
  for (const auto status : {DeploymentStatus::live, DeploymentStatus::restarting,
                            DeploymentStatus::crashed, DeploymentStatus::stopped}) {
    Production production;
    production.add("one", status, 5);
    production.add("routing", DeploymentStatus::routing, 6);
    production.add("retiring", DeploymentStatus::retiring, 7);
    production.add("preview", DeploymentStatus::live, 8, "preview/topic");
    EXPECT_EQ(production.chosen(serving_production), "one") << name_of(status);
  }
}

TEST(Serving, the_newest_of_production_is_the_one_made_last_whatever_became_of_it) {
  Production production;
  EXPECT_EQ(production.chosen(newest_of_production), "");
  production.add("preview", DeploymentStatus::live, 1, "preview/topic");
  EXPECT_EQ(production.chosen(newest_of_production), "");
  production.add("live", DeploymentStatus::live, 2);
  production.add("failed", DeploymentStatus::failed);
  production.add("preview2", DeploymentStatus::queued, 0, "preview/topic");
  EXPECT_EQ(production.chosen(newest_of_production), "failed");
}

TEST(Serving, a_redeployment_takes_what_serves_else_the_newest_also_one_that_failed) {
  Production production;
  production.add("failed", DeploymentStatus::failed);
  production.add("skipped", DeploymentStatus::skipped);
  EXPECT_EQ(production.chosen(redeployed_by_default), "skipped");
  production.states.clear();
  production.add("live", DeploymentStatus::crashed, 3);
  production.add("failed", DeploymentStatus::failed);
  EXPECT_EQ(production.chosen(redeployed_by_default), "live");
}

}  // namespace
}  // namespace atlasflow
