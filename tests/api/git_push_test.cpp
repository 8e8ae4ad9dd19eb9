// What a push comes to, and who may push.
#include "api/git_push.hpp"

#include <future>

#include <gmock/gmock.h>

#include "tests/api/git_push_fixture.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;
using actors::PushReceipt;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::k_token;
using testing::k_zeros;
using ::testing::Not;
using testing::request_text;
using ::testing::SizeIs;

namespace fs = std::filesystem;

using GitPushing = testing::GitPushTest;

TEST_F(GitPushing, a_push_to_the_projects_branch_is_taken_as_a_webhooks_is) {
  control_.receipts = std::vector<PushReceipt>{
      {PushReceipt::Verdict::deployed, "shop", DeploymentId("aaaaaaa2"), ""}};
  control_.then["take_project_push"] = [this] {
    control_.add_deployment("aaaaaaa2", "shop");
    control_.make_live("aaaaaaa2");
  };
  const auto sha = commit("one");
  const auto ran = push({"main"}, url());
  ASSERT_EQ(ran.code, 0) << ran.output;
  // What the pusher reads, to the end of the deployment.
  EXPECT_THAT(ran.output,
              AllOf(HasSubstr("remote: Atlasflow: main at " + sha.substr(0, 7) +
                              " is deployment aaaaaaa2 of shop; follow it with"),
                    HasSubstr("remote: Atlasflow: a microVM is started"),
                    HasSubstr("remote: Atlasflow: live at https://shop.atlasflow.localhost:8443")));
  EXPECT_EQ(head(), sha);
  ASSERT_THAT(recorded(), SizeIs(1));
  const auto taken = recorded()[0];
  EXPECT_EQ(taken.ref, "refs/heads/main");
  EXPECT_EQ(taken.before, k_zeros);
  EXPECT_EQ(taken.after, sha);
  EXPECT_EQ(taken.pusher, "ada");
  EXPECT_FALSE(taken.forced);
  EXPECT_GT(taken.pushed_at_s, 0);
  EXPECT_EQ(control_.calls().back().by, Principal::webhook("push"));
  EXPECT_FALSE(fs::exists(repositories_->pending_file("shop")));
}

TEST_F(GitPushing, a_large_push_comes_in_chunks_and_goes_through_no_memory) {
  std::string text;
  unsigned state = 1;
  while (text.size() < 6U << 20U) {
    state = state * 1664525U + 1013904223U;
    text += static_cast<char>(state >> 24U);
  }
  const auto sha = commit(text);
  const auto ran = push({"main"}, url());
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_EQ(head(), sha);
  // And in many small ones.
  const auto next = commit(text + "more");
  const auto again = git({"-c", "http.postBuffer=65536", "push", url(), "main"});
  ASSERT_EQ(again.code, 0) << again.output;
  EXPECT_EQ(head(), next);
  ASSERT_THAT(recorded(), SizeIs(2));
  EXPECT_EQ(recorded()[1].before, sha);
}

TEST_F(GitPushing, every_version_of_the_protocol_is_spoken) {
  for (const char* version : {"0", "1", "2"}) {
    const auto sha = commit(version);
    const auto ran = git({"-c", std::string("protocol.version=") + version, "push", url(), "main"});
    EXPECT_EQ(ran.code, 0) << ran.output;
    EXPECT_EQ(head(), sha);
  }
}

TEST_F(GitPushing, a_compressed_request_is_understood) {
  const auto sha = commit("one");
  ASSERT_EQ(push({"main", "main:refs/heads/old"}, url()).code, 0);
  std::ofstream(folder_.path() / "request") << deletion_of("refs/heads/old", sha);
  SpawnRequest gzip;
  gzip.argv = {"/bin/gzip", "-c", (folder_.path() / "request").string()};
  std::string body;
  ASSERT_TRUE(
      run_process(std::move(gzip), 10s, {}, [&](std::string_view bytes) { body += bytes; }));
  const auto answer = ask_git(
      "POST", "/git/shop/git-receive-pack",
      {"Content-Type: application/x-git-receive-pack-request", "Content-Encoding: gzip"}, body);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.field("Content-Type"), "application/x-git-receive-pack-result");
  EXPECT_THAT(answer.body, AllOf(HasSubstr("ok refs/heads/old"),
                                 HasSubstr("Atlasflow: branch 'old' was deleted")));
  EXPECT_EQ(head("refs/heads/old"), "");
}

