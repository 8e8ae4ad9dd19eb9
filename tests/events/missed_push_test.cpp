// A branch's head is compared with what is known: what was missed is told once it is sure.
#include "events/missed_push.hpp"

#include <gmock/gmock.h>

#include "events/settings.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;

const ProjectId k_web{"p1"};
constexpr std::int64_t k_pause = k_head_pause_s;

std::string commit(char digit) { return std::string(40, digit); }

KnownHead known(char digit, std::int64_t at_s = 10) {
  return {"refs/heads/main", commit(digit), at_s, false, {}};
}
SeenHead seen(char digit, std::int64_t at_s) { return {"refs/heads/main", commit(digit), at_s}; }

TEST(SeenHeads, a_head_that_is_known_is_not_missed) {
  SeenHeads heads;
  for (const std::int64_t at : {100, 1'000, 10'000}) {
    EXPECT_FALSE(heads.look(k_web, known('a'), seen('a', at)));
  }
  EXPECT_FALSE(heads.is_in_doubt());
}

TEST(SeenHeads, one_that_is_not_known_is_missed_once_it_was_there_for_a_while) {
  SeenHeads heads;
  EXPECT_FALSE(heads.look(k_web, known('a'), seen('b', 100)));
  EXPECT_TRUE(heads.is_in_doubt());
  EXPECT_FALSE(heads.look(k_web, known('a'), seen('b', 100 + k_pause - 1)));
  const auto missed = heads.look(k_web, known('a'), seen('b', 100 + k_pause));
  ASSERT_TRUE(missed);
  EXPECT_EQ(missed->before, commit('a'));
  EXPECT_EQ(missed->since_s, 100);
  EXPECT_TRUE(heads.look(k_web, known('a'), seen('b', 200 + k_pause))) << "it is not known yet";
  EXPECT_FALSE(heads.look(k_web, known('b', 100), seen('b', 300 + k_pause)));
  EXPECT_FALSE(heads.is_in_doubt());
}

// Its delivery was only late.
TEST(SeenHeads, one_that_is_told_of_in_between_is_not_missed) {
  SeenHeads heads;
  EXPECT_FALSE(heads.look(k_web, known('a'), seen('b', 100)));
  EXPECT_FALSE(heads.look(k_web, known('b', 99), seen('b', 500)));
  EXPECT_FALSE(heads.is_in_doubt());
}

