// Connecting a GitHub App over the API, with a GitHub on loopback behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/github_setup.hpp"
#include "base/http_client.hpp"
#include "tests/api/api_fixture.hpp"
#include "tests/api/plane_app.hpp"
#include "tests/github/local_github.hpp"
#include "tests/github/test_keys.hpp"

namespace atlasflow::api {
namespace {

using github::LocalGitHub;
using nlohmann::json;
using ::testing::AllOf;
using testing::Answer;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::request_text;
using ::testing::StartsWith;

class GitHubRoutes : public testing::ApiTest {
 protected:
  GitHubRoutes() {
    config_.connected_app = &connected_;
    config_.domain = "example.com";
  }
  ~GitHubRoutes() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  [[nodiscard]] json credentials() const {
    return {{"app_id", LocalGitHub::k_app_id},
            {"private_key", github_.private_key()},
            {"webhook_secret", LocalGitHub::k_webhook_secret},
            {"base_url", github_.base_url()}};
  }
  Answer put(const json& body) { return ask("PUT", "/v1/github", body.dump()); }
  // As a browser on the public port.
  Answer browse(const std::string& target) {
    auto answer = connect_webhook().ask(request_text("GET", target, {}, {}));
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(Answer{});
  }
  // "/github/connect/<state>", of the page that is to be opened.
  std::string begin() {
    const auto answer =
        ask("POST", "/v1/github/manifest", json{{"base_url", github_.base_url()}}.dump());
    EXPECT_EQ(answer.status, 201) << answer.body;
    const std::string url = json::parse(answer.body).value("url", "");
    const std::string origin = "https://example.com:8443";
    EXPECT_THAT(url, StartsWith(origin + "/github/connect/"));
    return url.substr(origin.size());
  }

  static std::string state_of(const std::string& page) {
    return page.substr(std::string("/github/connect/").size());
  }
  // The browser sends the form; where GitHub sends it on to, with the code.
  std::string github_sends_on_to(const std::string& state) {
    HttpRequest form;
    form.method = "POST";
    form.url = github_.base_url() + "/settings/apps/new?state=" + state;
    form.fields = {{"Content-Type", "application/x-www-form-urlencoded"}};
    form.body =
        "manifest=%7B%22url%22%3A%22https%3A%2F%2Fexample.com%3A8443%22%2C%22redirect_url%22"
        "%3A%22https%3A%2F%2Fexample.com%3A8443%2Fgithub%2Fcreated%22%2C%22hook_attributes%22"
        "%3A%7B%22url%22%3A%22x%22%7D%7D";
    const auto sent_on = send_http(form);
    EXPECT_TRUE(sent_on);
    const std::string origin = "https://example.com:8443";
    const std::string location(sent_on ? sent_on->field("Location") : "");
    EXPECT_THAT(location, StartsWith(origin + "/github/created?code="));
    return location.substr(origin.size());
  }
  [[nodiscard]] std::size_t conversions() const { return github_.count_of("POST", "/conversions"); }

