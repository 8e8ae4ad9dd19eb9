// Pushes that are for one project whatever their sender calls the repository, and those that only
// say that a branch is to be looked at.
#include <gmock/gmock.h>

#include "actors/runtime/branch_look.hpp"
#include "tests/actors/facade_fixture.hpp"

namespace atlasflow::actors {
namespace {

using Verdict = PushReceipt::Verdict;
using testing::HasSubstr;

std::string commit(char digit) { return std::string(40, digit); }

class ProjectPush : public actors_test::Facade {
 protected:
  PushReceipt take(Push push, const std::string& project = "web") {
    const auto receipts = plane->execute(Principal::webhook("git"),
                                         commands::TakeProjectPush{project, std::move(push)});
    EXPECT_TRUE(receipts) << (receipts ? "" : receipts.error().message);
    return receipts && receipts->size() == 1 ? receipts->front() : PushReceipt{};
  }
  // As `{}` does; its delivery is the same each time.
  PushReceipt look(const std::string& ref = "") {
    return take({.ref = ref, .delivery_id = "sha256:look", .only_news = true});
  }
  PushReceipt told(char before, char after, const std::string& delivery) {
    return take({.ref = "refs/heads/main",
                 .before = before == 0 ? "" : commit(before),
                 .after = commit(after),
                 .delivery_id = delivery,
                 .only_news = before == 0});
  }
  std::string commit_of(const PushReceipt& receipt) {
    const auto view = plane->catalog().deployment(receipt.deployment);
    return view ? view->state.push.after() : "";
  }
  void create(const std::string& branch = "main") {
    ASSERT_TRUE(as_user(
        commands::CreateProject{"web", "https://git.example/a/web.git", branch, std::nullopt}));
  }
  void set_head(const std::string& branch, char head) {
    const std::lock_guard guard(world.mutex);
    world.heads[branch] = head;
  }
};

TEST_F(ProjectPush, is_deployed_whatever_its_sender_calls_the_repository) {
  create();
  const auto receipt = told('a', 'b', "1");
  EXPECT_EQ(receipt.verdict, Verdict::deployed);
  EXPECT_EQ(commit_of(receipt), commit('b'));
  EXPECT_EQ(plane->catalog().deployment(receipt.deployment)->state.push.repository_url(),
            "https://git.example/a/web.git");
  EXPECT_EQ(plane
                ->execute(Principal::webhook("git"),
                          commands::TakeProjectPush{"nope", {.after = commit('b')}})
                .error()
                .code,
            ErrorCode::not_found);
}

TEST_F(ProjectPush, that_comes_again_is_the_same_one_and_a_late_one_goes_nowhere) {
  create();
  const auto first = told('a', 'b', "1");
  const auto again = told('a', 'b', "1");
  EXPECT_EQ(again.verdict, Verdict::duplicate);
  EXPECT_EQ(again.deployment, first.deployment);
  EXPECT_EQ(told('b', 'd', "2").verdict, Verdict::deployed);
  const auto late = told('9', 'b', "3");
  EXPECT_EQ(late.verdict, Verdict::ignored);
  EXPECT_THAT(late.reason, HasSubstr("replaced by a later push"));
}

TEST_F(ProjectPush, an_id_of_one_host_is_not_taken_for_githubs) {
  create();
  ASSERT_EQ(told('a', 'b', "1").verdict, Verdict::deployed);
  const Push push{.repository_urls = {"https://git.example/a/web.git"},
                  .ref = "refs/heads/main",
                  .before = commit('b'),
                  .after = commit('d'),
                  .delivery_id = "1"};
  const auto github = plane->execute(Principal::webhook("github"), commands::TakePush{push});
  ASSERT_TRUE(github);
  EXPECT_EQ(github->at(0).verdict, Verdict::deployed);
}

TEST_F(ProjectPush, a_commit_alone_is_news_once_and_again_after_another) {
  create();
  ASSERT_EQ(told(0, 'b', "1").verdict, Verdict::deployed);
  EXPECT_EQ(told(0, 'b', "1").verdict, Verdict::duplicate) << "the answer was lost, say";
  const auto known = told(0, 'b', "2");
  EXPECT_EQ(known.verdict, Verdict::ignored);
  EXPECT_THAT(known.reason, HasSubstr("is known"));
  EXPECT_EQ(told(0, 'd', "3").verdict, Verdict::deployed);
  EXPECT_EQ(told(0, 'b', "4").verdict, Verdict::deployed) << "back to the first one";
}

TEST_F(ProjectPush, a_commit_without_a_branch_is_one_of_the_projects_branch) {
  create();
  const auto receipt = take({.after = commit('b'), .delivery_id = "1", .only_news = true});
  EXPECT_EQ(receipt.verdict, Verdict::deployed);
  EXPECT_EQ(plane->catalog().deployment(receipt.deployment)->state.push.ref(), "refs/heads/main");
  ASSERT_TRUE(as_user(commands::CreateProject{"any", "https://git.example/b", "", std::nullopt}));
  const auto other = take({.after = commit('b'), .delivery_id = "1", .only_news = true}, "any");
  EXPECT_EQ(other.verdict, Verdict::deployed);
}

TEST_F(ProjectPush, tags_and_other_branches_are_ignored_with_the_reason) {
  create();
  for (const auto& [ref, reason] : std::vector<std::pair<const char*, const char*>>{
           {"refs/tags/v1", "tags are not deployed"},
           {"refs/heads/topic", "the project deploys 'main'"}}) {
    const auto receipt = take({.ref = ref, .after = commit('b'), .delivery_id = ref});
    EXPECT_EQ(receipt.verdict, Verdict::ignored);
    EXPECT_THAT(receipt.reason, HasSubstr(reason));
  }
  const auto looked = look("refs/heads/topic");
  EXPECT_EQ(looked.verdict, Verdict::ignored);
  EXPECT_THAT(looked.reason, HasSubstr("the project deploys 'main'"));
}

TEST_F(ProjectPush, a_look_deploys_the_branchs_head_and_each_head_once) {
  create();
  set_head("main", 'b');
  const auto first = look();
  EXPECT_EQ(first.verdict, Verdict::deployed);
  EXPECT_EQ(commit_of(first), commit('b'));
  EXPECT_EQ(look().verdict, Verdict::ignored) << "sent again by whoever has seen it";
  set_head("main", 'd');
  EXPECT_EQ(commit_of(look()), commit('d'));
  set_head("main", 'b');
  EXPECT_EQ(commit_of(look()), commit('b')) << "set back by force";
  EXPECT_EQ(look().verdict, Verdict::ignored);
}

TEST_F(ProjectPush, a_look_that_a_push_overtakes_does_not_bring_the_older_commit_back) {
  create();
  ASSERT_EQ(told('a', 'b', "1").verdict, Verdict::deployed);
  set_head("main", 'd');
  world.on_resolve = [&] {
    // The look has seen d; before it is recorded two pushes come.
    EXPECT_EQ(told('b', 'd', "2").verdict, Verdict::deployed);
    EXPECT_EQ(told('d', 'e', "3").verdict, Verdict::deployed);
  };
  const auto looked = look();
  EXPECT_EQ(looked.verdict, Verdict::ignored);
  EXPECT_THAT(looked.reason, HasSubstr("replaced by a later push"));
}

TEST_F(ProjectPush, a_project_without_a_branch_deploys_what_its_remote_has_as_default) {
  create("");
  set_head("main", 'b');
  EXPECT_EQ(commit_of(look()), commit('b'));
  const Push push{.ref = "refs/heads/main",
                  .before = commit('b'),
                  .after = commit('d'),
                  .delivery_id = "bitbucket does not tell it"};
  const auto told = take(push);
  EXPECT_EQ(told.verdict, Verdict::deployed);
  EXPECT_EQ(take(push).verdict, Verdict::duplicate);
  EXPECT_EQ(look("refs/heads/topic").verdict, Verdict::ignored);
}

TEST_F(ProjectPush, a_look_at_a_branch_with_previews_makes_one_of_each_head) {
  create();
  ASSERT_TRUE(as_user(commands::ChangeSettings{"web", {{"previews", "true"}}}));
  set_head("topic", 'b');
  const auto first = look("refs/heads/topic");
  EXPECT_EQ(first.verdict, Verdict::deployed);
  EXPECT_EQ(plane->catalog().deployment(first.deployment)->state.push.environment(),
            "preview/topic");
  EXPECT_EQ(look("refs/heads/topic").verdict, Verdict::ignored);
  set_head("topic", 'd');
  EXPECT_EQ(commit_of(look("refs/heads/topic")), commit('d'));
}

TEST_F(ProjectPush, a_look_at_two_branches_takes_no_longer_than_one) {
  create("");
  ASSERT_TRUE(as_user(commands::ChangeSettings{"web", {{"previews", "true"}}}));
  const auto project = plane->catalog().project_named("web")->state;
  constexpr std::chrono::milliseconds k_slow{20};
  world.on_resolve = [&] { std::this_thread::sleep_for(k_slow); };
  const auto look_within = [&](std::chrono::milliseconds at_most) {
    Push push{.ref = "refs/heads/topic"};
    world.resolved = 0;
    return look_at_branch(project, plane->catalog(), world, push, at_most);
  };
  EXPECT_TRUE(look_within(std::chrono::seconds(60)));
  EXPECT_EQ(world.resolved, 2) << "the default branch, and the one that was pushed";
  EXPECT_LE(world.resolved_within.load(), std::chrono::seconds(60) - k_slow);
  const auto late = look_within(std::chrono::seconds(1));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, ErrorCode::unavailable);
  EXPECT_EQ(world.resolved, 1);
}

TEST_F(ProjectPush, a_remote_that_does_not_answer_is_said_and_nothing_is_recorded) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/missing", "main", std::nullopt}));
  const auto position = plane->log().last_position();
  const auto looked = plane->execute(Principal::webhook("git"),
                                     commands::TakeProjectPush{"web", {.delivery_id = "1"}});
  ASSERT_FALSE(looked);
  EXPECT_EQ(looked.error().code, ErrorCode::not_found);
  EXPECT_EQ(plane->log().last_position(), position);
}

