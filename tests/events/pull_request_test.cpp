// Pull requests as claims: deliveries in any order and more than once come to what GitHub has, a
// closed one serves nothing, and a fork's commit waits for somebody.
#include "events/pull_request.hpp"

#include <algorithm>
#include <random>
#include <set>

#include <gmock/gmock.h>

#include "events/deployment_events.hpp"
#include "events/environment.hpp"
#include "events/project_history.hpp"
#include "events/reuse.hpp"
#include "events/settings.hpp"

namespace atlasflow {
namespace {

using Kind = PullRequestVerdict::Kind;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr TimestampUs k_now = 1'700'000'000'000'000;

std::string sha(int number) {
  auto digits = std::to_string(number);
  return std::string(40 - digits.size(), 'a') + digits;
}

struct Told {
  int head = 1;
  std::int64_t at_s = 100;
  int before = 0;  // 0: not told
  bool open = true;
  bool first = false;
  bool fork = false;
  std::int64_t number = 7;
};

Push delivery(const Told& told) {
  Push push;
  push.ref = "refs/pull/" + std::to_string(told.number) + "/head";
  push.after = sha(told.head);
  if (told.before != 0) push.before = sha(told.before);
  push.pusher = "ada";
  push.by = Principal::webhook("github");
  push.delivery_id = "d-" + std::to_string(told.at_s) + "-" + std::to_string(told.head);
  push.pull_request = PullRequestNews{.is_open = told.open, .is_first = told.first};
  auto& head = push.pull_request->head;
  head.set_number(told.number);
  head.set_updated_at_s(told.at_s);
  head.set_repository(told.fork ? "mallory/web" : "octo/web");
  head.set_branch("topic");
  head.set_from_fork(told.fork);
  return push;
}

Told opened(int head, std::int64_t at_s) { return {.head = head, .at_s = at_s, .first = true}; }
Told pushed(int before, int head, std::int64_t at_s) {
  return {.head = head, .at_s = at_s, .before = before};
}
Told reopened(int head, std::int64_t at_s) { return {.head = head, .at_s = at_s}; }
Told closed(int head, std::int64_t at_s) { return {.head = head, .at_s = at_s, .open = false}; }
Told of_fork(Told told) {
  told.fork = true;
  return told;
}

// A project that records what the verdicts say, as its actor does.
class PullRequest : public testing::Test {
 protected:
  PullRequest() {
    history.project.id = ProjectId{"pabc2345"};
    history.project.name = "web";
    history.project.version = StreamVersion{3};
    history.project.settings = default_settings();
    history.project.settings.set_pull_requests(true);
    history.project.settings.set_pull_requests_from_forks(true);
  }

  Kind tell(const Told& told) {
    const auto push = delivery(told);
    const auto verdict = judge(history, push);
    reason = verdict.reason;
    pb::Event event;
    switch (verdict.kind) {
      case Kind::unwanted:
        return verdict.kind;
      case Kind::ignored:
        *event.mutable_push_ignored() = push_ignored(push, verdict.reason);
        break;
      case Kind::closes:
        *event.mutable_pull_request_closed() = pull_request_closed(push);
        break;
      case Kind::held:
        *event.mutable_pull_request_held() = pull_request_held(push);
        break;
      case Kind::deploys: {
        auto received = push_received(push, history.project, pull_request_environment(told.number));
        received.mutable_pull_request()->set_approved_by(verdict.approved_by);
        deploy(received);
        return verdict.kind;
      }
    }
    evolve(history, event);
    return verdict.kind;
  }

  void deploy(const pb::PushReceived& received) {
    const DeploymentId id{"d" + std::to_string(++made)};
    command(id, ReceivePush{received, Principal::webhook("github")});
    commits.push_back(received.after());
  }
  void command(const DeploymentId& id, const DeploymentCommand& command_for) {
    const auto* known = history.find(id);
    DeploymentState fresh;
    fresh.id = id;
    const auto events =
        decide(known == nullptr ? fresh : *known, command_for, Moment{k_now, ++position, "x.test"});
    ASSERT_TRUE(events) << events.error().message;
    for (const auto& event : *events) evolve(history, id, event, k_now);
  }
  // Does what the project wishes until it wishes nothing.
  void settle() {
    for (int i = 0; i < 10; ++i) {
      const auto wanted = wishes(history, {}, k_now);
      if (wanted.tell.empty()) return;
      for (const auto& [id, command_for] : wanted.tell) command(id, command_for);
    }
  }
  // Of the commit that waits, unless another is named.
  Result<pb::PushReceived> approve(const std::string& commit = "") {
    const auto& all = history.project.awaiting_approval;
    const auto held = all.find(7);
    const auto waiting = held == all.end() ? sha(1) : held->second.head();
    auto received =
        approved(history, {7, commit.empty() ? waiting : commit, "c" + std::to_string(++approvals)},
                 Principal::user());
    if (received) deploy(*received);
    return received;
  }
  [[nodiscard]] const PullRequestState& known() const { return history.pull_requests.at(7); }