  LocalGitHub github_;
  testing::PlaneApp connected_{control_};
};

TEST_F(GitHubRoutes, an_app_is_recorded_once_github_has_confirmed_it) {
  const auto answer = put(credentials());
  ASSERT_EQ(answer.status, 201) << answer.body;
  EXPECT_EQ(json::parse(answer.body)["slug"], "atlasflow-test");
  EXPECT_THAT(answer.body, Not(HasSubstr("PRIVATE KEY")));
  const auto app = control_.catalog().github_app().state;
  EXPECT_EQ(app.app_id, LocalGitHub::k_app_id);
  EXPECT_EQ(app.base_url, github_.base_url());
  EXPECT_THAT(app.key_fingerprint, StartsWith("SHA256:"));
  EXPECT_TRUE(control_.github_private_key().is(github_.private_key()));
  EXPECT_TRUE(control_.github_webhook_secret().is(LocalGitHub::k_webhook_secret));
}

TEST_F(GitHubRoutes, what_is_wrong_is_told_and_nothing_recorded) {
  const auto with = [&](const char* name, const json& value) {
    auto body = credentials();
    body[name] = value;
    return body;
  };
  const auto& other_key = github::rfc_7515_key();
  const struct {
    json body;
    const char* reason;
  } k_cases[] = {
      {with("app_id", 999), "has no App with the id 999"},
      {with("app_id", 0), "an App's id is a positive number"},
      {with("app_id", "x"), "app_id"},
      {with("private_key", other_key), "does not take the private key"},
      {with("private_key", "nonsense"), "the private key is not PEM"},
      {with("private_key", nullptr), "private_key"},
      {with("webhook_secret", ""), "webhook_secret' is missing"},
      {with("webhook_secret", std::string(2000, 'x')), "webhook secret must have"},
      {with("base_url", "http://github.example.com"), "must begin with https://"},
      {json::array(), "The body"},
  };
  for (const auto& each : k_cases) {
    const auto answer = put(each.body);
    EXPECT_EQ(answer.status, 400) << each.reason;
    EXPECT_THAT(answer.body, HasSubstr(each.reason));
    EXPECT_THAT(answer.body, Not(HasSubstr(github_.private_key().substr(100, 20))));
  }
  auto nobody = credentials();
  nobody["base_url"] = "http://127.0.0.1:1";
  const auto answer = put(nobody);
  EXPECT_EQ(answer.status, 503) << answer.body;
  EXPECT_THAT(answer.body, HasSubstr("GitHub can't be reached"));
  EXPECT_FALSE(control_.catalog().github_app().state.is_connected());
}

TEST_F(GitHubRoutes, the_status_says_what_stands_in_the_way) {
  // The same members as of one that is connected.
  EXPECT_EQ(
      get("/v1/github"),
      (json{{"app", nullptr}, {"problem", ""}, {"webhook", nullptr}, {"projects", json::array()}}));
  ASSERT_EQ(put(credentials()).status, 201);
  control_.add_project("web");
  pb::Event connected;
  connected.mutable_repository_connected()->set_url(github_.base_url() + "/octo/web.git");
  control_.append(project_stream(ProjectId("web")), {connected});
  control_.add_project("site");
  connected.mutable_repository_connected()->set_url(github_.base_url() + "/octo/site.git");
  control_.append(project_stream(ProjectId("site")), {connected});
  control_.add_project("elsewhere");

  auto status = get("/v1/github");
  EXPECT_EQ(status["app"]["install_url"],
            github_.base_url() + "/apps/atlasflow-test/installations/new");
  EXPECT_EQ(status["problem"], "");
  EXPECT_EQ(status["webhook"]["url"], "https://example.com:8443/webhooks/github");
  EXPECT_EQ(status["webhook"]["problem"], "");
  EXPECT_EQ(status["webhook"]["last_delivery"], nullptr);
  ASSERT_EQ(status["projects"].size(), 2U);
  EXPECT_EQ(status["projects"][0]["project"], "site");
  EXPECT_EQ(status["projects"][0]["installed"], false);
  EXPECT_THAT(status["projects"][0].value("problem", ""), HasSubstr("not installed on octo/site"));
  EXPECT_EQ(
      status["projects"][1],
      (json{{"project", "web"}, {"repository", "octo/web"}, {"installed", true}, {"problem", ""}}));

  github_.control({{"suspend", 42}, {"permissions", {{"metadata", "read"}}}});
  status = get("/v1/github");
  EXPECT_THAT(status.value("problem", ""), HasSubstr("may not read contents"));
  EXPECT_THAT(status["projects"][1].value("problem", ""), HasSubstr("octo is suspended"));
  github_.control({{"permissions", {{"contents", "read"}, {"deployments", "read"}}}});
  EXPECT_THAT(get("/v1/github").value("problem", ""), HasSubstr("may not write deployments"));
  github_.control({{"permissions", {{"metadata", "read"}}}, {"events", json::array()}});
  EXPECT_THAT(
      get("/v1/github").value("problem", ""),
      AllOf(HasSubstr("may not read contents"), HasSubstr("not told of pushes"),
            HasSubstr("not told of repositories that"), HasSubstr("may not write deployments")));
}

TEST_F(GitHubRoutes, the_status_tells_of_a_silent_webhook_and_of_a_deleted_repository) {
  ASSERT_EQ(put(credentials()).status, 201);
  control_.add_project("web");
  pb::Event connected;
  connected.mutable_repository_connected()->set_url(github_.base_url() + "/octo/web.git");
  control_.append(project_stream(ProjectId("web")), {connected});
  control_.add_deployment("d1", "web");
  EXPECT_EQ(get("/v1/github")["projects"][0]["problem"], "");
  pb::Event found;
  auto& push = *found.mutable_push_received();
  push = control_.catalog().deployment(DeploymentId("d1"))->state.push;
  push.set_after(std::string(40, 'b'));
  push.set_inferred_at_s(1'700'000'000);
  control_.append_to("d2", found);
  EXPECT_THAT(get("/v1/github")["projects"][0].value("problem", ""),
              AllOf(HasSubstr("no webhook told of the newest push to project 'web', bbbbbbb"),
                    HasSubstr("under \"Advanced\"")));
  ASSERT_TRUE(
      control_.execute(Principal::webhook("github"), commands::RecordRepositoryDeletion{"web", 7}));
  EXPECT_THAT(get("/v1/github")["projects"][0].value("problem", ""),
              HasSubstr("was deleted on GitHub"));
}

TEST_F(GitHubRoutes, each_repository_is_asked_for_once_until_github_is_in_trouble) {
  ASSERT_EQ(put(credentials()).status, 201);
  for (const char* repository : {"api", "web", "web", "zoo"}) {
    const std::string name = repository + std::to_string(control_.catalog().projects().size());
    control_.add_project(name);
    pb::Event connected;
    connected.mutable_repository_connected()->set_url(github_.base_url() + "/octo/" + repository);
    control_.append(project_stream(ProjectId(name)), {connected});
  }
  auto status = get("/v1/github");
  ASSERT_EQ(status["projects"].size(), 4U);
  EXPECT_EQ(github_.count_of("GET", "/installation"), 3U);
  EXPECT_EQ(status["projects"][2]["installed"], true);
  EXPECT_EQ(status["projects"][3]["installed"], false);

  github_.fail_next("/repos/octo/web/installation", 502);
  status = get("/v1/github");
  EXPECT_EQ(github_.count_of("GET", "/installation"), 5U);
  EXPECT_THAT(status.value("problem", ""), HasSubstr("fails with status 502"));
  EXPECT_EQ(status["projects"][0]["installed"], true);
  for (std::size_t i = 1; i < 4; ++i) {
    EXPECT_EQ(status["projects"][i]["installed"], nullptr) << i;
    EXPECT_EQ(status["projects"][i]["problem"], "") << i;
  }
}

TEST_F(GitHubRoutes, a_github_that_hangs_holds_up_no_status_for_long) {
  ASSERT_EQ(put(credentials()).status, 201);
  GitHubSetup setup(control_, &connected_, {"example.com", 8443});
  github_.control(
      {{"fault", {{"path", "/app.*"}, {"method", "GET"}, {"status", 200}, {"delay_s", 30}}}});
  const auto began = std::chrono::steady_clock::now();
  const auto status = setup.status(std::chrono::milliseconds(200));
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(8));
  EXPECT_THAT(status.value("problem", ""), HasSubstr("takes too long to answer"));
  EXPECT_EQ(status["app"]["id"], LocalGitHub::k_app_id);
}

TEST_F(GitHubRoutes, a_webhook_that_fails_is_told_with_what_to_do) {
  ASSERT_EQ(put(credentials()).status, 201);
  const auto last_status = [&](int code) {
    github_.control({{"deliveries",
                      {{{"id", 1},
                        {"guid", "g"},
                        {"delivered_at", "2999-01-01T00:00:00Z"},
                        {"status_code", code},
                        {"event", "push"}}}}});
    return get("/v1/github")["webhook"];
  };
  EXPECT_THAT(last_status(401).value("problem", ""), HasSubstr("refused for its signature"));
  EXPECT_THAT(last_status(0).value("problem", ""), HasSubstr("could not reach the webhook"));
  EXPECT_THAT(last_status(503).value("problem", ""), HasSubstr("answered with 503"));
  const auto fine = last_status(202);
  EXPECT_EQ(fine["problem"], "");
  EXPECT_EQ(fine["last_delivery"]["status"], 202);
  // That the deliveries fail there follows from where they go.
  github_.control({{"hook_url", "https://elsewhere.example/hook"}});
  for (const int status : {0, 401, 503, 202}) {
    EXPECT_THAT(last_status(status).value("problem", ""), HasSubstr("delivers to another URL"))
        << status;
  }
  github_.fail_next("/app/hook/deliveries", 404, json::object(), json::object());
  EXPECT_THAT(get("/v1/github")["webhook"].value("problem", ""),
              HasSubstr("delivers to another URL"));
}

TEST_F(GitHubRoutes, a_disconnected_app_is_forgotten) {
  EXPECT_EQ(put(credentials()).status, 201);
  EXPECT_EQ(ask("DELETE", "/v1/github").status, 200);
  EXPECT_FALSE(control_.catalog().github_app().state.is_connected());
  EXPECT_EQ(get("/v1/github")["app"], nullptr);
}

// What is recorded is what is connected: no call has to come to its end for that.
TEST_F(GitHubRoutes, an_app_is_as_it_is_recorded_however_the_call_ended) {
  control_.app_outcome = fail(ErrorCode::timed_out, "recorded, but the read model is late");
  EXPECT_EQ(put(credentials()).status, 504);
  const auto status = get("/v1/github");
  EXPECT_EQ(status["app"]["id"], LocalGitHub::k_app_id);
  EXPECT_EQ(status["problem"], "");
  EXPECT_EQ(ask("DELETE", "/v1/github").status, 504);
  EXPECT_EQ(get("/v1/github")["app"], nullptr);
}

TEST_F(GitHubRoutes, a_manifest_goes_to_github_and_comes_back_as_a_connected_app) {
  const auto page = browse(begin());
  ASSERT_EQ(page.status, 200) << page.body;
  EXPECT_EQ(page.field("Cache-Control"), "no-store");
  EXPECT_THAT(page.field("Content-Security-Policy"), HasSubstr("default-src 'none'"));
  const std::string mark = "action=\"" + github_.base_url() + "/settings/apps/new?state=";
  const auto at = page.body.find(mark);
  ASSERT_NE(at, std::string::npos) << page.body;
  const auto state = page.body.substr(at + mark.size(), 64);

  const auto location = github_sends_on_to(state);
  EXPECT_EQ(get("/v1/github/manifest/" + state)["app"], nullptr);

  // Somebody who only looks uses nothing up.
  ASSERT_TRUE(connect_webhook().ask(request_text("HEAD", location, {}, {})));
  const auto done = browse(location);
  ASSERT_EQ(done.status, 200) << done.body;
  EXPECT_THAT(done.body, HasSubstr("/apps/atlasflow-test/installations/new"));
  EXPECT_THAT(done.body, AllOf(Not(HasSubstr("PRIVATE KEY")), Not(HasSubstr("Secret"))));
  EXPECT_EQ(control_.catalog().github_app().state.app_id, LocalGitHub::k_app_id);
  EXPECT_TRUE(control_.github_webhook_secret().is(LocalGitHub::k_webhook_secret));
  EXPECT_EQ(get("/v1/github/manifest/" + state)["app"]["slug"], "atlasflow-test");

  // A state is good for one App: nobody can put another in its place with it. Who has not seen the
  // answer may load the page again.
  EXPECT_EQ(browse(location).body, done.body);
  EXPECT_EQ(browse(github_sends_on_to(state)).body, done.body);
  EXPECT_EQ(browse("/github/connect/" + state).status, 404);
  EXPECT_EQ(conversions(), 1U);
  EXPECT_EQ(control_.asked<commands::ConnectGitHubApp>().size(), 1U);
}

// GitHub gives the key of a new App away once, so it must not be lost with a call that fails.
TEST_F(GitHubRoutes, a_new_app_s_key_is_held_until_it_is_recorded) {
  const auto state = state_of(begin());
  const auto location = github_sends_on_to(state);
  control_.app_is_recorded = false;
  control_.app_outcome = fail(ErrorCode::disk_full, "there is no room");
  const auto failed = browse(location);
  EXPECT_EQ(failed.status, 503);
  EXPECT_THAT(failed.body, AllOf(HasSubstr("there is no room"), HasSubstr("load this page again")));
  auto progress = get("/v1/github/manifest/" + state);
  EXPECT_EQ(progress["over"], false);
  EXPECT_THAT(progress.value("problem", ""), HasSubstr("there is no room"));
  // Pages that are begun meanwhile do not push it out.
  for (int i = 0; i < 20; ++i) begin();

  control_.app_is_recorded = true;
  control_.app_outcome = {};
  EXPECT_EQ(browse(location).status, 200);
  EXPECT_EQ(conversions(), 1U);
  EXPECT_TRUE(control_.github_private_key().is(github_.private_key()));
  EXPECT_TRUE(control_.github_webhook_secret().is(LocalGitHub::k_webhook_secret));
  progress = get("/v1/github/manifest/" + state);
  EXPECT_EQ(progress["app"]["id"], LocalGitHub::k_app_id);
}

TEST_F(GitHubRoutes, a_code_is_asked_for_again_when_github_failed_and_not_when_it_is_spent) {
  const auto state = state_of(begin());
  const auto location = github_sends_on_to(state);
  github_.fail_next("/app-manifests/.*", 502);
  EXPECT_EQ(browse(location).status, 503);
  EXPECT_EQ(browse(location).status, 200);

  const auto other = state_of(begin());
  EXPECT_EQ(browse("/github/created?code=spent&state=" + other).status, 400);
  const auto progress = get("/v1/github/manifest/" + other);
  EXPECT_EQ(progress["over"], true);
  EXPECT_THAT(progress.value("problem", ""), HasSubstr("was used before"));
  EXPECT_EQ(browse("/github/connect/" + other).status, 404);
}

TEST_F(GitHubRoutes, looking_how_far_a_page_is_asks_github_for_nothing) {
  const auto state = state_of(begin());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(get("/v1/github/manifest/" + state)["over"], false);
  EXPECT_EQ(ask("GET", "/v1/github/manifest/" + std::string(64, '0')).status, 404);
  EXPECT_THAT(github_.asked(), IsEmpty());
}

TEST_F(GitHubRoutes, nobody_from_outside_connects_an_app_without_a_state) {
  EXPECT_EQ(browse("/github/connect/" + std::string(64, '0')).status, 404);
  for (const char* target : {"/github/created", "/github/created?code=abc",
                             "/github/created?code=abc&state=", "/github/created?state=x&code=y"}) {
    EXPECT_EQ(browse(target).status, 404) << target;
  }
  for (const char* target : {"/v1/github", "/v1/github/manifest", "/v1/github/manifest/x"}) {
    EXPECT_EQ(browse(target).status, 404) << target;
  }
  EXPECT_THAT(github_.asked(), IsEmpty());
}

TEST_F(GitHubRoutes, of_many_pages_the_newest_are_good) {
  const auto first = begin();
  std::string last;
  for (int i = 0; i < 16; ++i) last = begin();
  EXPECT_EQ(browse(first).status, 404);
  EXPECT_EQ(browse(last).status, 200);
}

TEST_F(GitHubRoutes, an_organization_that_is_none_is_refused) {
  const auto answer = ask("POST", "/v1/github/manifest", R"({"organization":"a/b\"><script>"})");
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, HasSubstr("no name of an organization"));
}

}  // namespace
}  // namespace atlasflow::api