TEST_F(GitPushing, a_rewound_branch_is_deployed_and_said_to_be_forced) {
  const auto one = commit("one");
  const auto two = commit("two");
  ASSERT_EQ(push({"main"}, url()).code, 0);
  expect_git({"reset", "-q", "--hard", one});
  // Without force it is git's own to refuse.
  const auto refused = push({"main"}, url());
  EXPECT_NE(refused.code, 0);
  EXPECT_EQ(head(), two);
  ASSERT_EQ(push({"--force", "main"}, url()).code, 0);
  EXPECT_EQ(head(), one);
  ASSERT_THAT(recorded(), SizeIs(2));
  EXPECT_TRUE(recorded()[1].forced);
  EXPECT_EQ(recorded()[1].before, two);
  EXPECT_EQ(recorded()[1].after, one);
}

TEST_F(GitPushing, what_is_no_deployed_branch_is_kept_and_the_pusher_hears_why_nothing_follows) {
  commit("one");
  expect_git({"tag", "v1"});
  const auto ran = push({"main:refs/heads/side", "v1"}, url());
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_THAT(ran.output,
              AllOf(HasSubstr("remote: Atlasflow: branch 'side' is not deployed; the project "
                              "deploys 'main'; it is kept"),
                    HasSubstr("remote: Atlasflow: tags are not deployed: v1; it is kept")));
  EXPECT_THAT(recorded(), IsEmpty());
  // Nothing but branches and tags.
  const auto other = push({"main:refs/notes/x"}, url());
  EXPECT_NE(other.code, 0);
  EXPECT_THAT(other.output, HasSubstr("deny updating a hidden ref"));
  // The deployed branch stays; others go.
  ASSERT_EQ(push({"main"}, url()).code, 0);
  const auto kept = push({"--delete", "main"}, url());
  EXPECT_NE(kept.code, 0);
  EXPECT_THAT(kept.output, HasSubstr("deletion of the current branch prohibited"));
  EXPECT_NE(head(), "");
  const auto gone = push({"--delete", "side"}, url());
  EXPECT_EQ(gone.code, 0) << gone.output;
  EXPECT_THAT(gone.output, HasSubstr("remote: Atlasflow: branch 'side' was deleted"));
}

TEST_F(GitPushing, a_branch_with_a_preview_is_taken_and_its_deletion_too) {
  deploy_previews();
  const auto sha = commit("one");
  ASSERT_EQ(push({"main:refs/heads/side"}, url()).code, 0);
  ASSERT_EQ(push({"--delete", "side"}, url()).code, 0);
  ASSERT_THAT(recorded(), SizeIs(2));
  EXPECT_EQ(recorded()[0].ref, "refs/heads/side");
  EXPECT_TRUE(recorded()[1].deleted);
  EXPECT_EQ(recorded()[1].before, sha);
}

TEST_F(GitPushing, only_the_projects_own_token_opens_it_and_nobody_learns_more) {
  commit("one");
  for (const auto& [project, login] :
       {std::pair("shop", "ada:afp_of-other"), std::pair("shop", "ada:"),
        std::pair("nothing", "ada:x"), std::pair("cloned", "ada:x")}) {
    const auto ran = push({"main"}, url(project, login));
    EXPECT_NE(ran.code, 0) << project;
    // The second: git has no other to offer.
    EXPECT_THAT(ran.output,
                AnyOf(HasSubstr("Authentication failed"), HasSubstr("terminal prompts disabled")))
        << project;
  }
  const auto target = [](const std::string& project) {
    return "/git/" + project + "/info/refs?service=git-receive-pack";
  };
  const auto of_none = connect_webhook().ask(request_text("GET", target("nothing"))).value();
  const auto of_shop = connect_webhook().ask(request_text("GET", target("shop"))).value();
  EXPECT_EQ(of_none.status, 401);
  EXPECT_EQ(of_shop.status, 401);
  EXPECT_EQ(of_none.body, of_shop.body);
  EXPECT_THAT(of_shop.field("WWW-Authenticate"), HasSubstr("Basic realm="));
  const auto outside =
      connect_webhook().ask(request_text("GET", "/git/..%2f..%2fshop/info/refs?service=x")).value();
  EXPECT_EQ(outside.status, 401);
  // Nor is anything given out to who may push.
  EXPECT_EQ(ask_git("GET", "/git/shop/info/refs?service=git-upload-pack", {}).status, 403);
  EXPECT_EQ(ask_git("POST", "/git/shop/git-receive-pack", {"Content-Type: text/plain"}, "x").status,
            400);
  EXPECT_FALSE(fs::exists(bare()));
  EXPECT_THAT(recorded(), IsEmpty());
}