  ProjectHistory history;
  std::string reason;
  std::vector<std::string> commits;  // of the deployments, as they were made
  int made = 0;
  int approvals = 0;
  std::uint64_t position = 0;
};

TEST_F(PullRequest, has_a_deployment_in_an_environment_and_under_a_hostname_of_its_own) {
  EXPECT_EQ(tell(opened(1, 100)), Kind::deploys);
  const auto* state = history.find(DeploymentId{"d1"});
  ASSERT_NE(state, nullptr);
  EXPECT_EQ(state->push.environment(), "pull/7");
  EXPECT_EQ(state->push.ref(), "refs/pull/7/head");
  EXPECT_TRUE(is_preview("pull/7"));
  EXPECT_EQ(hostnames_of(*state, "x.test").front(), "pr-7-web.x.test");
}

TEST_F(PullRequest, is_one_deployment_however_often_its_head_is_told_of_within_a_second) {
  EXPECT_EQ(tell(opened(1, 100)), Kind::deploys);
  EXPECT_EQ(tell(reopened(1, 100)), Kind::ignored);
  EXPECT_EQ(tell(opened(1, 100)), Kind::ignored);
  EXPECT_EQ(tell(pushed(9, 1, 101)), Kind::ignored);
  EXPECT_THAT(reason, HasSubstr("is known"));
  EXPECT_EQ(commits.size(), 1U);
}

TEST_F(PullRequest, an_older_push_after_a_newer_one_is_late) {
  tell(opened(1, 100));
  EXPECT_EQ(tell(pushed(2, 3, 120)), Kind::deploys);
  EXPECT_EQ(tell(pushed(1, 2, 110)), Kind::ignored);
  EXPECT_THAT(reason, HasSubstr("late"));
  EXPECT_EQ(known().head, sha(3));
}

TEST_F(PullRequest, within_one_second_heads_tell_which_came_first) {
  EXPECT_EQ(tell(pushed(1, 2, 100)), Kind::deploys);
  EXPECT_EQ(tell(opened(1, 100)), Kind::ignored);
  EXPECT_EQ(tell(pushed(2, 3, 100)), Kind::deploys);
  EXPECT_EQ(tell(pushed(1, 2, 100)), Kind::ignored);
  EXPECT_EQ(known().head, sha(3));
}

TEST_F(PullRequest, a_closing_ends_what_is_queued_and_no_late_delivery_brings_it_back) {
  tell(opened(1, 100));
  EXPECT_EQ(tell(closed(1, 110)), Kind::closes);
  settle();
  EXPECT_THAT(history.environments.at("pull/7").deployments, IsEmpty());
  EXPECT_EQ(tell(pushed(1, 2, 105)), Kind::ignored);
  EXPECT_EQ(tell(opened(1, 100)), Kind::ignored);
  EXPECT_EQ(tell(closed(1, 110)), Kind::ignored);
  EXPECT_EQ(commits.size(), 1U);
}

TEST_F(PullRequest, a_build_that_ends_after_the_closing_is_cancelled_and_never_routed) {
  tell(opened(1, 100));
  settle();
  const DeploymentId id{"d1"};
  ASSERT_TRUE(is_under_way(history.find(id)->status));
  tell(closed(1, 110));
  settle();
  EXPECT_EQ(history.find(id)->status, DeploymentStatus::cancelling);
  Succeeded late{history.find(id)->intent->effect, {}};
  late.outcome.mutable_cloned()->set_sha(sha(1));
  command(id, late);
  EXPECT_EQ(history.find(id), nullptr) << "it has ended, and had never been live";
}

TEST_F(PullRequest, a_closing_that_comes_first_is_known_when_the_opening_comes) {
  EXPECT_EQ(tell(closed(1, 110)), Kind::closes);
  EXPECT_EQ(tell(opened(1, 100)), Kind::ignored);
  EXPECT_THAT(commits, IsEmpty());
}

TEST_F(PullRequest, within_one_second_a_closing_wins_in_either_order) {
  tell(opened(1, 100));
  EXPECT_EQ(tell(closed(1, 100)), Kind::closes);
  EXPECT_EQ(tell(reopened(1, 100)), Kind::ignored);
  EXPECT_TRUE(known().closed);
}

TEST_F(PullRequest, opened_again_deploys_the_same_head_once_more) {
  tell(opened(1, 100));
  tell(closed(1, 110));
  settle();
  EXPECT_EQ(tell(reopened(1, 120)), Kind::deploys);
  EXPECT_EQ(tell(closed(1, 110)), Kind::ignored) << "the closing comes once more";
  settle();
  EXPECT_EQ(history.environments.at("pull/7").deployments.size(), 1U);
}

// Its closing was never delivered: that must not close what was opened again.
TEST_F(PullRequest, a_closing_that_comes_after_the_opening_that_followed_it_is_late) {
  tell(opened(1, 100));
  EXPECT_EQ(tell(reopened(1, 120)), Kind::ignored);
  EXPECT_EQ(tell(closed(1, 110)), Kind::ignored);
  EXPECT_FALSE(known().closed);
}

TEST_F(PullRequest, is_not_recorded_where_the_project_has_no_such_previews) {
  history.project.settings.set_pull_requests(false);
  EXPECT_EQ(tell(opened(1, 100)), Kind::unwanted);
  EXPECT_THAT(reason, HasSubstr("atlasflow project set web pull_requests=true"));
  EXPECT_THAT(history.pull_requests, IsEmpty());
}

TEST_F(PullRequest, ends_also_when_the_setting_was_turned_off_meanwhile) {
  tell(opened(1, 100));
  history.project.settings.set_pull_requests(false);
  EXPECT_EQ(tell(pushed(1, 2, 105)), Kind::ignored);
  EXPECT_EQ(tell(closed(2, 110)), Kind::closes);
}

TEST_F(PullRequest, counts_against_the_limit_of_previews_and_is_told_so) {
  history.project.settings.set_preview_limit(1);
  tell(opened(1, 100));
  auto other = opened(5, 101);
  other.number = 8;
  EXPECT_EQ(tell(other), Kind::ignored);
  EXPECT_THAT(reason, HasSubstr("close a pull request"));
}

// ---- forks ----

TEST_F(PullRequest, of_a_fork_waits_for_an_approval_of_each_of_its_heads) {
  EXPECT_EQ(tell(of_fork(opened(1, 100))), Kind::held);
  EXPECT_THAT(commits, IsEmpty());
  ASSERT_TRUE(approve(sha(1)));
  EXPECT_EQ(history.find(DeploymentId{"d1"})->push.pull_request().approved_by(), "user");
  EXPECT_EQ(tell(of_fork(pushed(1, 2, 110))), Kind::held);
  EXPECT_EQ(commits.size(), 1U);
  ASSERT_TRUE(approve());
  EXPECT_EQ(commits.back(), sha(2));
}

TEST_F(PullRequest, an_approval_is_of_the_commit_that_was_looked_at) {
  tell(of_fork(opened(1, 100)));
  tell(of_fork(pushed(1, 2, 110)));
  const auto refused = approve(sha(1));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr(sha(2)));
}

// Its first answer was lost, say.
TEST_F(PullRequest, an_approval_that_is_said_again_is_the_same_one) {
  tell(of_fork(opened(1, 100)));
  ASSERT_TRUE(approve());
  const auto again = approved(history, {7, sha(1), "c1"}, Principal::user());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->delivery_id(), "c1");
  EXPECT_EQ(again->after(), sha(1));
  EXPECT_FALSE(approved(history, {7, sha(1), "c2"}, Principal::user()));
}

