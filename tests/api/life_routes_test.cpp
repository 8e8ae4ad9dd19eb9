#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

class LifeRoutes : public testing::ApiTest {
 protected:
  LifeRoutes() {
    control_.add_project("shop");
    control_.add_deployment("abcdefg2", "shop");
  }

  json accepted(std::string_view method, std::string_view target, std::string_view body = {}) {
    const auto answer = ask(method, target, body);
    EXPECT_EQ(answer.status, 202) << answer.body;
    return json::parse(answer.body);
  }

  void expect_error(const testing::Answer& answer, int status, const std::string& code,
                    const std::string& sentence) {
    EXPECT_EQ(answer.status, status) << answer.body;
    const auto error = json::parse(answer.body)["error"];
    EXPECT_EQ(error["code"], code);
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(sentence));
  }
};

TEST_F(LifeRoutes, a_rollback_names_its_target_or_leaves_the_choice) {
  const auto made = accepted("POST", "/v1/projects/shop/rollback",
                             R"({"command_id":"c1","deployment":"abcdefg2"})");
  EXPECT_EQ(made["id"], "aaaaaaa2");
  EXPECT_EQ(made["kind"], "rollback");
  EXPECT_EQ(made["source"], "abcdefg2");
  EXPECT_EQ(made["requested_by"], "user");
  EXPECT_EQ(get("/v1/deployments/aaaaaaa2"), made);
  control_.made = DeploymentId("aaaaaaa3");
  accepted("POST", "/v1/projects/shop/rollback", R"({"command_id":"c2"})");
  const auto asked = control_.asked<commands::Rollback>();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[0].project, "shop");
  EXPECT_EQ(asked[0].to, DeploymentId("abcdefg2"));
  EXPECT_EQ(asked[0].command_id, "c1");
  EXPECT_EQ(asked[1].to, std::nullopt);
  EXPECT_EQ(asked[1].command_id, "c2");
}

TEST_F(LifeRoutes, redeploy_restart_and_promote_show_what_they_made) {
  const auto redeployed = accepted("POST", "/v1/projects/shop/redeploy",
                                   R"({"command_id":"c1","deployment":"abcdefg2"})");
  EXPECT_EQ(redeployed["kind"], "redeploy");
  EXPECT_EQ(redeployed["source"], "abcdefg2");
  control_.made = DeploymentId("aaaaaaa3");
  EXPECT_EQ(accepted("POST", "/v1/projects/shop/restart", R"({"command_id":"c2"})")["kind"],
            "restart");
  control_.made = DeploymentId("aaaaaaa4");
  EXPECT_EQ(accepted("POST", "/v1/deployments/abcdefg2/promote", R"({"command_id":"c3"})")["kind"],
            "promote");
  const auto redeploy = control_.asked<commands::Redeploy>().at(0);
  EXPECT_EQ(redeploy.project, "shop");
  EXPECT_EQ(redeploy.of, DeploymentId("abcdefg2"));
  EXPECT_EQ(redeploy.command_id, "c1");
  EXPECT_EQ(control_.asked<commands::Restart>().at(0).project, "shop");
  EXPECT_EQ(control_.asked<commands::Restart>().at(0).command_id, "c2");
  EXPECT_EQ(control_.asked<commands::Promote>().at(0).deployment, DeploymentId("abcdefg2"));
  EXPECT_EQ(control_.asked<commands::Promote>().at(0).command_id, "c3");
  for (const auto& call : control_.calls()) EXPECT_EQ(call.by, Principal::user());
}

