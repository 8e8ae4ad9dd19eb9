#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/json.hpp"
#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

class Routes : public testing::ApiTest {
 protected:
  void expect_error(const testing::Answer& answer, int status, const std::string& code,
                    const std::string& sentence) {
    EXPECT_EQ(answer.status, status) << answer.body;
    const auto error = json::parse(answer.body)["error"];
    EXPECT_EQ(error["code"], code);
    EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(sentence));
  }
};

TEST_F(Routes, the_status_tells_versions_addresses_parts_and_what_is_under_way) {
  config_.ca_certificate = "/state/ca.pem";
  config_.http_port = 8080;
  control_.add_project("shop");
  control_.add_deployment("abcdefg2", "shop");
  control_.add_deployment("abcdefg3", "shop");
  control_.fail_deployment("abcdefg3");
  config_.other_parts = [] {
    return std::vector<actors::ControlPlane::PartStatus>{{"github", "degraded", "look"}};
  };
  const auto status = get("/v1/status");
  EXPECT_EQ(status["version"], "0.1.0");
  EXPECT_EQ(status["build_id"], "build-1");
  EXPECT_EQ(status["domain"], "atlasflow.localhost");
  EXPECT_EQ(status["http_port"], 8080);
  EXPECT_EQ(status["https_port"], 8443);
  EXPECT_EQ(status["ca_certificate"], "/state/ca.pem");
  EXPECT_GE(status["uptime_seconds"], 0);
  EXPECT_EQ(status["log_position"], control_.log().last_position().value());
  EXPECT_EQ(status["parts"],
            json::parse(R"([{"name":"edge","state":"ok","detail":"4 routes"},)"
                        R"({"name":"github","state":"degraded","detail":"look"}])"));
  EXPECT_EQ(status["projects"], 1);
  ASSERT_EQ(status["active"].size(), 1U);
  EXPECT_EQ(status["active"][0]["id"], "abcdefg2");
}

TEST_F(Routes, the_edges_figures_are_for_prometheus) {
  config_.edge_metrics = [] { return std::string("atlasflow_edge_up 1\n"); };
  const auto answer = ask("GET", "/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.field("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(answer.body, "atlasflow_edge_up 1\n");
  auto public_side = connect_webhook().ask(testing::request_text("GET", "/metrics"));
  ASSERT_TRUE(public_side.has_value());
  EXPECT_EQ(public_side->status, 404) << "only who may open the socket sees them";
}

TEST_F(Routes, a_project_is_created_and_shown_as_soon_as_the_answer_is_there) {
  const auto answer = ask("POST", "/v1/projects",
                          R"({"name":"shop","repository":"https://example.test/a/b",
                              "branch":"main","webhook_secret":"hush"})");
  EXPECT_EQ(answer.status, 201);
  const auto created = json::parse(answer.body);
  EXPECT_EQ(created["name"], "shop");
  EXPECT_EQ(created["status"], "empty");
  EXPECT_EQ(answer.body.find("hush"), std::string::npos);
  EXPECT_EQ(get("/v1/projects/shop"), created);
  EXPECT_EQ(get("/v1/projects")["projects"], json::array({created}));
  const auto asked = control_.asked<commands::CreateProject>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].repository_url, "https://example.test/a/b");
  EXPECT_EQ(asked[0].branch, "main");
  EXPECT_EQ(asked[0].webhook_secret, "hush");
  EXPECT_EQ(control_.calls()[0].by, Principal::user());
  expect_error(ask("POST", "/v1/projects", R"({"name":"shop","repository":"/r"})"), 409,
               "already_exists", "of that name");
}

