#include "events/push.hpp"

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>

#include "events/settings.hpp"

namespace atlasflow {
namespace {

using google::protobuf::util::MessageDifferencer;
using testing::HasSubstr;

ProjectState project(const std::string& branch = "") {
  ProjectState state;
  state.id = ProjectId{"p1"};
  state.version = StreamVersion{7};
  state.name = "web";
  state.repository_url = "https://example.test/acme/web";
  state.branch = branch;
  state.settings = default_settings();
  return state;
}

PushTarget target(const ProjectState& state, const std::string& ref, bool deleted = false) {
  return target_of(state, {.default_branch = "main", .ref = ref, .deleted = deleted});
}

pb::PullRequestHead pull_request() {
  pb::PullRequestHead head;
  head.set_number(7);
  head.set_updated_at_s(14);
  head.set_branch("topic");
  return head;
}

TEST(Push, only_those_to_the_projects_branch_are_deployed_and_the_reason_is_said) {
  EXPECT_EQ(target(project(), "refs/heads/main").environment, "production");
  EXPECT_THAT(target(project(), "refs/heads/topic").reason, HasSubstr("'topic' is not deployed"));
  EXPECT_THAT(target(project(), "refs/tags/v1").reason, HasSubstr("tags"));
  EXPECT_THAT(target(project(), "refs/notes/x").reason, HasSubstr("no branch"));
  EXPECT_THAT(target(project(), "refs/heads/main", true).reason, HasSubstr("deleted"));
  EXPECT_EQ(target(project("release/2"), "refs/heads/release/2").environment, "production");
  EXPECT_EQ(target(project("release/2"), "refs/heads/main").environment, "");
}

TEST(Push, another_branch_is_a_preview_where_the_project_has_them) {
  auto state = project();
  state.settings.set_previews(true);
  EXPECT_EQ(target(state, "refs/heads/topic").environment, "preview/topic");
  EXPECT_TRUE(target(state, "refs/heads/topic", true).ends_preview);
  EXPECT_EQ(target(state, "refs/heads/main").environment, "production");
}

TEST(Push, what_a_command_names_is_production_whatever_its_branch) {
  auto state = project("release");
  state.settings.set_previews(true);
  const Push command{.trigger = pb::TRIGGER_COMMAND, .ref = "refs/heads/topic"};
  EXPECT_EQ(target_of(state, command).environment, "production");
}

// Every field of the event is set, each to a value of its own: one that is forgotten or swapped
// differs.
TEST(Push, the_event_says_all_of_it_and_the_projects_settings) {
  const Push push{.trigger = pb::TRIGGER_COMMAND,
                  .default_branch = "main",
                  .ref = "refs/heads/main",
                  .before = "before",
                  .after = "after",
                  .forced = true,
                  .pushed_at_s = 12,
                  .inferred_at_s = 13,
                  .delivery_id = "delivery",
                  .pusher = "ada",
                  .no_cache = true,
                  .pull_request = PullRequestNews{.head = pull_request()}};
  pb::PushReceived wanted;
  *wanted.mutable_pull_request() = pull_request();
  wanted.set_project_id("p1");
  wanted.set_project_name("web");
  wanted.set_environment("production");
  wanted.set_repository_url("https://example.test/acme/web");
  wanted.set_ref("refs/heads/main");
  wanted.set_before("before");
  wanted.set_after("after");
  wanted.set_delivery_id("delivery");
  wanted.set_pusher("ada");
  wanted.set_trigger(pb::TRIGGER_COMMAND);
  wanted.set_settings_version(7);
  *wanted.mutable_settings() = default_settings();
  wanted.set_pushed_at_s(12);
  wanted.set_inferred_at_s(13);
  wanted.set_forced(true);
  wanted.set_no_cache(true);
  const auto made = push_received(push, project(), "production");
  EXPECT_TRUE(MessageDifferencer::Equals(made, wanted)) << made.ShortDebugString();
  const auto* type = pb::PushReceived::descriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    EXPECT_TRUE(made.GetReflection()->HasField(made, field)) << field->name();
  }
}

TEST(Push, what_makes_no_deployment_is_recorded_with_its_delivery) {
  const Push push{.ref = "refs/heads/x",
                  .before = "b",
                  .after = "a",
                  .delivery_id = "d",
                  .by = Principal::webhook("github")};
  EXPECT_EQ(push_ignored(push, "late").ShortDebugString(),
            R"(ref: "refs/heads/x" after: "a" delivery_id: "d" reason: "late")");
  EXPECT_EQ(branch_deleted(push).ShortDebugString(),
            R"(ref: "refs/heads/x" before: "b" delivery_id: "d" by: "webhook:github")");
}

TEST(Push, what_becomes_of_a_pull_request_without_a_deployment_says_of_which) {
  const Push push{.ref = "refs/pull/7/head",
                  .before = "b",
                  .after = "a",
                  .delivery_id = "d",
                  .pusher = "ada",
                  .by = Principal::webhook("github"),
                  .pull_request = PullRequestNews{.head = pull_request(), .merged = true}};
  const std::string of = R"(pull_request { number: 7 updated_at_s: 14 branch: "topic" })";
  EXPECT_EQ(pull_request_closed(push).ShortDebugString(),
            of + R"( head: "a" merged: true delivery_id: "d" by: "webhook:github")");
  EXPECT_EQ(pull_request_held(push).ShortDebugString(),
            of + R"( head: "a" before: "b" delivery_id: "d" pusher: "ada")");
  EXPECT_EQ(push_ignored(push, "late").ShortDebugString(),
            R"(ref: "refs/pull/7/head" after: "a" delivery_id: "d" reason: "late" )" + of);
}

}  // namespace
}  // namespace atlasflow
