// Connecting a GitHub App over the API, with a GitHub on loopback behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/github_setup.hpp"
#include "base/http_client.hpp"
#include "tests/api/api_fixture.hpp"
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

  LocalGitHub github_;
  github::ConnectedApp connected_;
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
  ASSERT_NE(connected_.get(), nullptr);
  EXPECT_EQ(connected_.get()->app_id(), LocalGitHub::k_app_id);
  EXPECT_TRUE(control_.github_webhook_secret().is(LocalGitHub::k_webhook_secret));
}

TEST_F(GitHubRoutes, what_is_wrong_is_told_and_nothing_recorded) {
  const auto with = [&](const char* name, const json& value) {
    auto body = credentials();
    body[name] = value;
    return body;
  };
  const auto other_key = github::rfc_7515_key();
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
  EXPECT_EQ(connected_.get(), nullptr);
}

TEST_F(GitHubRoutes, the_status_says_what_stands_in_the_way) {
  EXPECT_EQ(get("/v1/github")["app"], nullptr);
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
}

TEST_F(GitHubRoutes, a_disconnected_app_is_forgotten) {
  EXPECT_EQ(put(credentials()).status, 201);
  EXPECT_EQ(ask("DELETE", "/v1/github").status, 200);
  EXPECT_EQ(connected_.get(), nullptr);
  EXPECT_FALSE(control_.catalog().github_app().state.is_connected());
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

  // The browser sends the form; here the code is taken from what it is sent on to.
  HttpRequest form;
  form.method = "POST";
  form.url = github_.base_url() + "/settings/apps/new?state=" + state;
  form.fields = {{"Content-Type", "application/x-www-form-urlencoded"}};
  form.body =
      "manifest=%7B%22url%22%3A%22https%3A%2F%2Fexample.com%3A8443%22%2C%22redirect_url%22"
      "%3A%22https%3A%2F%2Fexample.com%3A8443%2Fgithub%2Fcreated%22%2C%22hook_attributes%22"
      "%3A%7B%22url%22%3A%22x%22%7D%7D";
  const auto sent_on = send_http(form);
  ASSERT_TRUE(sent_on);
  const std::string origin = "https://example.com:8443";
  const std::string location(sent_on->field("Location"));
  ASSERT_THAT(location, StartsWith(origin + "/github/created?code="));

  // Somebody who only looks uses nothing up.
  ASSERT_TRUE(connect_webhook().ask(request_text("HEAD", location.substr(origin.size()), {}, {})));
  const auto done = browse(location.substr(origin.size()));
  ASSERT_EQ(done.status, 200) << done.body;
  EXPECT_THAT(done.body, HasSubstr("/apps/atlasflow-test/installations/new"));
  EXPECT_THAT(done.body, AllOf(Not(HasSubstr("PRIVATE KEY")), Not(HasSubstr("Secret"))));
  EXPECT_EQ(control_.catalog().github_app().state.app_id, LocalGitHub::k_app_id);
  EXPECT_TRUE(control_.github_webhook_secret().is(LocalGitHub::k_webhook_secret));
  ASSERT_NE(connected_.get(), nullptr);

  // A state is good once: nobody can put another App in its place with it.
  EXPECT_EQ(browse(location.substr(origin.size())).status, 404);
}

TEST_F(GitHubRoutes, nobody_from_outside_connects_an_app_without_a_state) {
  EXPECT_EQ(browse("/github/connect/" + std::string(64, '0')).status, 404);
  for (const char* target : {"/github/created", "/github/created?code=abc",
                             "/github/created?code=abc&state=", "/github/created?state=x&code=y"}) {
    EXPECT_EQ(browse(target).status, 404) << target;
  }
  for (const char* target : {"/v1/github", "/v1/github/manifest"}) {
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
