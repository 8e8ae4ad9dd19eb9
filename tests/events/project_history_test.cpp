// The order between a project's deployments, as claims: turns, overrides, previews, rollbacks.
#include "events/project_history.hpp"

#include <gmock/gmock.h>

#include "events/settings.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr TimestampUs k_now = 1'700'000'000'000'000;

class ProjectHistoryTest : public testing::Test {
 protected:
  ProjectHistoryTest() {
    history.project.id = ProjectId{"pabc2345"};
    history.project.settings = default_settings();
    history.project.settings.set_previews(true);
    history.project.settings.set_preview_limit(2);
    history.project.settings.set_preview_ttl_us(3600 * k_second_us);
    history.project.settings.set_supersede_after_us(600 * k_second_us);
    pb::Event created;
    created.mutable_project_created()->set_name("web");
    history.project.name = "web";
  }

  void record(const DeploymentId& id, const pb::Event& event) { evolve(history, id, event, now); }

  // What the deployment decides, as its actor would record it.
  void command(const std::string& name, const DeploymentCommand& command_for) {
    const DeploymentId id{name};
    DeploymentState fresh;
    fresh.id = id;
    const auto* known = history.find(id);
    const auto events =
        decide(known == nullptr ? fresh : *known, command_for, Moment{now, ++position, "x.test"});
    ASSERT_TRUE(events) << events.error().message;
    for (const auto& event : *events) record(id, event);
  }

  void push(const std::string& name, const std::string& environment = "production") {
    ReceivePush receive;
    receive.push.set_project_id("pabc2345");
    receive.push.set_project_name("web");
    receive.push.set_environment(environment);
    receive.push.set_after(std::string(40, 'a'));
    receive.push.set_trigger(pb::TRIGGER_WEBHOOK);
    *receive.push.mutable_settings() = history.project.settings;
    receive.push.set_settings_version(history.project.version.value());
    command(name, receive);
  }
  void set_env(const std::string& value) {
    pb::Event event;
    event.mutable_env_set()->set_name("MODE");
    event.mutable_env_set()->set_digest(value);
    evolve(history, event);
  }
  void crash(const std::string& name) {
    VmEnded ended;
    ended.exit.set_vm_id(history.find(DeploymentId{name})->first_instance()->vm_id().str());
    command(name, ended);
  }

  void outcome(const std::string& name, const std::function<void(pb::Event&)>& fill) {
    const auto* state = history.find(DeploymentId{name});
    ASSERT_NE(state, nullptr);
    Succeeded succeeded;
    fill(succeeded.outcome);
    if (state->intent) {
      succeeded.effect = state->intent->effect;
    } else if (!state->instances.empty()) {
      const auto& instance = state->instances.begin()->second;
      const bool named = succeeded.outcome.has_healthy() || succeeded.outcome.has_drained();
      succeeded.effect = named ? effect_of(instance.vm_id()) : instance.effect();
      if (succeeded.outcome.has_vm_started()) {
        succeeded.outcome.mutable_vm_started()->set_vm_id(instance.vm_id().str());
      }
      if (succeeded.outcome.has_vm_stopped()) {
        succeeded.outcome.mutable_vm_stopped()->set_vm_id(instance.vm_id().str());
      }
    }
    command(name, succeeded);
  }

  void go_live(const std::string& name, const std::string& image = "") {
    command(name, Start{});
    outcome(name, [](auto& e) { e.mutable_cloned(); });
    outcome(name, [](auto& e) { e.mutable_built()->set_image_id("sha256:1"); });
    outcome(name, [&](auto& e) {
      e.mutable_image_pushed()->set_reference(image.empty() ? "r/web@" + name : image);
    });
    start_vms(name);
  }
  void start_vms(const std::string& name) {
    outcome(name, [](auto& e) { e.mutable_vm_placed()->set_host("local"); });
    outcome(name, [](auto& e) { e.mutable_vm_started(); });
    outcome(name, [](auto& e) { e.mutable_healthy()->set_status(200); });
    outcome(name, [](auto& e) { e.mutable_routed(); });
  }
  void retire(const std::string& name) {
    command(name, Retire{Principal::system("project"), DeploymentId{"x"}, "newer"});
    outcome(name, [](auto& e) { e.mutable_drained(); });
    outcome(name, [](auto& e) { e.mutable_vm_stopped(); });
  }

  // "<deployment> <command>" of each.
  std::vector<std::string> told() {
    std::vector<std::string> lines;
    last = wishes(history, starting, now);
    for (const auto& [id, command_for] : last.tell) {
      std::string what = "?";
      if (std::holds_alternative<Start>(command_for)) what = "start";
      if (std::holds_alternative<Supersede>(command_for)) what = "supersede";
      if (std::holds_alternative<Override>(command_for)) what = "override";
      if (std::holds_alternative<Retire>(command_for)) what = "retire";
      if (std::holds_alternative<Cancel>(command_for)) what = "cancel";
      lines.push_back(id.str() + " " + what);
    }
    return lines;
  }