TEST_F(LifeRoutes, an_approval_names_the_commit_and_shows_whose_pull_request_is_deployed) {
  const auto sha = std::string(40, 'a');
  const auto made = accepted("POST", "/v1/projects/shop/pull-requests/7/approve",
                             R"({"command_id":"c1","sha":")" + sha + R"("})");
  EXPECT_EQ(made["environment"], "pull/7");
  EXPECT_EQ(made["url"], "https://pr-7-shop.atlasflow.localhost:8443");
  EXPECT_EQ(made["pull_request"]["number"], 7);
  EXPECT_EQ(made["pull_request"]["from_fork"], true);
  EXPECT_EQ(made["pull_request"]["approved_by"], "user");
  // Else it could be one that nobody has looked at.
  expect_error(ask("POST", "/v1/projects/shop/pull-requests/8/approve", R"({"command_id":"c2"})"),
               400, "invalid_argument", "sha");
  const auto asked = control_.asked<commands::ApprovePullRequest>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].project, "shop");
  EXPECT_EQ(asked[0].number, 7);
  EXPECT_EQ(asked[0].sha, sha);
  EXPECT_EQ(asked[0].command_id, "c1");
  for (const char* number : {"0", "-1", "x", "4294967296"}) {
    const auto path = std::string("/v1/projects/shop/pull-requests/") + number + "/approve";
    expect_error(ask("POST", path, R"({"command_id":"c","sha":"x"})"), 400, "invalid_argument",
                 "is no pull request's number");
  }
  control_.made = fail(ErrorCode::conflict, "pull request 7 has moved on");
  expect_error(
      ask("POST", "/v1/projects/shop/pull-requests/7/approve", R"({"command_id":"c3","sha":"x"})"),
      409, "conflict", "has moved on");
}

TEST_F(LifeRoutes, a_project_lists_the_commits_of_forks_that_wait) {
  const auto hold = [&](std::int64_t number, const std::string& sha) {
    pb::Event event;
    auto& held = *event.mutable_pull_request_held();
    held.mutable_pull_request()->set_number(number);
    held.mutable_pull_request()->set_repository("mallory/shop");
    held.set_head(sha);
    held.set_pusher("mallory");
    control_.append(project_stream(ProjectId("shop")), {event});
  };
  hold(7, std::string(40, '2'));
  hold(8, std::string(40, 'b'));
  const auto waiting = get("/v1/projects/shop")["waiting_for_approval"];
  ASSERT_EQ(waiting.size(), 2U);
  EXPECT_EQ(waiting[1]["number"], 8);
  EXPECT_EQ(waiting[1]["sha"], std::string(40, 'b'));
  EXPECT_EQ(waiting[1]["repository"], "mallory/shop");
  control_.add_pull_request("aaaaaaa9", "shop", 7);
  const auto left = get("/v1/projects/shop")["waiting_for_approval"];
  ASSERT_EQ(left.size(), 1U) << "it is deployed";
  EXPECT_EQ(left[0]["number"], 8);
  hold(7, get("/v1/deployments/aaaaaaa9")["sha"]);
  EXPECT_EQ(get("/v1/projects/shop")["waiting_for_approval"].size(), 2U)
      << "it was pushed back to that commit, which needs an approval again";
}

TEST_F(LifeRoutes, only_what_builds_can_be_asked_to_build_without_the_cache) {
  const char* body = R"({"command_id":"c","no_cache":true})";
  accepted("POST", "/v1/projects/shop/redeploy", body);
  EXPECT_TRUE(control_.asked<commands::Redeploy>().at(0).no_cache);
  accepted("POST", "/v1/projects/shop/redeploy", R"({"command_id":"c2","no_cache":false})");
  EXPECT_FALSE(control_.asked<commands::Redeploy>().at(1).no_cache);
  for (const char* path : {"/v1/projects/shop/restart", "/v1/projects/shop/rollback",
                           "/v1/deployments/abcdefg2/promote"}) {
    expect_error(ask("POST", path, body), 400, "invalid_argument", "this builds nothing");
  }
  expect_error(ask("POST", "/v1/projects/shop/redeploy", R"({"command_id":"c","no_cache":"yes"})"),
               400, "invalid_argument", "no_cache");
  EXPECT_EQ(control_.calls().size(), 2U);
}

