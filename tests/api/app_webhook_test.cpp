// Deliveries that the GitHub App signs: for whom they speak, and what it tells beside pushes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/api/webhook_fixture.hpp"

namespace atlasflow::api {
namespace {

using actors::PushReceipt;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::push_payload;
using ::testing::UnorderedElementsAre;
using testing::Webhook;

class AppWebhook : public Webhook {
 protected:
  AppWebhook() {
    static_cast<void>(control_.execute(
        Principal::user(),
        commands::ConnectGitHubApp{1, "atlasflow", "https://github.com", "SHA256:x", Secret("key"),
                                   Secret("app-secret")}));
  }
  void connect(const std::string& name, const std::string& url, const std::string& secret = "") {
    control_.add_project(name, secret);
    pb::Event connected;
    connected.mutable_repository_connected()->set_url(url);
    if (!secret.empty()) {
      connected.mutable_repository_connected()->set_webhook_secret_ref("sealed-" + name);
    }
    control_.append(project_stream(ProjectId(name)), {connected});
  }
};

TEST_F(AppWebhook, the_app_s_signature_speaks_for_the_repositories_on_its_github_alone) {
  connect("shop", "https://github.com/acme/shop.git");
  connect("own", "git@github.com:acme/own.git", "own-secret");
  connect("elsewhere", "https://git.example.com/acme/shop.git");
  control_.receipts = std::vector<PushReceipt>{deployed()};
  EXPECT_EQ(deliver(push_payload().dump(), "app-secret").status, 202);
  const auto pushes = control_.asked<commands::TakePush>();
  ASSERT_EQ(pushes.size(), 1U);
  EXPECT_THAT(pushes[0].push.signed_for, UnorderedElementsAre("shop", "own"));
}

// An empty list would mean all projects that have no secret of their own.
TEST_F(AppWebhook, without_a_repository_there_it_speaks_for_nobody) {
  connect("elsewhere", "https://git.example.com/acme/shop.git");
  const auto answer = deliver(push_payload().dump(), "app-secret");
  EXPECT_EQ(answer.status, 202);
  EXPECT_THAT(answer.body, HasSubstr("No project that this signature speaks for"));
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(AppWebhook, a_disconnected_app_signs_nothing_any_more) {
  connect("shop", "https://github.com/acme/shop.git");
  static_cast<void>(control_.execute(Principal::user(), commands::DisconnectGitHubApp{}));
  EXPECT_EQ(deliver(push_payload().dump(), "app-secret").status, 401);
}

TEST_F(AppWebhook, what_it_tells_beside_pushes_is_noted_or_ignored_with_the_reason) {
  const auto other = [&](const char* event, const json& payload) {
    return deliver(payload.dump(), "app-secret", event);
  };
  const json installation = {{"id", 42}, {"account", {{"login", "acme"}}}};
  auto answer = other("installation", {{"action", "suspend"}, {"installation", installation}});
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(json::parse(answer.body), (json{{"noted", "suspended"}}));
  answer = other("repository", {{"action", "publicized"}});
  EXPECT_EQ(answer.status, 202);
  EXPECT_THAT(answer.body, HasSubstr("nothing follows here"));
  answer = other("installation", {{"action", "created"}, {"installation", 7}});
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, HasSubstr("'installation.id'"));
}

json repository(std::int64_t id, const std::string& name) {
  return {
      {"id", id}, {"name", name}, {"full_name", "acme/" + name}, {"owner", {{"login", "acme"}}}};
}
json renamed(std::int64_t id, const std::string& from, const std::string& to) {
  return {{"action", "renamed"},
          {"changes", {{"repository", {{"name", {{"from", from}}}}}}},
          {"repository", repository(id, to)}};
}

TEST_F(AppWebhook, a_renamed_repository_is_followed_by_its_projects) {
  connect("shop", "https://github.com/acme/shop.git");
  connect("shop-staging", "https://github.com/Acme/Shop");
  connect("other", "https://github.com/acme/other.git");
  const auto answer = deliver(renamed(7, "shop", "store").dump(), "app-secret", "repository");
  EXPECT_EQ(answer.status, 202) << answer.body;
  EXPECT_THAT(json::parse(answer.body)["projects"], UnorderedElementsAre("shop", "shop-staging"));
  for (const char* name : {"shop", "shop-staging"}) {
    const auto state = control_.catalog().project_named(name)->state;
    EXPECT_EQ(state.repository_url, "https://github.com/acme/store.git");
    EXPECT_EQ(state.repository_id, 7);
  }
  EXPECT_EQ(control_.catalog().project_named("other")->state.repository_url,
            "https://github.com/acme/other.git");
  // Its id is known now, and its old name another's.
  deliver(renamed(8, "store", "evil").dump(), "app-secret", "repository");
  EXPECT_EQ(control_.catalog().project_named("shop")->state.repository_url,
            "https://github.com/acme/store.git");
}

// Such a secret lets its owner deploy what the project is connected to, and nothing else.
TEST_F(AppWebhook, no_other_secret_leads_a_project_to_another_repository) {
  connect("shop", "https://github.com/acme/shop.git", "own-secret");
  for (const char* secret : {"own-secret", testing::k_secret}) {
    EXPECT_EQ(deliver(renamed(7, "shop", "evil").dump(), secret, "repository").status, 202);
    const json deletion = {{"action", "deleted"}, {"repository", repository(7, "shop")}};
    EXPECT_EQ(deliver(deletion.dump(), secret, "repository").status, 202);
  }
  const auto state = control_.catalog().project_named("shop")->state;
  EXPECT_EQ(state.repository_url, "https://github.com/acme/shop.git");
  EXPECT_FALSE(state.repository_deleted);
}

TEST_F(AppWebhook, a_deleted_repository_is_shown_and_tears_nothing_down) {
  connect("shop", "https://github.com/acme/shop.git");
  const json deletion = {{"action", "deleted"}, {"repository", repository(7, "shop")}};
  EXPECT_EQ(deliver(deletion.dump(), "app-secret", "repository").status, 202);
  EXPECT_TRUE(control_.catalog().project_named("shop")->state.repository_deleted);
  EXPECT_EQ(get("/v1/projects/shop")["repository_deleted"], true);
  EXPECT_THAT(control_.asked<commands::DeleteProject>(), IsEmpty());
}

TEST_F(AppWebhook, a_push_tells_its_repository_s_id) {
  connect("shop", "https://github.com/acme/shop.git");
  control_.receipts = std::vector<PushReceipt>{deployed()};
  auto payload = push_payload();
  payload["repository"]["id"] = 77;
  EXPECT_EQ(deliver(payload.dump(), "app-secret").status, 202);
  EXPECT_EQ(control_.asked<commands::TakePush>().at(0).push.repository_id, 77);
  payload["repository"]["id"] = "x";
  EXPECT_EQ(deliver(payload.dump(), "app-secret").status, 400);
}

}  // namespace
}  // namespace atlasflow::api