  ProjectHistory history;
  Starting starting;
  TimestampUs now = k_now;
  std::uint64_t position = 100;
  Wishes last;
};

TEST_F(ProjectHistoryTest, the_newest_queued_push_starts_and_the_older_are_superseded) {
  push("one");
  push("two");
  push("three");
  EXPECT_THAT(told(), ElementsAre("one supersede", "two supersede", "three start"));
}

// It was in the log and not known: its project's actor died, or the disk was full when it came.
TEST_F(ProjectHistoryTest, one_that_is_older_than_what_had_its_turn_is_superseded_by_it) {
  push("one");
  push("two");
  command("two", Start{});
  EXPECT_THAT(told(), ElementsAre("one supersede"));
  EXPECT_EQ(std::get<Supersede>(last.tell.front().command).by, DeploymentId{"two"});
  push("three");
  EXPECT_THAT(told(), ElementsAre("one supersede"));
  EXPECT_EQ(std::get<Supersede>(last.tell.front().command).by, DeploymentId{"three"});
}

TEST_F(ProjectHistoryTest, one_that_is_older_than_what_serves_does_not_replace_it) {
  push("one");
  push("two");
  go_live("two");
  EXPECT_THAT(told(), ElementsAre("one supersede"));
}

TEST_F(ProjectHistoryTest, one_that_is_older_than_what_failed_has_its_turn) {
  push("one");
  push("two");
  command("two", Start{});
  Failed ended;
  ended.effect = history.find(DeploymentId{"two"})->intent->effect;
  command("two", ended);
  EXPECT_THAT(told(), ElementsAre("one start"));
}

TEST_F(ProjectHistoryTest, nothing_else_starts_while_a_started_one_is_not_in_the_log_yet) {
  push("one");
  starting["production"] = DeploymentId{"one"};
  push("two");
  EXPECT_THAT(told(), ElementsAre("one start"));
}

TEST_F(ProjectHistoryTest, pain_5_a_running_build_is_let_finish_until_the_newer_push_waited_long) {
  push("one");
  command("one", Start{});
  push("two");
  EXPECT_THAT(told(), IsEmpty());
  ASSERT_TRUE(last.look_again);
  EXPECT_EQ(*last.look_again, now + 600 * k_second_us);
  now = *last.look_again;
  EXPECT_THAT(told(), ElementsAre("one override"));
}

TEST_F(ProjectHistoryTest, pain_5_a_stream_of_pushes_does_not_starve_production) {
  push("one");
  command("one", Start{});
  push("two");
  now += 600 * k_second_us;
  command("one", Override{DeploymentId{"two"}});
  Failed ended;
  ended.effect = history.find(DeploymentId{"one"})->intent->effect;
  ended.retryable = true;
  command("one", ended);
  EXPECT_THAT(told(), ElementsAre("two start"));
  command("two", Start{});
  push("three");
  now += 6000 * k_second_us;
  EXPECT_THAT(told(), IsEmpty()) << "what came out of an override is let finish";
}

TEST_F(ProjectHistoryTest, one_that_already_starts_its_vms_is_never_overridden) {
  push("one");
  command("one", Start{});
  outcome("one", [](auto& e) { e.mutable_cloned(); });
  outcome("one", [](auto& e) { e.mutable_built()->set_image_id("sha256:1"); });
  outcome("one", [](auto& e) { e.mutable_image_pushed()->set_reference("r/web@1"); });
  push("two");
  now += 6000 * k_second_us;
  EXPECT_THAT(told(), IsEmpty());
}

TEST_F(ProjectHistoryTest, a_rollback_does_not_wait_for_a_build) {
  push("one");
  go_live("one");
  push("two");
  go_live("two");
  retire("one");
  push("three");
  command("three", Start{});
  auto request = rollback_of(*history.find(DeploymentId{"one"}), Principal::user());
  ASSERT_TRUE(request);
  command("back", *request);
  EXPECT_THAT(told(), ElementsAre("three override"));
}

TEST_F(ProjectHistoryTest, pain_10_of_two_that_serve_the_older_claim_retires) {
  push("one");
  go_live("one");
  push("two");
  go_live("two");
  EXPECT_THAT(told(), ElementsAre("one retire"));
}

TEST_F(ProjectHistoryTest, a_quarantined_deployment_does_not_hold_the_turn) {
  push("one");
  command("one", Start{});
  history.quarantined.insert(DeploymentId{"one"});
  push("two");
  EXPECT_THAT(told(), ElementsAre("two start"));
}