TEST_F(LifeRoutes, a_refusal_keeps_its_code_and_sentence) {
  control_.made = fail(ErrorCode::conflict, "There is nothing to go back to.");
  expect_error(ask("POST", "/v1/projects/shop/rollback", R"({"command_id":"c"})"), 409, "conflict",
               "nothing to go back to");
  control_.life_outcome = fail(ErrorCode::conflict, "It is live.");
  expect_error(ask("POST", "/v1/deployments/abcdefg2/cancel"), 409, "conflict", "It is live");
  expect_error(ask("POST", "/v1/projects/shop/stop"), 409, "conflict", "It is live");
  expect_error(ask("POST", "/v1/projects/shop/start"), 409, "conflict", "It is live");
  control_.scaled = fail(ErrorCode::not_found, "There is no project 'shop'.");
  expect_error(ask("PUT", "/v1/projects/shop/scale", R"({"replicas":2})"), 404, "not_found",
               "no project");
}

TEST_F(LifeRoutes, a_cancel_answers_with_the_deployment_as_it_stands) {
  control_.start_build("abcdefg2");
  control_.then["cancel"] = [this] {
    pb::Event requested;
    requested.mutable_cancel_requested()->set_by("user");
    control_.append_to("abcdefg2", requested);
  };
  const auto deployment = accepted("POST", "/v1/deployments/abcdefg2/cancel");
  EXPECT_EQ(deployment["status"], "cancelling");
  EXPECT_EQ(deployment["cancelled_by"], "user");
  EXPECT_EQ(control_.asked<commands::Cancel>().at(0).deployment, DeploymentId("abcdefg2"));
}

TEST_F(LifeRoutes, stop_and_start_answer_with_what_is_live) {
  control_.make_live("abcdefg2");
  control_.then["stop_app"] = [this] {
    pb::Event stop;
    stop.mutable_stop_requested()->set_by("user");
    control_.append_to("abcdefg2", stop);
  };
  control_.then["start_app"] = [this] {
    pb::Event start;
    start.mutable_start_requested()->set_by("user");
    control_.append_to("abcdefg2", start);
  };
  const auto stopped = accepted("POST", "/v1/projects/shop/stop");
  EXPECT_EQ(stopped["id"], "abcdefg2");
  EXPECT_EQ(stopped["status"], "stopping");
  EXPECT_EQ(stopped["stopped_by"], "user");
  EXPECT_EQ(accepted("POST", "/v1/projects/shop/start")["stopped_by"], nullptr);
  EXPECT_EQ(control_.asked<commands::StopApp>().at(0).project, "shop");
  EXPECT_EQ(control_.asked<commands::StartApp>().at(0).project, "shop");
}

TEST_F(LifeRoutes, a_live_deployment_that_ended_meanwhile_is_a_409_that_says_so) {
  expect_error(ask("POST", "/v1/projects/shop/stop"), 409, "conflict", "ended in the meantime");
}

TEST_F(LifeRoutes, scale_tells_whether_anything_changes_now) {
  control_.make_live("abcdefg2");
  const auto scaled = accepted("PUT", "/v1/projects/shop/scale", R"({"replicas":3})");
  EXPECT_EQ(scaled["replicas"], 3);
  EXPECT_EQ(scaled["deployment"]["id"], "abcdefg2");
  control_.scaled = false;
  EXPECT_EQ(accepted("PUT", "/v1/projects/shop/scale", R"({"replicas":32})")["deployment"],
            nullptr);
  const auto asked = control_.asked<commands::Scale>();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[0].project, "shop");
  EXPECT_EQ(asked[0].replicas, 3);
  EXPECT_EQ(asked[1].replicas, 32);
}

