#include "tests/sim/small_scenarios.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_s = 1'000'000;

Scenario quiet(std::string name, std::vector<Step> steps) {
  Scenario scenario;
  scenario.name = std::move(name);
  scenario.seed = 1;
  scenario.duration = steps.empty() ? k_s : steps.back().at + 15 * k_s;
  scenario.steps = std::move(steps);
  return scenario;
}

Step at(TimestampUs seconds, StepKind kind, int value = 0) {
  Step step;
  step.at = seconds * k_s;
  step.kind = kind;
  step.value = value;
  return step;
}

Step commit(TimestampUs seconds, AppKind app, StepKind kind = StepKind::push) {
  auto step = at(seconds, kind);
  step.app = app;
  return step;
}

// Of the second project, whose settings name a release command.
Step released(TimestampUs seconds, AppKind app) {
  auto step = commit(seconds, app);
  step.project = 1;
  return step;
}

Scenario of_two_projects(Scenario scenario) {
  scenario.projects = 2;
  return scenario;
}

}  // namespace

std::vector<Scenario> small_scenarios() {
  const auto first = at(2, StepKind::push);
  return {
      quiet("push", {first}),
      quiet("switch", {first, at(10, StepKind::push)}),
      quiet("rollback", {first, at(10, StepKind::push), at(20, StepKind::rollback)}),
      quiet("cancel", {commit(2, AppKind::slow_build), at(6, StepKind::cancel)}),
      quiet("preview", {first, at(3, StepKind::preview_push), at(12, StepKind::delete_branch)}),
      quiet("scale", {first, at(8, StepKind::scale, 2), at(16, StepKind::scale, 1)}),
      quiet("delete", {first, at(10, StepKind::delete_project)}),
      quiet("crash", {first, commit(10, AppKind::crashing)}),
      quiet("stop-start", {first, at(8, StepKind::stop_app), at(16, StepKind::start_app)}),
      of_two_projects(quiet("release", {released(2, AppKind::good)})),
      of_two_projects(quiet("bad-release", {released(2, AppKind::bad_release)})),
      quiet("no-build", {commit(2, AppKind::no_build)}),
      quiet("superseded",
            {commit(2, AppKind::slow_build), at(4, StepKind::push), at(5, StepKind::push)}),
  };
}

Scenario small_scenario(const std::string& name) {
  const auto all = small_scenarios();
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const auto& scenario) { return scenario.name == name; });
  ATLAS_ASSERT(found != all.end(), "there is no small scenario " + name);
  return *found;
}

}  // namespace atlasflow::sim