TEST(BranchLooks, are_one_at_a_time_of_a_project_and_nobody_waits_for_ever) {
  BranchLooks looks(std::chrono::milliseconds(30));
  auto first = looks.take("web");
  ASSERT_TRUE(first);
  EXPECT_TRUE(looks.take("another"));
  const auto second = looks.take("web");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
  {
    const auto moved = std::move(*first);
    EXPECT_FALSE(looks.take("web")) << "who has been moved from gives nothing back";
  }
  EXPECT_TRUE(looks.take("web"));
}

TEST(BranchLooks, of_remotes_that_hang_leave_connections_to_other_webhooks) {
  BranchLooks looks(std::chrono::milliseconds(30));
  std::vector<BranchLooks::Turn> hanging;
  for (int i = 0; i < 16; ++i) {
    auto turn = looks.take("web" + std::to_string(i));
    ASSERT_TRUE(turn);
    hanging.push_back(*std::move(turn));
  }
  const auto next = looks.take("another");
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, ErrorCode::unavailable);
  hanging.pop_back();
  EXPECT_TRUE(looks.take("another"));
}

TEST_F(ProjectPush, a_look_tells_the_default_branch_and_none_follows_where_it_is_known) {
  create("");
  const auto first = take({.ref = "refs/heads/main", .after = commit('b'), .delivery_id = "1"});
  EXPECT_EQ(first.verdict, Verdict::deployed);
  EXPECT_EQ(first.default_branch, "main");
  EXPECT_EQ(world.resolved, 1);
  const auto second = take({.default_branch = first.default_branch,
                            .ref = "refs/heads/other",
                            .after = commit('c'),
                            .delivery_id = "2"});
  EXPECT_EQ(second.verdict, Verdict::ignored);
  EXPECT_EQ(second.default_branch, "");
  EXPECT_EQ(world.resolved, 1);
}

}  // namespace
}  // namespace atlasflow::actors
