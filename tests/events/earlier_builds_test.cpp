// What is offered to a build in place of its work, and what never is.
#include "events/earlier_builds.hpp"

#include <gmock/gmock.h>

#include "events/deployment_events.hpp"
#include "events/project_history.hpp"
#include "tests/events/subject.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

pb::Built built(const std::string& inputs, const std::string& image,
                const std::string& reused_from = "") {
  pb::Built event;
  event.set_inputs(inputs);
  event.set_image_id(image);
  event.set_reused_from(reused_from);
  return event;
}

std::vector<std::string> deployments_of(const std::vector<pb::EarlierBuild>& builds) {
  std::vector<std::string> names;
  for (const auto& build : builds) names.push_back(build.deployment());
  return names;
}

TEST(EarlierBuilds, are_by_their_inputs_and_the_newest_wins) {
  std::vector<pb::EarlierBuild> builds;
  note_build(builds, DeploymentId{"one"}, built("a", "image-1"));
  note_build(builds, DeploymentId{"two"}, built("b", "image-2"));
  EXPECT_THAT(deployments_of(builds), ElementsAre("two", "one"));
  note_build(builds, DeploymentId{"three"}, built("a", "image-3"));
  EXPECT_THAT(deployments_of(builds), ElementsAre("three", "two"));
  EXPECT_EQ(same_build(builds, "a")->image_id(), "image-3");
  EXPECT_EQ(same_build(builds, "c"), nullptr);
}

TEST(EarlierBuilds, of_what_is_not_known_are_none_and_match_none) {
  std::vector<pb::EarlierBuild> builds;
  note_build(builds, DeploymentId{"old"}, built("", "image-1"));
  EXPECT_THAT(builds, IsEmpty());
  builds.emplace_back();
  EXPECT_EQ(same_build(builds, ""), nullptr);
}

TEST(EarlierBuilds, are_bounded_and_what_is_used_again_stays_longest) {
  std::vector<pb::EarlierBuild> builds;
  for (std::size_t i = 0; i < k_earlier_builds_max; ++i) {
    const auto name = std::to_string(i);
    note_build(builds, DeploymentId{name}, built(name, "image-" + name));
  }
  note_build(builds, DeploymentId{"again"}, built("0", "image-0", "0"));
  note_build(builds, DeploymentId{"new"}, built("new", "image-new"));
  EXPECT_THAT(builds, SizeIs(k_earlier_builds_max));
  EXPECT_THAT(deployments_of(builds).front(), "new");
  EXPECT_NE(same_build(builds, "0"), nullptr) << "by its first deployment, which has built it";
  EXPECT_EQ(same_build(builds, "0")->deployment(), "0");
  EXPECT_EQ(same_build(builds, "1"), nullptr);
}

// What follows of it for deployments, by a project's history.
class OfferedBuilds : public testing::Test {
 protected:
  void begin(const std::string& name, bool no_cache = false,
             const std::string& environment = "production", bool from_fork = false) {
    ReceivePush receive;
    receive.push.set_project_id("pabc2345");
    receive.push.set_environment(environment);
    if (from_fork) {
      auto& of = *receive.push.mutable_pull_request();
      of.set_from_fork(true);
      of.set_approved_by("user");
    }
    receive.push.set_after(std::string(40, 'a'));
    receive.push.set_no_cache(no_cache);
    command(name, receive);
    for (const auto& told : wishes(history, {}, 0).tell) {
      if (told.id.str() == name) command(name, told.command);
    }
  }
  void command(const std::string& name, const DeploymentCommand& command_for, TimestampUs now = 1) {
    const DeploymentId id{name};
    DeploymentState fresh;
    fresh.id = id;
    const auto* known = history.find(id);
    const auto events = decide(known == nullptr ? fresh : *known, command_for, Moment{now, 1, "x"});
    ASSERT_TRUE(events) << events.error().message;
    for (const auto& event : *events) {
      EXPECT_EQ(violation(known == nullptr ? fresh : *history.find(id), event), "");
      evolve(history, id, event, 1);
      known = history.find(id);
    }
  }
  void succeed(const std::string& name, const std::function<void(pb::Event&)>& fill) {
    Succeeded succeeded;
    succeeded.effect = history.find(DeploymentId{name})->intent->effect;
    fill(succeeded.outcome);
    command(name, succeeded);
  }
  void clone(const std::string& name) {
    succeed(name, [](auto& e) { e.mutable_cloned(); });
  }
  void build(const std::string& name, const pb::Built& outcome) {
    succeed(name, [&](auto& e) { *e.mutable_built() = outcome; });
  }
  void end(const std::string& name) {
    command(name, Cancel{Principal::user()});
    Failed failed;
    failed.effect = history.find(DeploymentId{name})->intent->effect;
    failed.retryable = true;
    command(name, failed);
  }
  std::vector<std::string> offered_to(const std::string& name) {
    return deployments_of(history.find(DeploymentId{name})->earlier);
  }