TEST_F(Routes, bodies_that_say_nothing_sensible_are_400s_with_a_sentence) {
  control_.add_project("shop");
  struct Case {
    const char* method;
    const char* path;
    const char* body;
    const char* sentence;
  };
  for (const auto& wrong : std::vector<Case>{
           {"POST", "/v1/projects", "", "not well-formed JSON"},
           {"POST", "/v1/projects", "[]", "must be a JSON object"},
           {"POST", "/v1/projects", "{}", "'name' is missing"},
           {"POST", "/v1/projects", R"({"name":1})", "'name' must be a string"},
           {"POST", "/v1/projects", R"({"name":"a"})", "'repository' is missing"},
           {"POST", "/v1/projects", R"({"name":"a","repository":"/r","branch":[]})",
            "'branch' must be a string"},
           {"POST", "/v1/projects", R"({"name":"a","repository":"/r","webhook_secret":""})",
            "'webhook_secret' is empty"},
           {"PUT", "/v1/projects/shop/env", "{}", "'variables' is missing"},
           {"PUT", "/v1/projects/shop/env", R"({"variables":[]})", "must be an object"},
           {"PUT", "/v1/projects/shop/env", R"({"variables":{}})", "empty"},
           {"PUT", "/v1/projects/shop/env", R"({"variables":{"A":1}})", "value of A"},
           {"PUT", "/v1/projects/shop/env", R"({"variables":{"A":"x\u0000"}})", "NUL"},
           {"PUT", "/v1/projects/shop/env", R"({"variables":{"A=B":"x"}})", "A=B"},
           {"PUT", "/v1/projects/shop/env", R"({"variables":{"":"x"}})", "no variable name"},
           {"DELETE", "/v1/projects/shop/env", "", "?name=A"},
           {"POST", "/v1/projects/shop/deployments", "{}", "'command_id' is missing"},
           {"POST", "/v1/projects/shop/deployments", R"({"command_id":"c","sha":"abc"})",
            "40 hex digits"},
           {"POST", "/v1/projects/shop/deployments", R"({"command_id":"c","sha":5})",
            "'sha' must be a string"},
           {"GET", "/v1/projects/shop/deployments?limit=0", "", "'limit'"},
           {"GET", "/v1/projects/shop/deployments?limit=x", "", "'limit'"},
           {"GET", "/v1/events?from=-1", "", "'from'"},
           {"GET", "/v1/events?follow=yes", "", "'follow'"},
       }) {
    expect_error(ask(wrong.method, wrong.path, wrong.body), 400, "invalid_argument",
                 wrong.sentence);
  }
  EXPECT_THAT(control_.calls(), IsEmpty());
}

TEST_F(Routes, what_does_not_exist_is_a_404_with_a_sentence) {
  for (const char* path : {"/v1/projects/none", "/v1/projects/none/env", "/v1/deployments/none",
                           "/v1/projects/none/deployments", "/v1/projects/none/logs",
                           "/v1/deployments/none/logs", "/v1/events?project=none"}) {
    expect_error(ask("GET", path), 404, "not_found", "'none'");
  }
  expect_error(ask("GET", "/v2/anything"), 404, "not_found", "");
  expect_error(ask("DELETE", "/v1/projects/none"), 404, "not_found", "");
}

TEST_F(Routes, a_wrong_method_is_a_405_with_the_right_ones) {
  const auto answer = ask("PATCH", "/v1/projects/shop/env");
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.field("Allow"), "GET, HEAD, PUT, DELETE");
}

TEST_F(Routes, a_deleted_project_is_gone) {
  control_.add_project("shop");
  EXPECT_EQ(json::parse(ask("DELETE", "/v1/projects/shop").body), json({{"deleted", "shop"}}));
  EXPECT_EQ(ask("GET", "/v1/projects/shop").status, 404);
  EXPECT_EQ(control_.asked<commands::DeleteProject>().at(0).project, "shop");
}

TEST_F(Routes, variables_are_set_listed_and_unset_without_showing_a_value) {
  control_.add_project("shop");
  const auto answer =
      ask("PUT", "/v1/projects/shop/env", R"({"variables":{"B":"two words","A":"värde"}})");
  EXPECT_EQ(answer.status, 200);
  const auto variables = json::parse(answer.body)["variables"];
  ASSERT_EQ(variables.size(), 2U);
  EXPECT_EQ(variables[0]["name"], "A");
  EXPECT_EQ(variables[0]["digest"], "0123456789ab");
  EXPECT_GT(variables[0]["set_at_us"], 0);
  EXPECT_EQ(answer.body.find("two words"), std::string::npos);
  EXPECT_EQ(get("/v1/projects/shop/env"), json::parse(answer.body));
  EXPECT_EQ(get("/v1/projects/shop")["env_names"], json::array({"A", "B"}));
  const auto set = control_.asked<commands::SetEnv>();
  ASSERT_EQ(set.size(), 1U);
  EXPECT_THAT(set[0].variables, ElementsAre(Pair("A", "värde"), Pair("B", "two words")));

  const auto left = ask("DELETE", "/v1/projects/shop/env?name=A&name=B");
  EXPECT_EQ(json::parse(left.body)["variables"], json::array());
  const auto unset = control_.asked<commands::UnsetEnv>();
  ASSERT_EQ(unset.size(), 1U);
  EXPECT_THAT(unset[0].names, ElementsAre("A", "B"));
}

