// Deliveries of pull requests, in the shape of GitHub's own samples (@octokit/webhooks-examples):
// what is read of them, for each who may sign them, and that no nonsense passes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/url.hpp"
#include "tests/api/webhook_fixture.hpp"

namespace atlasflow::api {
namespace {

using actors::PushReceipt;
using nlohmann::json;
using testing::Answer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::Webhook;

constexpr const char* k_head = "ec26c3e57ca3a959ca5aad62de7213c562f8c821";
constexpr const char* k_former = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e";

json sample(const std::string& action) {
  const json base = {
      {"id", 186853002}, {"name", "Hello-World"}, {"full_name", "Codertocat/Hello-World"}};
  return {
      {"action", action},
      {"number", 2},
      {"pull_request",
       {{"url", "https://api.github.com/repos/Codertocat/Hello-World/pulls/2"},
        {"id", 279147437},
        {"number", 2},
        {"state", action == "closed" ? "closed" : "open"},
        {"locked", false},
        {"title", "Update the README with new information."},
        {"user", {{"login", "Codertocat"}}},
        {"created_at", "2019-05-15T15:20:33Z"},
        {"updated_at", "2019-05-15T15:20:33Z"},
        {"merged", false},
        {"draft", false},
        {"head",
         {{"label", "Codertocat:changes"}, {"ref", "changes"}, {"sha", k_head}, {"repo", base}}},
        {"base",
         {{"label", "Codertocat:master"}, {"ref", "master"}, {"sha", k_former}, {"repo", base}}}}},
      {"repository",
       {{"id", 186853002},
        {"full_name", "Codertocat/Hello-World"},
        {"html_url", "https://github.com/Codertocat/Hello-World"},
        {"clone_url", "https://github.com/Codertocat/Hello-World.git"},
        {"pushed_at", "2019-05-15T15:20:32Z"},
        {"default_branch", "master"}}},
      {"sender", {{"login", "Codertocat"}}}};
}

class PullRequestWebhook : public Webhook {
 protected:
  PullRequestWebhook() { control_.receipts = std::vector<PushReceipt>{deployed()}; }