TEST_F(LifeRoutes, a_notify_secret_is_passed_on_and_never_shown) {
  EXPECT_EQ(get("/v1/projects/shop")["has_notify_secret"], false);
  const auto answer = ask("PUT", "/v1/projects/shop/notify-secret", R"({"secret":"hush hush"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json::parse(answer.body)["has_notify_secret"], true);
  EXPECT_THAT(answer.body, Not(HasSubstr("hush")));
  const auto asked = control_.asked<commands::SetNotifySecret>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].project, "shop");
  EXPECT_EQ(asked[0].secret, "hush hush");
  control_.life_outcome = fail(ErrorCode::unavailable, "The disk is full.");
  const auto refused = ask("PUT", "/v1/projects/shop/notify-secret", R"({"secret":"hush hush"})");
  EXPECT_EQ(refused.status, 503);
  EXPECT_THAT(refused.body, Not(HasSubstr("hush")));
}

TEST_F(LifeRoutes, bodies_that_say_nothing_sensible_are_400s_with_a_sentence) {
  struct Case {
    const char* method;
    const char* path;
    const char* body;
    const char* sentence;
  };
  const std::string long_id = R"({"command_id":")" + std::string(129, 'x') + "\"}";
  for (const auto& wrong : std::vector<Case>{
           {"POST", "/v1/projects/shop/rollback", "", "not well-formed JSON"},
           {"POST", "/v1/projects/shop/rollback", "{}", "'command_id' is missing"},
           {"POST", "/v1/projects/shop/rollback", R"({"command_id":"c","deployment":7})",
            "'deployment' must be a string"},
           {"POST", "/v1/projects/shop/rollback", R"({"command_id":"c","deployment":""})",
            "'deployment' is empty"},
           {"POST", "/v1/projects/shop/redeploy", "{}", "'command_id' is missing"},
           {"POST", "/v1/projects/shop/restart", long_id.c_str(), "longer than 128 bytes"},
           {"POST", "/v1/deployments/abcdefg2/promote", "[]", "must be a JSON object"},
           {"PUT", "/v1/projects/shop/scale", "{}", "'replicas' must be a number from 1 to 32"},
           {"PUT", "/v1/projects/shop/scale", R"({"replicas":0})", "atlasflow stop"},
           {"PUT", "/v1/projects/shop/scale", R"({"replicas":33})", "from 1 to 32"},
           {"PUT", "/v1/projects/shop/scale", R"({"replicas":4294967297})", "from 1 to 32"},
           {"PUT", "/v1/projects/shop/scale", R"({"replicas":18446744073709551615})",
            "whole number"},
           {"PUT", "/v1/projects/shop/scale", R"({"replicas":1.5})", "whole number"},
           {"PUT", "/v1/projects/shop/scale", R"({"replicas":"2"})", "whole number"},
           {"PUT", "/v1/projects/shop/notify-secret", "{}", "'secret' is missing or empty"},
           {"PUT", "/v1/projects/shop/notify-secret", R"({"secret":""})", "missing or empty"},
           {"PUT", "/v1/projects/shop/notify-secret", R"({"secret":1})", "must be a string"},
       }) {
    expect_error(ask(wrong.method, wrong.path, wrong.body), 400, "invalid_argument",
                 wrong.sentence);
  }
  EXPECT_THAT(control_.calls(), IsEmpty());
}

// ---- what a repository is opened with ----

TEST_F(LifeRoutes, a_deploy_key_is_made_shown_replaced_and_removed) {
  control_.add_project("ssh", {}, "git@git.test:web");
  expect_error(ask("GET", "/v1/projects/ssh/deploy-key"), 404, "not_found",
               "atlasflow project deploy-key ssh makes one");
  const auto made = ask("POST", "/v1/projects/ssh/deploy-key", "{}");
  EXPECT_EQ(made.status, 200) << made.body;
  EXPECT_THAT(json::parse(made.body)["public_key"].get<std::string>(), HasSubstr("atlasflow-ssh"));
  EXPECT_EQ(ask("POST", "/v1/projects/ssh/deploy-key", R"({"replace":false})").body, made.body);
  EXPECT_EQ(ask("GET", "/v1/projects/ssh/deploy-key").body, made.body);
  EXPECT_EQ(get("/v1/projects/ssh")["deploy_key"], json::parse(made.body));
  const auto other = ask("POST", "/v1/projects/ssh/deploy-key", R"({"replace":true})");
  EXPECT_NE(other.body, made.body);
  EXPECT_EQ(ask("POST", "/v1/projects/ssh/deploy-key", R"({"replace":1})").status, 400);
  EXPECT_EQ(ask("POST", "/v1/projects/none/deploy-key", "{}").status, 404);
  EXPECT_EQ(ask("POST", "/v1/projects/shop/deploy-key", "{}").status, 409);
  EXPECT_EQ(json::parse(ask("DELETE", "/v1/projects/ssh/deploy-key").body)["deploy_key"], nullptr);
  EXPECT_EQ(ask("DELETE", "/v1/projects/ssh/deploy-key").status, 404);
}