TEST_F(ProjectHistoryTest, a_quarantined_deployment_that_was_told_to_start_does_not_hold_the_turn) {
  push("one");
  starting["production"] = DeploymentId{"one"};
  history.quarantined.insert(DeploymentId{"one"});
  push("two");
  EXPECT_THAT(told(), ElementsAre("two start"));
}

TEST_F(ProjectHistoryTest, environments_take_turns_apart) {
  push("one");
  push("topic", "preview/topic");
  EXPECT_THAT(told(), testing::UnorderedElementsAre("one start", "topic start"));
}

TEST_F(ProjectHistoryTest, pain_8_a_deleted_branch_ends_its_preview_and_what_builds_for_it) {
  push("topic", "preview/topic");
  go_live("topic");
  push("newer", "preview/topic");
  command("newer", Start{});
  pb::Event deleted;
  deleted.mutable_branch_deleted()->set_ref("refs/heads/topic");
  deleted.mutable_branch_deleted()->set_before(std::string(40, 'a'));
  evolve(history, deleted);
  EXPECT_THAT(told(), testing::UnorderedElementsAre("topic retire", "newer cancel"));
}

TEST_F(ProjectHistoryTest, what_ends_with_its_project_or_branch_was_asked_for_by_who_deleted_that) {
  const auto asked = [this] {
    std::vector<std::string> principals;
    for (const auto& [id, command_for] : (told(), last.tell)) {
      principals.push_back(asked_by(command_for).str());
    }
    return principals;
  };
  push("topic", "preview/topic");
  go_live("topic");
  push("newer", "preview/topic");
  command("newer", Start{});
  const auto before = history;
  for (const auto& [by, wanted] : std::vector<std::pair<std::string, std::string>>{
           {"webhook:github", "webhook:github"}, {"user", "user"}, {"", "webhook:github"}}) {
    history = before;
    pb::Event deleted;
    deleted.mutable_branch_deleted()->set_ref("refs/heads/topic");
    deleted.mutable_branch_deleted()->set_by(by);  // empty in the log of an older build
    evolve(history, deleted);
    EXPECT_THAT(asked(), ElementsAre(wanted, wanted)) << by;
  }
  for (const auto& [by, wanted] : std::vector<std::pair<std::string, std::string>>{
           {"user", "user"}, {"system:janitor", "system:janitor"}, {"", "user"}, {"?", "user"}}) {
    history = before;
    pb::Event deleted;
    deleted.mutable_project_deleted()->set_by(by);
    evolve(history, deleted);
    EXPECT_THAT(asked(), ElementsAre(wanted, wanted)) << by;
  }
}

TEST_F(ProjectHistoryTest, a_preview_ends_when_its_time_is_over_and_not_before) {
  push("topic", "preview/topic");
  go_live("topic");
  EXPECT_THAT(told(), IsEmpty());
  ASSERT_TRUE(last.look_again);
  now = *last.look_again;
  EXPECT_EQ(now - k_now, 3600 * k_second_us);
  EXPECT_THAT(told(), ElementsAre("topic retire"));
}

TEST_F(ProjectHistoryTest, previews_have_a_limit_that_a_branch_with_one_does_not_meet_again) {
  push("a1", "preview/a");
  push("b1", "preview/b");
  EXPECT_EQ(reason_against_preview(history, "preview/a"), "");
  EXPECT_THAT(reason_against_preview(history, "preview/c"), HasSubstr("2 previews"));
}

TEST_F(ProjectHistoryTest, rollback_targets_are_each_image_once_newest_first_without_the_live_one) {
  for (const auto* name : {"one", "two", "three", "four"}) {
    push(name);
    go_live(name, std::string(name) == "three" ? "r/web@one" : "");
    if (std::string(name) != "four") retire(name);
  }
  std::vector<std::string> ids;
  for (const auto* target : rollback_targets(history, 5)) ids.push_back(target->id.str());
  EXPECT_THAT(ids, ElementsAre("three", "two"));
  EXPECT_EQ(rollback_targets(history, 1).size(), 1U);
}

TEST_F(ProjectHistoryTest, a_change_of_variables_or_settings_alone_can_be_rolled_back) {
  push("one");
  go_live("one", "r/web@same");
  set_env("bad");
  push("two");
  go_live("two", "r/web@same");
  retire("one");
  auto targets = rollback_targets(history, 5);
  ASSERT_EQ(targets.size(), 1U) << "same commit, same image, other variables";
  EXPECT_EQ(targets[0]->id.str(), "one");
  history.project.settings.set_memory_mib(1024);
  push("three");
  go_live("three", "r/web@same");
  retire("two");
  targets = rollback_targets(history, 5);
  ASSERT_EQ(targets.size(), 2U);
  EXPECT_EQ(targets[0]->id.str(), "two");
}