// Heads that gave way hours ago say nothing of the order within a second of now.
TEST_F(PullRequest, a_force_push_back_to_an_old_head_within_a_second_is_no_late_one) {
  tell(opened(1, 100));
  tell(pushed(1, 2, 110));
  tell(pushed(2, 3, 120));
  EXPECT_EQ(tell(pushed(3, 1, 120)), Kind::deploys);
  EXPECT_EQ(commits.back(), sha(1));
  EXPECT_EQ(tell(pushed(2, 3, 120)), Kind::ignored) << "that came twice";
  EXPECT_LE(known().replaced.size(), 3U);
}

TEST_F(PullRequest, an_approval_of_nothing_is_refused_with_what_to_do) {
  EXPECT_EQ(approve().error().code, ErrorCode::not_found);
  tell(opened(1, 100));
  EXPECT_EQ(approve().error().code, ErrorCode::not_found) << "it is of the repository's own";
  tell(of_fork(pushed(1, 2, 110)));
  ASSERT_TRUE(approve());
  EXPECT_THAT(approve(sha(2)).error().message, HasSubstr("is deployed already"));
  tell(closed(2, 120));
  EXPECT_EQ(approve(sha(2)).error().code, ErrorCode::not_found);
}

TEST_F(PullRequest, waits_no_more_once_any_commit_of_it_is_deployed) {
  const auto& waiting = history.project.awaiting_approval;
  tell(of_fork(opened(1, 100)));
  EXPECT_EQ(waiting.at(7).head(), sha(1));
  ASSERT_TRUE(approve());
  EXPECT_THAT(waiting, IsEmpty());
  tell(of_fork(pushed(1, 2, 110)));
  EXPECT_EQ(waiting.at(7).head(), sha(2));
  EXPECT_EQ(tell(of_fork(pushed(2, 1, 120))), Kind::deploys) << "that one is approved";
  EXPECT_THAT(waiting, IsEmpty()) << "the fork took the other one back";
  tell(of_fork(pushed(1, 2, 130)));
  ASSERT_TRUE(approve());
  EXPECT_EQ(tell(of_fork(pushed(2, 1, 140))), Kind::held) << "the newest approval counts";
  EXPECT_EQ(waiting.at(7).head(), sha(1)) << "though it was deployed once";
}