TEST_F(LifeRoutes, a_host_key_is_accepted_by_its_fingerprint) {
  control_.add_project("ssh", {}, "git@git.test:web");
  const auto fingerprint = "SHA256:" + std::string(43, 'a');
  const auto answer =
      ask("PUT", "/v1/projects/ssh/host-key", json({{"fingerprint", fingerprint}}).dump());
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(json::parse(answer.body)["host_keys"]["git.test"], fingerprint);
  const auto asked = control_.asked<commands::PinHostKey>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_TRUE(asked[0].accepted);
  EXPECT_EQ(asked[0].host, "");
  expect_error(ask("PUT", "/v1/projects/ssh/host-key", R"({"fingerprint":"x"})"), 400,
               "invalid_argument", "ssh-keygen -l");
  EXPECT_EQ(ask("PUT", "/v1/projects/ssh/host-key", "{}").status, 400);
}

TEST_F(LifeRoutes, a_login_is_passed_on_and_never_shown) {
  const auto answer =
      ask("PUT", "/v1/projects/shop/login", R"({"username":"hush-user","password":"hush-token"})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(json::parse(answer.body)["has_login"], true);
  EXPECT_THAT(answer.body, Not(HasSubstr("hush")));
  const auto asked = control_.asked<commands::SetRepositoryLogin>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].username, "hush-user");
  EXPECT_TRUE(asked[0].password.is("hush-token"));
  for (const char* body : {R"({"username":"hush"})", R"({"password":"hush"})",
                           R"({"username":"u","password":["hush"]})", "[]"}) {
    const auto wrong = ask("PUT", "/v1/projects/shop/login", body);
    EXPECT_EQ(wrong.status, 400) << body;
    EXPECT_THAT(wrong.body, Not(HasSubstr("hush")));
  }
  EXPECT_EQ(json::parse(ask("DELETE", "/v1/projects/shop/login").body)["has_login"], false);
  EXPECT_EQ(ask("DELETE", "/v1/projects/shop/login").status, 404);
}

TEST_F(LifeRoutes, a_webhook_secret_is_changed_and_never_shown) {
  const auto answer = ask("PUT", "/v1/projects/shop/webhook-secret", R"({"secret":"hush hush"})");
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(json::parse(answer.body)["has_webhook_secret"], true);
  EXPECT_THAT(answer.body, Not(HasSubstr("hush")));
  const auto asked = control_.asked<commands::SetWebhookSecret>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_TRUE(asked[0].secret && asked[0].secret->is("hush hush"));
  expect_error(ask("PUT", "/v1/projects/shop/webhook-secret", R"({"secret":""})"), 400,
               "invalid_argument", "would sign nothing");
  EXPECT_EQ(ask("PUT", "/v1/projects/shop/webhook-secret", "{}").status, 400);
  // This server has none that could sign in its place.
  expect_error(ask("DELETE", "/v1/projects/shop/webhook-secret"), 409, "conflict",
               "api.webhook_secret_file");
  EXPECT_EQ(get("/v1/projects/shop")["has_webhook_secret"], true);
}

}  // namespace
}  // namespace atlasflow::api