TEST_F(GitPushing, an_address_that_fails_too_often_has_to_wait_unless_its_token_is_right) {
  const auto try_with = [this](const std::string& token, const std::string& address) {
    return connect_webhook()
        .ask(request_text(
            "GET", "/git/shop/info/refs?service=git-receive-pack",
            {"Authorization: Basic " + base64("ada:" + token), "X-Forwarded-For: " + address}))
        .value()
        .status;
  };
  for (int i = 0; i < FailedLogins::k_failures_max; ++i) {
    EXPECT_EQ(try_with("wrong", "192.0.2.1"), 401);
  }
  EXPECT_EQ(try_with("wrong", "192.0.2.1"), 429);
  EXPECT_EQ(try_with("wrong", "192.0.2.2"), 401);
  EXPECT_EQ(try_with(k_token, "192.0.2.1"), 200);
}

TEST_F(GitPushing, a_deployment_that_is_followed_holds_nothing_of_what_was_sent) {
  control_.receipts = std::vector<PushReceipt>{
      {PushReceipt::Verdict::deployed, "shop", DeploymentId("aaaaaaa2"), ""}};
  control_.then["take_project_push"] = [this] { control_.add_deployment("aaaaaaa2", "shop"); };
  commit("one");
  const auto to = url();
  auto pushed = std::async(std::launch::async, [&] { return push({"main"}, to); });
  ASSERT_TRUE(eventually([&] { return !recorded().empty(); }));
  EXPECT_TRUE(eventually([&] { return !fs::exists(repositories_->pending_file("shop")); }));
  EXPECT_EQ(spools(), 0);
  EXPECT_EQ(pushed.wait_for(0s), std::future_status::timeout);
  control_.make_live("aaaaaaa2");
  EXPECT_EQ(pushed.get().code, 0);
}

TEST_F(GitPushing, a_branch_whose_name_is_no_text_is_kept_and_nothing_follows) {
  deploy_previews();
  commit("one");
  ASSERT_EQ(push({"main"}, url()).code, 0);
  control_.forget_calls();
  const std::string odd = "refs/heads/caf\xE9";
  const auto ran = push({"main:" + odd}, url());
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("remote: Atlasflow: branches and tags whose names are no UTF-8 "
                                    "are kept, and nothing follows from them"));
  EXPECT_NE(head(odd), "");
  EXPECT_THAT(recorded(), IsEmpty());
  // Nor is it taken for one that goes with the next push.
  EXPECT_THAT(push({"main:refs/heads/side"}, url()).output, Not(HasSubstr("was deleted")));
}

TEST_F(GitPushing, where_there_are_too_many_branches_and_tags_the_projects_own_is_looked_at) {
  commit("one");
  ASSERT_EQ(push({"main"}, url()).code, 0);
  control_.forget_calls();
  deploy_previews();
  const auto two = commit("two");
  add_60000_tags(head());
  const auto ran = push({"main", "main:refs/heads/side"}, url());
  ASSERT_EQ(ran.code, 0) << ran.output;
  EXPECT_THAT(ran.output, HasSubstr("of this push only 'main' was looked at"));
  ASSERT_THAT(recorded(), SizeIs(1));
  EXPECT_EQ(recorded()[0].ref, "refs/heads/main");
  EXPECT_EQ(recorded()[0].after, two);
  EXPECT_FALSE(fs::exists(repositories_->pending_file("shop")));
}