TEST_F(Routes, build_secrets_are_set_listed_and_unset_without_showing_a_value) {
  control_.add_project("shop");
  const auto path = "/v1/projects/shop/build-secrets";
  EXPECT_EQ(get(path), json({{"secrets", json::array()}}));
  const auto answer = ask("PUT", path, R"({"secrets":{"NPM":"line 1\nline 2\n","PYPI":"x"}})");
  EXPECT_EQ(answer.status, 200);
  const auto secrets = json::parse(answer.body)["secrets"];
  ASSERT_EQ(secrets.size(), 2U);
  EXPECT_EQ(secrets[0]["name"], "NPM");
  EXPECT_EQ(secrets[0]["digest"], "0123456789ab");
  EXPECT_GT(secrets[0]["set_at_us"], 0);
  EXPECT_EQ(answer.body.find("line 1"), std::string::npos);
  EXPECT_EQ(get("/v1/projects/shop")["build_secret_names"], json::array({"NPM", "PYPI"}));
  EXPECT_EQ(get("/v1/projects/shop")["env_names"], json::array());
  const auto set = control_.asked<commands::SetBuildSecrets>();
  ASSERT_EQ(set.size(), 1U);
  EXPECT_THAT(set[0].secrets, ElementsAre(Pair("NPM", "line 1\nline 2\n"), Pair("PYPI", "x")));

  const auto left = ask("DELETE", std::string(path) + "?name=NPM&name=PYPI");
  EXPECT_EQ(json::parse(left.body)["secrets"], json::array());
  EXPECT_THAT(control_.asked<commands::UnsetBuildSecrets>().at(0).names,
              ElementsAre("NPM", "PYPI"));
  EXPECT_EQ(ask("DELETE", path).status, 400);
}