  ProjectHistory history;
};

TEST_F(OfferedBuilds, are_those_of_the_project_and_go_with_the_image_of_its_own) {
  begin("first");
  EXPECT_THAT(offered_to("first"), IsEmpty());
  clone("first");
  build("first", built("same", "sha256:1"));
  end("first");
  begin("second");
  EXPECT_THAT(offered_to("second"), ElementsAre("first"));
  Failed failed;
  failed.effect = history.find(DeploymentId{"second"})->intent->effect;
  failed.step = pb::STEP_CLONE;
  failed.retryable = true;
  command("second", failed);
  const auto retry = history.find(DeploymentId{"second"})->retry;
  ASSERT_TRUE(retry);
  command("second", TimerDue{retry->step, retry->attempt, 0}, retry->due);
  EXPECT_THAT(offered_to("second"), ElementsAre("first")) << "by its second attempt as well";
  clone("second");
  build("second", built("same", "sha256:1", "first"));
  EXPECT_THAT(offered_to("second"), IsEmpty());
  EXPECT_EQ(history.find(DeploymentId{"second"})->reused_from, "first");
}

TEST_F(OfferedBuilds, of_before_a_build_without_the_cache_are_none_whatever_becomes_of_that) {
  begin("first");
  clone("first");
  build("first", built("same", "sha256:1"));
  end("first");
  begin("anew", true);
  EXPECT_THAT(offered_to("anew"), IsEmpty());
  clone("anew");
  end("anew");  // without an image
  begin("next");
  EXPECT_THAT(offered_to("next"), IsEmpty());
}

// It began by what that build was to leave behind, and may end long after it.
TEST_F(OfferedBuilds, do_not_come_back_by_one_that_began_before_a_build_without_the_cache) {
  begin("slow", false, "preview/x");
  clone("slow");
  begin("anew", true);
  clone("anew");
  build("anew", built("same", "sha256:new"));
  build("slow", built("same", "sha256:old"));
  end("anew");
  begin("next");
  ASSERT_THAT(offered_to("next"), ElementsAre("anew"));
  EXPECT_EQ(history.find(DeploymentId{"next"})->earlier.front().image_id(), "sha256:new");
  EXPECT_THAT(history.building, IsEmpty());
}

// Its images lie in a store of their own.
TEST_F(OfferedBuilds, of_a_fork_are_none_for_others_and_others_none_for_it) {
  begin("first");
  clone("first");
  build("first", built("same", "sha256:1"));
  end("first");
  for (const bool no_cache : {false, true}) {
    const auto fork = no_cache ? "anew" : "fork";
    begin(fork, no_cache, std::string("pull/") + fork, true);
    EXPECT_THAT(offered_to(fork), IsEmpty());
    clone(fork);
    build(fork, built("same", "sha256:fork"));
  }
  begin("next");
  EXPECT_THAT(offered_to("next"), ElementsAre("first"));
}

TEST_F(OfferedBuilds, do_not_come_back_by_one_that_took_an_image_meanwhile) {
  std::vector<pb::EarlierBuild> builds;
  note_build(builds, DeploymentId{"preview"}, built("same", "sha256:1", "first"));
  EXPECT_THAT(builds, IsEmpty());
}

TEST(Violation, an_image_is_taken_only_as_it_was_offered) {
  Subject subject;
  Start start;
  auto& offer = start.earlier.emplace_back();
  offer.set_deployment("dolder22");
  offer.set_inputs("same");
  offer.set_image_id("sha256:1");
  subject.apply(start);
  subject.clone();
  const auto why = [&](const pb::Built& event) {
    pb::Event outcome;
    *outcome.mutable_built() = event;
    return violation(subject.state, outcome);
  };
  EXPECT_EQ(why(built("same", "sha256:1", "dolder22")), "");
  EXPECT_EQ(why(built("other", "sha256:2")), "");
  for (const auto& wrong :
       {built("other", "sha256:1", "dolder22"), built("same", "sha256:2", "dolder22"),
        built("same", "sha256:1", "dother22"), built("", "sha256:1", "dolder22")}) {
    EXPECT_EQ(why(wrong), "it took an image that it was not offered");
  }
}

}  // namespace
}  // namespace atlasflow