TEST_F(ProjectHistoryTest, an_automatic_rollback_goes_to_the_good_one_with_the_same_image) {
  push("old");
  go_live("old");
  push("good");
  go_live("good", "r/web@same");
  retire("old");
  set_env("bad");
  push("bad");
  go_live("bad", "r/web@same");
  retire("good");
  crash("bad");
  static_cast<void>(told());
  ASSERT_EQ(last.roll_back.size(), 1U);
  EXPECT_EQ(last.roll_back[0].to.str(), "good") << "and not past it to an older commit";
}

TEST_F(ProjectHistoryTest, an_automatic_rollback_passes_over_what_crashed_itself) {
  push("good");
  go_live("good");
  push("bad");
  go_live("bad");
  retire("good");
  crash("bad");
  push("worse");
  go_live("worse");
  command("bad", Retire{Principal::system("project"), DeploymentId{"worse"},
                        "newer"});  // nothing of it drains any more
  outcome("bad", [](auto& e) { e.mutable_vm_stopped(); });
  crash("worse");
  static_cast<void>(told());
  ASSERT_EQ(last.roll_back.size(), 1U);
  EXPECT_EQ(last.roll_back[0].to.str(), "good");
}

// A restart, say: the version before it ran the very same and ran well.
TEST_F(ProjectHistoryTest, what_crashes_unchanged_does_not_bring_back_an_older_commit) {
  push("old");
  go_live("old");
  push("good");
  go_live("good", "r/web@same");
  retire("old");
  push("again");
  go_live("again", "r/web@same");
  retire("good");
  crash("again");
  static_cast<void>(told());
  EXPECT_THAT(last.roll_back, IsEmpty());
}

TEST_F(ProjectHistoryTest, a_new_version_that_crashes_soon_gives_traffic_back_once) {
  push("one");
  go_live("one");
  push("two");
  go_live("two");
  retire("one");
  VmEnded ended;
  ended.exit.set_vm_id(history.find(DeploymentId{"two"})->first_instance()->vm_id().str());
  command("two", ended);
  EXPECT_THAT(told(), IsEmpty());
  ASSERT_EQ(last.roll_back.size(), 1U);
  EXPECT_EQ(last.roll_back[0].from.str(), "two");
  EXPECT_EQ(last.roll_back[0].to.str(), "one");
  auto request = rollback_of(*history.find(DeploymentId{"one"}), Principal::system("project"),
                             "the automatic rollback");
  command("back", *request);
  static_cast<void>(told());
  EXPECT_THAT(last.roll_back, IsEmpty());
  // A rollback that crashes too is not rolled back again: two bad versions would take turns.
  command("back", Start{});
  start_vms("back");
  VmEnded again;
  again.exit.set_vm_id(history.find(DeploymentId{"back"})->first_instance()->vm_id().str());
  command("back", again);
  static_cast<void>(told());
  EXPECT_THAT(last.roll_back, IsEmpty());
}

TEST_F(ProjectHistoryTest, pain_21_a_rollback_restores_settings_and_environment_with_the_image) {
  push("one");
  go_live("one");
  push("two");
  go_live("two");
  retire("one");
  history.project.settings.set_memory_mib(64);
  history.project.version = StreamVersion{99};
  const auto request = rollback_of(*history.find(DeploymentId{"one"}), Principal::user());
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request.push().settings().memory_mib(), 512);
  EXPECT_NE(request->request.push().settings_version(), 99U);
  EXPECT_EQ(request->request.built().reference(), "r/web@one");
}

TEST_F(ProjectHistoryTest, a_redeployment_takes_settings_and_environment_of_now) {
  push("one");
  go_live("one");
  history.project.settings.set_memory_mib(64);
  history.project.version = StreamVersion{99};
  const auto request = redeployment_of(*history.find(DeploymentId{"one"}), history.project,
                                       pb::REDEPLOYMENT_REDEPLOY, Principal::user());
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request.push().settings().memory_mib(), 64);
  EXPECT_EQ(request->request.push().settings_version(), 99U);
  EXPECT_FALSE(request->request.has_built());
}

TEST_F(ProjectHistoryTest, a_promotion_brings_a_previews_image_into_production) {
  push("topic", "preview/topic");
  go_live("topic");
  const auto request = redeployment_of(*history.find(DeploymentId{"topic"}), history.project,
                                       pb::REDEPLOYMENT_PROMOTE, Principal::user());
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request.push().environment(), "production");
  EXPECT_EQ(request->request.built().reference(), "r/web@topic");
}

}  // namespace
}  // namespace atlasflow