TEST_F(Routes, a_build_secret_that_is_refused_is_not_quoted) {
  control_.add_project("shop");
  const auto path = "/v1/projects/shop/build-secrets";
  const auto put = [&](const json& secrets) {
    return ask("PUT", path, json({{"secrets", secrets}}).dump());
  };
  expect_error(put(json::object()), 400, "invalid_argument", "'secrets' is missing or empty");
  expect_error(put({{"A", 1}}), 400, "invalid_argument", "must be a string");
  expect_error(put({{"A", ""}}), 400, "invalid_argument", "is empty");
  expect_error(put({{"atlasflow.x", "y"}}), 400, "invalid_argument", "choose another name");
  for (const auto& answer : {put({{"A", std::string(140'000, 'S')}}), put({{"SSSS=b", "c"}})}) {
    EXPECT_GE(answer.status, 400);
    EXPECT_EQ(answer.body.find("SSSS"), std::string::npos);
  }
  EXPECT_THAT(control_.calls(), IsEmpty());
}

TEST_F(Routes, settings_are_passed_on_by_name_and_text) {
  control_.add_project("shop");
  const auto changed =
      ask("PUT", "/v1/projects/shop/settings",
          json({{"health_deadline", "30s"}, {"port", 8080}, {"previews", true}}).dump());
  EXPECT_EQ(changed.status, 200);
  ASSERT_EQ(control_.asked<commands::ChangeSettings>().size(), 1U);
  EXPECT_THAT(
      control_.asked<commands::ChangeSettings>()[0].settings,
      ElementsAre(Pair("health_deadline", "30s"), Pair("port", "8080"), Pair("previews", "true")));
  EXPECT_EQ(ask("PUT", "/v1/projects/shop/settings", "{}").status, 400);
  EXPECT_EQ(ask("PUT", "/v1/projects/shop/settings", R"({"port":[1]})").status, 400);
  EXPECT_EQ(control_.asked<commands::ChangeSettings>().size(), 1U);
}

TEST_F(Routes, a_value_that_is_refused_is_not_quoted) {
  control_.add_project("shop");
  const std::string secret(140'000, 'S');
  const auto answer =
      ask("PUT", "/v1/projects/shop/env", json({{"variables", {{"A", secret}}}}).dump());
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(answer.body.find("SSSS"), std::string::npos);
  EXPECT_THAT(control_.calls(), IsEmpty());
}

TEST_F(Routes, errors_of_commands_keep_their_code_and_cause) {
  control_.add_project("shop");
  control_.env_outcome = fail(ErrorCode::corrupt, "The key file does not fit.", "bad tag");
  const auto answer = ask("PUT", "/v1/projects/shop/env", R"({"variables":{"A":"x"}})");
  expect_error(answer, 500, "corrupt", "key file");
  EXPECT_EQ(json::parse(answer.body)["error"]["cause"], "bad tag");
}

TEST_F(Routes, a_deploy_is_commanded_and_shown) {
  control_.add_project("shop");
  const std::string sha(40, 'a');
  const auto answer = ask("POST", "/v1/projects/shop/deployments",
                          json({{"sha", sha}, {"command_id", "cmd-1"}}).dump());
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(json::parse(answer.body)["id"], "aaaaaaa2");
  const auto asked = control_.asked<commands::Deploy>();
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].project, "shop");
  EXPECT_EQ(asked[0].sha, sha);
  EXPECT_EQ(asked[0].command_id, "cmd-1");
  EXPECT_EQ(get("/v1/deployments/aaaaaaa2"), json::parse(answer.body));
}

TEST_F(Routes, a_deploy_can_be_asked_to_build_without_the_cache) {
  control_.add_project("shop");
  const auto path = "/v1/projects/shop/deployments";
  EXPECT_EQ(ask("POST", path, R"({"command_id":"c","no_cache":true})").status, 202);
  EXPECT_TRUE(control_.asked<commands::Deploy>().at(0).no_cache);
  EXPECT_EQ(ask("POST", path, R"({"command_id":"d"})").status, 202);
  EXPECT_FALSE(control_.asked<commands::Deploy>().at(1).no_cache);
  EXPECT_EQ(get("/v1/deployments/aaaaaaa2")["no_cache"], false);
  expect_error(ask("POST", path, R"({"command_id":"c","no_cache":1})"), 400, "invalid_argument",
               "no_cache");
}

TEST_F(Routes, a_deploy_that_the_remote_does_not_answer_is_a_503) {
  control_.add_project("shop");
  control_.deployed = fail(ErrorCode::unavailable, "The remote does not answer.");
  expect_error(ask("POST", "/v1/projects/shop/deployments", R"({"command_id":"c"})"), 503,
               "unavailable", "remote");
}

TEST_F(Routes, deployments_are_listed_newest_first_within_the_limit) {
  control_.add_project("shop");
  control_.add_project("bank");
  for (const char* id : {"aaaaaaa2", "aaaaaaa3", "aaaaaaa4"}) control_.add_deployment(id, "shop");
  control_.add_deployment("bbbbbbb2", "bank");
  const auto deployments = get("/v1/projects/shop/deployments?limit=2")["deployments"];
  ASSERT_EQ(deployments.size(), 2U);
  EXPECT_EQ(deployments[0]["id"], "aaaaaaa4");
  EXPECT_EQ(deployments[0]["number"], 3);
  EXPECT_EQ(deployments[1]["id"], "aaaaaaa3");
  EXPECT_EQ(get("/v1/projects/shop/deployments")["deployments"].size(), 3U);
}

// What has ended and is old is read from the log.
TEST_F(Routes, finished_deployments_are_shown_as_if_all_were_in_memory) {
  control_.add_project("shop");
  for (char i = 'a'; i <= 't'; ++i) {
    const auto id = std::string("finish2") + i;
    control_.add_deployment(id, "shop");
    control_.fail_deployment(id);
  }
  ASSERT_FALSE(control_.catalog().recent(DeploymentId("finish2a")));
  storage::Catalog whole;
  ASSERT_TRUE(control_.log().read_all(Position{1}, [&](const storage::Record& record) {
    whole.apply(record);
    return true;
  }));
  const auto listed = get("/v1/projects/shop/deployments?limit=1000")["deployments"];
  const auto views =
      whole.deployments_of(whole.project_named("shop")->state.id, listed.size() + 1).value();
  ASSERT_EQ(listed.size(), 20U);
  ASSERT_EQ(views.size(), 20U);
  const PublicAddress address{config_.domain, config_.https_port};
  for (std::size_t i = 0; i < views.size(); ++i) {
    const auto expected = json::parse(json_of(views[i], address).dump());
    EXPECT_EQ(listed[i], expected);
    EXPECT_EQ(get("/v1/deployments/" + views[i].state.id.str()), expected);
  }
  EXPECT_EQ(listed[19]["number"], 1);
}

TEST_F(Routes, a_second_api_on_the_same_socket_says_that_one_runs) {
  start();
  const auto second = start_api(config_, control_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
  EXPECT_EQ(get("/healthz"), json({{"status", "ok"}}));
}

TEST_F(Routes, the_socket_is_gone_with_the_api) {
  start();
  stop();
  EXPECT_FALSE(std::filesystem::exists(config_.socket));
}

}  // namespace
}  // namespace atlasflow::api