  Answer tell(const json& payload, const std::string& secret = testing::k_secret) {
    return deliver(payload.dump(), secret, "pull_request");
  }
  // The only one that the control plane was asked for.
  [[nodiscard]] Push taken() {
    const auto asked = control_.asked<commands::TakePush>();
    EXPECT_EQ(asked.size(), 1U);
    return asked.empty() ? Push{} : asked.back().push;
  }
};

TEST_F(PullRequestWebhook, an_opened_one_says_its_head_and_when) {
  EXPECT_EQ(tell(sample("opened")).status, 202);
  const auto push = taken();
  ASSERT_TRUE(push.pull_request);
  EXPECT_EQ(push.ref, "refs/pull/2/head");
  EXPECT_EQ(push.after, k_head);
  EXPECT_EQ(push.before, "");
  EXPECT_EQ(push.repository_id, 186853002);
  EXPECT_EQ(push.pusher, "Codertocat");
  EXPECT_EQ(push.pushed_at_s, 0);
  EXPECT_TRUE(push.pull_request->is_open);
  EXPECT_TRUE(push.pull_request->is_first);
  const auto& head = push.pull_request->head;
  EXPECT_EQ(head.number(), 2);
  EXPECT_EQ(head.updated_at_s(), 1'557'933'633);
  EXPECT_EQ(head.repository(), "Codertocat/Hello-World");
  EXPECT_EQ(head.branch(), "changes");
  EXPECT_FALSE(head.from_fork());
}

TEST_F(PullRequestWebhook, a_push_to_it_says_what_it_replaced) {
  auto payload = sample("synchronize");
  payload["before"] = k_former;
  payload["after"] = k_head;
  EXPECT_EQ(tell(payload).status, 202);
  EXPECT_EQ(taken().before, k_former);
  EXPECT_FALSE(taken().pull_request->is_first);
}

// GitHub writes the payload when it sends it: by then the head may be a later one.
TEST_F(PullRequestWebhook, what_another_push_replaced_is_not_taken_for_the_heads) {
  auto payload = sample("synchronize");
  payload["before"] = k_former;
  payload["after"] = std::string(40, 'b');
  EXPECT_EQ(tell(payload).status, 202);
  EXPECT_EQ(taken().after, k_head);
  EXPECT_EQ(taken().before, "");
}

TEST_F(PullRequestWebhook, a_closed_one_is_closed_and_says_whether_it_was_merged) {
  auto payload = sample("closed");
  payload["pull_request"]["merged"] = true;
  EXPECT_EQ(tell(payload).status, 202);
  EXPECT_FALSE(taken().pull_request->is_open);
  EXPECT_TRUE(taken().pull_request->merged);
}

TEST_F(PullRequestWebhook, its_branch_is_a_forks_unless_both_sides_are_one_repository) {
  for (const auto& repository :
       {json{{"id", 9}, {"full_name", "mallory/Hello-World"}}, json(nullptr), json::object(),
        // Of the same name and another id.
        json{{"id", 9}, {"full_name", "Codertocat/Hello-World"}}}) {
    control_.forget_calls();
    auto payload = sample("opened");
    payload["pull_request"]["head"]["repo"] = repository;
    EXPECT_EQ(tell(payload).status, 202) << repository;
    EXPECT_TRUE(taken().pull_request->head.from_fork()) << repository;
  }
  control_.forget_calls();
  auto payload = sample("opened");
  payload["pull_request"]["base"]["repo"] = nullptr;
  payload["pull_request"]["head"]["repo"] = nullptr;
  EXPECT_EQ(tell(payload).status, 202);
  EXPECT_TRUE(taken().pull_request->head.from_fork());
}

TEST_F(PullRequestWebhook, other_actions_are_answered_and_nothing_follows) {
  for (const char* action :
       {"assigned", "labeled", "unlabeled", "converted_to_draft", "locked", "edited",
        "ready_for_review", "review_requested", "auto_merge_enabled", "something_new"}) {
    const auto answer = tell(sample(action));
    EXPECT_EQ(answer.status, 202) << action;
    EXPECT_THAT(answer.body, HasSubstr("ignored")) << action;
  }
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(PullRequestWebhook, who_signs_is_whom_it_speaks_for) {
  control_.add_project("shop", "own-secret");
  pb::Event connected;
  connected.mutable_repository_connected()->set_url("https://github.com/Codertocat/Hello-World");
  control_.append(project_stream(ProjectId("shop")), {connected});
  static_cast<void>(
      control_.execute(Principal::user(),
                       commands::ConnectGitHubApp{1, "atlasflow", "https://github.com", "SHA256:x",
                                                  Secret("key"), Secret("app-secret")}));
  for (const char* secret : {"own-secret", "app-secret"}) {
    control_.forget_calls();
    EXPECT_EQ(tell(sample("opened"), secret).status, 202) << secret;
    EXPECT_THAT(taken().signed_for, ElementsAre("shop")) << secret;
  }
  control_.forget_calls();
  EXPECT_EQ(tell(sample("opened"), "another-secret").status, 401);
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(PullRequestWebhook, a_form_holds_the_same) {
  std::string form = "payload=";
  for (const char c : sample("opened").dump()) {
    constexpr const char* k_digits = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    form += std::string("%") + k_digits[byte >> 4U] + k_digits[byte & 15U];
  }
  const auto answer =
      deliver(form, testing::k_secret, "pull_request", "application/x-www-form-urlencoded");
  EXPECT_EQ(answer.status, 202) << answer.body;
  EXPECT_EQ(taken().after, k_head);
}

TEST_F(PullRequestWebhook, nonsense_is_refused_and_its_member_named) {
  const auto refused = [&](const char* pointer, const json& value) {
    auto payload = sample("opened");
    payload[json::json_pointer(pointer)] = value;
    const auto answer = tell(payload);
    EXPECT_EQ(answer.status, 400) << pointer << " = " << value;
    return answer.body;
  };
  EXPECT_THAT(refused("/pull_request", nullptr), HasSubstr("'pull_request' is missing"));
  EXPECT_THAT(refused("/pull_request/head", nullptr), HasSubstr("'pull_request.head'"));
  EXPECT_THAT(refused("/pull_request/head/sha", "main"), HasSubstr("'pull_request.head.sha'"));
  EXPECT_THAT(refused("/pull_request/head/ref", "a\nb"), HasSubstr("'pull_request.head.ref'"));
  EXPECT_THAT(refused("/pull_request/head/repo", "x"), HasSubstr("'pull_request.head.repo'"));
  EXPECT_THAT(refused("/pull_request/state", "draft"), HasSubstr("'pull_request.state'"));
  for (const json& at : {json("yesterday"), json(nullptr), json(7), json("1969-01-01T00:00:00Z")}) {
    EXPECT_THAT(refused("/pull_request/updated_at", at), HasSubstr("'pull_request.updated_at'"));
  }
  for (const json& number : {json(0), json(-1), json(3'000'000'000), json("7"), json(7.5)}) {
    EXPECT_THAT(refused("/pull_request/number", number), HasSubstr("'pull_request.number'"));
  }
  EXPECT_THAT(refused("/action", 7), HasSubstr("'action'"));
  EXPECT_THAT(refused("/repository", nullptr), HasSubstr("'repository' is missing"));
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

}  // namespace
}  // namespace atlasflow::api