TEST_F(PullRequest, no_more_than_a_hundred_wait_and_the_oldest_gives_way) {
  const auto& waiting = history.project.awaiting_approval;
  const auto told = [](std::int64_t number, std::int64_t at_s) {
    auto one = of_fork(opened(1, at_s));
    one.number = number;
    return one;
  };
  for (std::int64_t i = 1; i <= 100; ++i) tell(told(i, 1'000 - i));
  EXPECT_EQ(waiting.size(), 100U);
  tell(told(101, 5));
  EXPECT_EQ(waiting.size(), k_awaiting_approval_max);
  EXPECT_TRUE(waiting.contains(101)) << "what comes is news";
  EXPECT_FALSE(waiting.contains(100)) << "that had changed longest ago";
  auto again = told(100, 2'000);
  again.head = 2;
  EXPECT_EQ(tell(again), Kind::held);
  EXPECT_TRUE(waiting.contains(100));
  EXPECT_EQ(waiting.size(), k_awaiting_approval_max);
}

TEST_F(PullRequest, of_a_fork_is_nothing_at_all_unless_the_project_wants_it) {
  history.project.settings.set_pull_requests_from_forks(false);
  EXPECT_EQ(tell(of_fork(opened(1, 100))), Kind::ignored);
  EXPECT_EQ(approve().error().code, ErrorCode::not_found);
}

TEST_F(PullRequest, of_a_fork_that_waited_is_refused_once_the_project_wants_none) {
  tell(of_fork(opened(1, 100)));
  history.project.settings.set_pull_requests_from_forks(false);
  EXPECT_THAT(approve().error().message, HasSubstr("pull_requests_from_forks=true"));
}

TEST_F(PullRequest, an_approved_head_needs_no_other_approval_when_it_is_opened_again) {
  tell(of_fork(opened(1, 100)));
  ASSERT_TRUE(approve());
  tell(of_fork(closed(1, 110)));
  settle();
  EXPECT_EQ(tell(of_fork(reopened(1, 120))), Kind::deploys);
  EXPECT_EQ(history.find(DeploymentId{"d2"})->push.pull_request().approved_by(), "user");
}

TEST_F(PullRequest, of_a_fork_never_begins_without_an_approval_nor_outside_of_its_preview) {
  auto received = push_received(delivery(of_fork(opened(1, 100))), history.project, "pull/7");
  pb::Event event;
  *event.mutable_push_received() = received;
  EXPECT_THAT(violation(DeploymentState{}, event), HasSubstr("nobody approved"));
  event.mutable_push_received()->mutable_pull_request()->set_approved_by("user");
  EXPECT_THAT(violation(DeploymentState{}, event), IsEmpty());
  event.mutable_push_received()->set_environment("production");
  EXPECT_THAT(violation(DeploymentState{}, event), HasSubstr("another pull request"));
  event.mutable_push_received()->set_environment("pull/8");
  EXPECT_THAT(violation(DeploymentState{}, event), HasSubstr("another pull request"));
}

TEST_F(PullRequest, of_a_fork_is_not_promoted_into_production) {
  tell(of_fork(opened(1, 100)));
  ASSERT_TRUE(approve());
  const auto* of = history.find(DeploymentId{"d1"});
  const auto promoted = decide(
      history, Reuse{.kind = ReuseKind::promote, .of = std::make_shared<DeploymentState>(*of)},
      Principal::user(), 5);
  ASSERT_FALSE(promoted);
  EXPECT_THAT(promoted.error().message, HasSubstr("fork"));
}

// ---- in any order ----

// What GitHub did, one change a second, and the deliveries shuffled, some of them twice.
TEST_F(PullRequest, deliveries_in_any_order_and_doubled_come_to_what_github_has) {
  for (unsigned seed = 0; seed < 500; ++seed) {
    std::mt19937 random(seed);
    std::vector<Told> truth;
    int head = 1;
    int heads = 1;
    bool open = true;
    truth.push_back(opened(1, 100));
    for (std::int64_t at = 101; at < 112; ++at) {
      if (!open) {
        truth.push_back(reopened(head, at));
        open = true;
      } else if (random() % 3 == 0) {
        truth.push_back(closed(head, at));
        open = false;
      } else {
        truth.push_back(pushed(head, ++heads, at));
        head = heads;
      }
    }
    auto arriving = truth;
    for (const auto& told : truth) {
      if (random() % 3 == 0) arriving.push_back(told);
    }
    std::shuffle(arriving.begin(), arriving.end(), random);
    PullRequest::history = {};
    history.project.id = ProjectId{"pabc2345"};
    history.project.name = "web";
    history.project.settings = default_settings();
    history.project.settings.set_pull_requests(true);
    commits.clear();
    for (const auto& told : arriving) {
      tell(told);
      settle();
    }
    ASSERT_EQ(known().closed, !open) << "seed " << seed;
    if (!open) {
      for (const auto& [id, state] : history.environments["pull/7"].deployments) {
        // Its clone was begun, and is awaited.
        ASSERT_EQ(state.status, DeploymentStatus::cancelling) << "seed " << seed;
      }
      continue;
    }
    ASSERT_EQ(known().head, sha(head)) << "seed " << seed;
    ASSERT_EQ(commits.back(), sha(head)) << "seed " << seed;
  }
}

TEST(PullRequestLabel, no_project_may_be_named_like_one) {
  EXPECT_TRUE(is_pull_request_label("pr-7-web"));
  EXPECT_TRUE(is_pull_request_label("pr-07-x"));
  for (const char* name : {"pr-web", "pr-7", "pr-7x-web", "web-pr-7-x", "pr--7", "print-7-x"}) {
    EXPECT_FALSE(is_pull_request_label(name)) << name;
  }
  CreateProject create{.name = "pr-7-web",
                       .repository_url = "/srv/x.git",
                       .branch = "",
                       .webhook_secret_ref = "",
                       .settings = default_settings()};
  const auto refused = decide(ProjectState{}, create);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("pull requests"));
}

TEST(PullRequestLabel, is_a_label_however_long_number_and_project_are) {
  const std::string project(40, 'a');
  const auto label = preview_label(pull_request_environment(k_pull_request_max), project);
  EXPECT_EQ(label, "pr-2147483647-" + project);
  EXPECT_LE(label.size(), 63U);
}

TEST(PullRequestEnvironment, is_told_apart_from_a_branch_of_that_name) {
  EXPECT_EQ(pull_request_of("preview/pull/7"), 0);
  EXPECT_EQ(branch_of("preview/pull/7"), "pull/7");
  EXPECT_EQ(pull_request_of("pull/7"), 7);
  for (const char* other : {"pull/", "pull/x", "pull/0", "pull/99999999999999999999", "pull/7/1"}) {
    EXPECT_EQ(pull_request_of(other), 0) << other;
  }
}

}  // namespace
}  // namespace atlasflow