// GitHub's answer was older than the delivery that it had sent already.
TEST(SeenHeads, an_answer_that_is_out_of_date_is_no_push_back) {
  SeenHeads heads;
  EXPECT_FALSE(heads.look(k_web, known('b', 98), seen('a', 100)));
  EXPECT_FALSE(heads.look(k_web, known('b', 98), seen('b', 103)));
  EXPECT_FALSE(heads.look(k_web, known('b', 98), seen('a', 104))) << "and once more";
  EXPECT_FALSE(heads.look(k_web, known('b', 98), seen('b', 1'000)));
}

TEST(SeenHeads, a_force_push_back_to_an_old_commit_is_missed_like_any_other) {
  SeenHeads heads;
  EXPECT_FALSE(heads.look(k_web, known('b', 50), seen('a', 100)));
  EXPECT_TRUE(heads.look(k_web, known('b', 50), seen('a', 100 + k_pause)));
}

TEST(SeenHeads, each_change_begins_the_wait_anew) {
  SeenHeads heads;
  EXPECT_FALSE(heads.look(k_web, known('a'), seen('b', 100)));
  EXPECT_FALSE(heads.look(k_web, known('a'), seen('c', 200))) << "another head";
  EXPECT_FALSE(heads.look(k_web, known('d', 150), seen('c', 300))) << "another push was told of";
  EXPECT_EQ(heads.look(k_web, known('d', 150), seen('c', 400))->since_s, 300);
}

TEST(SeenHeads, of_the_second_of_the_newest_push_nothing_is_concluded) {
  SeenHeads heads;
  EXPECT_FALSE(heads.look(k_web, known('a', 100), seen('b', 100)));
  EXPECT_FALSE(heads.is_in_doubt());
  EXPECT_FALSE(heads.look(k_web, known('a', 100), seen('b', 200)));
  EXPECT_EQ(heads.look(k_web, known('a', 100), seen('b', 300))->since_s, 200);
}

// Nobody has pushed since the project is there: what its branch had before, its owner deploys by
// hand or not at all.
TEST(SeenHeads, before_the_first_push_only_what_comes_after_the_first_look_counts) {
  SeenHeads heads;
  const KnownHead nothing;
  EXPECT_FALSE(heads.look(k_web, nothing, seen('a', 100)));
  EXPECT_FALSE(heads.look(k_web, nothing, seen('a', 1'000)));
  EXPECT_FALSE(heads.look(k_web, nothing, seen('b', 2'000)));
  const auto missed = heads.look(k_web, nothing, seen('b', 3'000));
  ASSERT_TRUE(missed);
  EXPECT_EQ(missed->before, "");
}

TEST(SeenHeads, another_branch_that_production_follows_now_is_a_beginning) {
  SeenHeads heads;
  const SeenHead trunk{"refs/heads/trunk", commit('b'), 100};
  EXPECT_FALSE(heads.look(k_web, known('a'), trunk));
  EXPECT_FALSE(heads.look(k_web, known('a'), {trunk.ref, trunk.commit, 1'000}));
  EXPECT_FALSE(heads.look(k_web, known('a'), {trunk.ref, commit('c'), 2'000}));
  EXPECT_EQ(heads.look(k_web, known('a'), {trunk.ref, commit('c'), 3'000})->before, commit('a'));
}

TEST(SeenHeads, what_somebody_deployed_by_hand_is_known) {
  SeenHeads heads;
  auto by_hand = known('a');
  by_hand.newest_commanded = {commit('b')};
  EXPECT_FALSE(heads.look(k_web, by_hand, seen('b', 100)));
  EXPECT_FALSE(heads.look(k_web, by_hand, seen('b', 1'000)));
  EXPECT_FALSE(heads.look(k_web, by_hand, seen('c', 2'000)));
  EXPECT_TRUE(heads.look(k_web, by_hand, seen('c', 3'000)));
}

TEST(SeenHeads, of_two_projects_each_has_its_own) {
  SeenHeads heads;
  const ProjectId other{"p2"};
  EXPECT_FALSE(heads.look(k_web, known('a'), seen('b', 100)));
  EXPECT_FALSE(heads.look(other, known('a'), seen('b', 150)));
  EXPECT_TRUE(heads.look(k_web, known('a'), seen('b', 170)));
  EXPECT_FALSE(heads.look(other, known('a'), seen('b', 170)));
  heads.lose_sight_of(k_web);
  EXPECT_FALSE(heads.look(k_web, known('a'), seen('b', 300)));
  EXPECT_TRUE(heads.look(other, known('a'), seen('b', 300)));
}

TEST(SeenHeads, projects_that_are_gone_are_in_no_doubt) {
  SeenHeads heads;
  EXPECT_FALSE(heads.look(k_web, known('a'), seen('b', 100)));
  heads.keep({k_web});
  EXPECT_TRUE(heads.is_in_doubt());
  heads.keep({ProjectId{"p2"}});
  EXPECT_FALSE(heads.is_in_doubt());
}

// ---- what is known ----

struct Made {
  std::vector<pb::PushReceived> pushes;

  Made& add(char after, pb::Trigger trigger, const std::string& environment = "production",
            std::int64_t inferred_at_s = 0) {
    auto& push = pushes.emplace_back();
    push.set_after(commit(after));
    push.set_ref("refs/heads/main");
    push.set_trigger(trigger);
    push.set_environment(environment);
    push.set_inferred_at_s(inferred_at_s);
    if (trigger == pb::TRIGGER_WEBHOOK && inferred_at_s == 0) push.set_pushed_at_s(70);
    return *this;
  }
  [[nodiscard]] KnownHead head(const std::string& environment = "production") const {
    KnownHeads heads;
    for (const auto& push : pushes) take_newer(heads, push);
    return heads[environment];
  }
};

TEST(KnownHead, is_the_newest_push_to_production) {
  EXPECT_EQ(Made{}.head().commit, "");
  Made made;
  made.add('a', pb::TRIGGER_WEBHOOK).add('b', pb::TRIGGER_WEBHOOK);
  made.add('c', pb::TRIGGER_WEBHOOK, "preview/topic");
  EXPECT_EQ(made.head().commit, commit('b'));
  EXPECT_EQ(made.head().ref, "refs/heads/main");
  EXPECT_EQ(made.head().at_s, 70);
  EXPECT_FALSE(made.head().inferred);
}

TEST(KnownHead, of_a_preview_is_that_branchs_own) {
  Made made;
  made.add('a', pb::TRIGGER_WEBHOOK, "preview/topic").add('b', pb::TRIGGER_WEBHOOK);
  EXPECT_EQ(made.head("preview/topic").commit, commit('a'));
}

TEST(KnownHead, is_none_of_a_pull_request) {
  Made made;
  made.add('a', pb::TRIGGER_WEBHOOK, "pull/7");
  made.pushes.back().mutable_pull_request()->set_number(7);
  EXPECT_EQ(made.head("pull/7").commit, "");
}

TEST(KnownHead, names_what_was_commanded_since) {
  Made made;
  made.add('a', pb::TRIGGER_COMMAND).add('b', pb::TRIGGER_WEBHOOK);
  made.add('c', pb::TRIGGER_COMMAND).add('d', pb::TRIGGER_COMMAND);
  EXPECT_EQ(made.head().commit, commit('b'));
  EXPECT_THAT(made.head().newest_commanded, ElementsAre(commit('c'), commit('d')));
}

// Without webhooks none of them is ever cleared away by a push.
TEST(KnownHead, names_the_newest_of_what_was_commanded_and_no_more) {
  KnownHeads heads;
  pb::PushReceived push;
  push.set_trigger(pb::TRIGGER_COMMAND);
  push.set_environment("production");
  const auto number = [](std::size_t i) { return std::to_string(1'000'000 + i); };
  for (std::size_t i = 0; i <= k_commanded_max; ++i) {
    push.set_after(number(i));
    take_newer(heads, push);
    push.set_after(number(1));  // again and again: it stays the newest
    take_newer(heads, push);
  }
  const auto& head = heads["production"];
  EXPECT_EQ(head.newest_commanded.size(), k_commanded_max);
  EXPECT_FALSE(is_known(head, number(0)));
  EXPECT_TRUE(is_known(head, number(1)));
  EXPECT_TRUE(is_known(head, number(2)));
  EXPECT_TRUE(is_known(head, number(k_commanded_max)));
}

TEST(KnownHead, of_one_that_was_found_the_time_is_when) {
  Made made;
  made.add('a', pb::TRIGGER_WEBHOOK).add('b', pb::TRIGGER_WEBHOOK, "production", 90);
  EXPECT_EQ(made.head().at_s, 90);
  EXPECT_TRUE(made.head().inferred);
}

TEST(InferredPush, speaks_for_its_project_alone_and_is_another_each_time_the_head_comes_there) {
  ProjectState project;
  project.name = "web";
  project.repository_url = "https://github.com/acme/web.git";
  project.repository_id = 7;
  project.settings = default_settings();
  const auto push = inferred_push(project, seen('b', 200), {commit('a'), 100});
  EXPECT_THAT(push.signed_for, ElementsAre("web"));
  EXPECT_EQ(push.before, commit('a'));
  EXPECT_EQ(push.inferred_at_s, 100);
  EXPECT_EQ(push.pushed_at_s, 0);
  EXPECT_EQ(target_of(project, push).environment, "production");
  const auto again = inferred_push(project, seen('b', 900), {commit('c'), 800});
  EXPECT_NE(push.delivery_id, again.delivery_id);
}

}  // namespace
}  // namespace atlasflow