TEST_F(GitPushing, a_token_is_shown_once_replaced_and_revoked) {
  const auto made = json::parse(ask("POST", "/v1/projects/shop/push-token", "{}").body);
  const auto token = made.at("token").get<std::string>();
  EXPECT_EQ(made.at("url"), "https://atlasflow.localhost:8443/git/shop");
  EXPECT_THAT(token, ::testing::StartsWith("afp_"));
  commit("one");
  EXPECT_NE(push({"main"}, url()).code, 0);  // the one before
  EXPECT_EQ(push({"main"}, url("shop", "ada:" + token)).code, 0);
  const auto project = get("/v1/projects/shop");
  EXPECT_EQ(project.at("has_push_token"), true);
  EXPECT_THAT(project.dump(), Not(HasSubstr(token)));
  EXPECT_EQ(ask("DELETE", "/v1/projects/shop/push-token").status, 200);
  EXPECT_NE(push({"--force", "main"}, url("shop", "ada:" + token)).code, 0);
  EXPECT_EQ(get("/v1/projects/shop").at("has_push_token"), false);
  // There is none to take away, and none for what is cloned from elsewhere.
  EXPECT_EQ(ask("DELETE", "/v1/projects/shop/push-token").status, 409);
  EXPECT_EQ(ask("POST", "/v1/projects/cloned/push-token", "{}").status, 409);
  EXPECT_EQ(ask("POST", "/v1/projects/none/push-token", "{}").status, 404);
}

TEST_F(GitPushing, a_project_that_is_pushed_to_here_is_made_by_the_api) {
  const auto made = ask("POST", "/v1/projects", R"({"name":"mine","git_push":true})");
  EXPECT_EQ(made.status, 201);
  const auto project = json::parse(made.body);
  EXPECT_EQ(project.at("git_push_url"), "https://atlasflow.localhost:8443/git/mine");
  EXPECT_EQ(project.at("repository"), "atlasflow:mine");
  EXPECT_EQ(project.at("branch"), "main");
  EXPECT_EQ(get("/v1/projects/cloned").at("git_push_url"), nullptr);
  for (const char* body : {R"({"name":"x","git_push":true,"repository":"https://h/x"})",
                           R"({"name":"x","repository":"atlasflow:shop"})", R"({"name":"x"})",
                           R"({"name":"x","git_push":"yes"})"}) {
    EXPECT_EQ(ask("POST", "/v1/projects", body).status, 400) << body;
  }
}

TEST(PushLogin, basic_authentication_is_read_as_rfc_7617_has_it) {
  const auto login = [](const std::string& field) {
    Request request;
    request.fields.emplace_back("Authorization", field);
    return basic_login(request);
  };
  const auto good = login("basic  " + base64("ada:pass:word"));
  ASSERT_TRUE(good.has_value());
  EXPECT_EQ(good->user, "ada");
  EXPECT_EQ(good->password, "pass:word");
  std::string too_long = "a:";
  too_long.append(2000, 'x');
  for (const auto& bad :
       {std::string("Basic"), std::string("Bearer ") + base64("a:b"), std::string("Basic !!"),
        "Basic " + base64("nothing"), "Basic " + base64(too_long)}) {
    EXPECT_FALSE(login(bad).has_value()) << bad.substr(0, 40);
  }
}

TEST(PushLogin, failures_are_forgotten_after_a_while_and_bounded) {
  FailedLogins logins;
  const FailedLogins::Clock::time_point now{1h};
  for (int i = 0; i < FailedLogins::k_failures_max; ++i) logins.note("a", now);
  EXPECT_EQ(logins.wait_of("a", now), FailedLogins::k_window);
  EXPECT_EQ(logins.wait_of("a", now + FailedLogins::k_window), 0s);
  logins.note("a", now + FailedLogins::k_window);
  EXPECT_EQ(logins.wait_of("a", now + FailedLogins::k_window), 0s);
  EXPECT_EQ(logins.wait_of("b", now), 0s);
}

}  // namespace
}  // namespace atlasflow::api
