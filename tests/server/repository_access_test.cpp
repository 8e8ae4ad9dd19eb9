// Private repositories by SSH and by login, opened by the real engine with what a real control
// plane recorded, from a real OpenSSH server and a real smart HTTP one.
#include "server/repository_access.hpp"

#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/settings.hpp"
#include "server/engines.hpp"
#include "tests/actors/facade_fixture.hpp"
#include "tests/builder/git_server.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"
#include "tests/builder/silent_peer.hpp"
#include "tests/builder/ssh_server.hpp"
#include "tests/server/no_images.hpp"

namespace atlasflow::server {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

class OwnRepository : public actors_test::Facade {
 protected:
  ProjectState state(const std::string& project = "web") {
    const auto view = plane->catalog().project_named(project);
    return view ? view->state : ProjectState{};
  }
  Result<actors::ResolvedRef> look(std::chrono::milliseconds at_most = 20s) {
    return engine_.resolve(state(), "main", at_most);
  }
  Result<pb::Cloned> clone(const std::string& sha) {
    actors::SourceJob job;
    job.effect = EffectId("d-v2");
    job.deployment = DeploymentId("d" + sha.substr(0, 8));
    job.project = "web";
    job.project_id = state().id.str();
    job.repository_url = state().repository_url;
    job.ref = "refs/heads/main";
    job.sha = sha;
    job.remaining = 1min;
    job.settings = default_settings();
    auto cloned = engine_.clone(job, {});
    engine_.forget(job.deployment);
    return cloned;
  }
  void create(const std::string& url) {
    ASSERT_TRUE(as_user(commands::CreateProject{"web", url, "main", std::nullopt}));
    attached_ = access_.attach(*plane);
  }
  void expect_no_secret_in_the_log() {
    ASSERT_TRUE(plane->log().read_all(Position{1}, [](const storage::Record& record) {
      EXPECT_THAT(record.event.SerializeAsString(),
                  AllOf(Not(HasSubstr("PRIVATE KEY")), Not(HasSubstr("s3cret"))));
      return true;
    }));
  }
  std::filesystem::path root() const { return scratch_.path() / "repositories"; }

  builder::Scratch scratch_;
  NoImages images_;
  RegistryGate gate_;
  RepositoryAccess access_{secrets};
  LocalBuildEngine engine_{{scratch_.path() / "work", "127.0.0.1:1", [] { return true; }, nullptr,
                            0, 0, nullptr, &access_},
                           images_,
                           secrets,
                           gate_};
  std::unique_ptr<RepositoryAccess::Attachment> attached_;  // goes before the plane
};

class BySsh : public OwnRepository {
 protected:
  std::string host() const { return "[127.0.0.1]:" + std::to_string(server_.port()); }

  builder::SshServer server_{root(), scratch_.path() / "sshd"};
};

TEST_F(BySsh, a_project_is_cloned_with_the_key_that_it_printed) {
  builder::Origin origin(root() / "repo.git");
  const auto sha = origin.commit("refs/heads/main", {{"file", "x"}}, "By key");
  create(server_.url("/repo.git"));
  const auto without = look();
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().code, ErrorCode::user_error);
  EXPECT_THAT(without.error().message, HasSubstr("atlasflow project deploy-key web makes one"));

  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web"}));
  const auto not_let_in = look();
  ASSERT_FALSE(not_let_in);
  EXPECT_THAT(not_let_in.error().message, HasSubstr("add the project's deploy key"));

  server_.let_in(state().deploy_key);
  const auto head = look();
  ASSERT_TRUE(head) << to_string(head.error());
  EXPECT_EQ(head->sha, sha);
  const auto cloned = clone(sha);
  ASSERT_TRUE(cloned) << to_string(cloned.error());
  EXPECT_EQ(cloned->subject(), "By key");
  EXPECT_THAT(state().host_keys, ElementsAre(Pair(host(), server_.fingerprint())));
  expect_no_secret_in_the_log();

  // Another one in its place: the one before opens nothing from then on.
  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web", true}));
  EXPECT_FALSE(look());
  server_.let_in(state().deploy_key);
  EXPECT_TRUE(look());
  ASSERT_TRUE(as_user(commands::RemoveDeployKey{"web"}));
  EXPECT_THAT(look().error().message, HasSubstr("has no deploy key"));
}

TEST_F(BySsh, another_host_key_is_refused_until_somebody_accepts_it) {
  builder::Origin origin(root() / "repo.git");
  const auto sha = origin.commit("refs/heads/main", {{"file", "x"}});
  create(server_.url("/repo.git"));
  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web"}));
  server_.let_in(state().deploy_key);
  ASSERT_TRUE(look());
  const auto before = server_.fingerprint();
  server_.change_host_key();
  const auto sentence =
      AllOf(HasSubstr(before), HasSubstr(server_.fingerprint()),
            HasSubstr("atlasflow project host-key web --accept " + server_.fingerprint()));
  const auto head = look();
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::user_error);
  EXPECT_THAT(head.error().message, sentence);
  const auto cloned = clone(sha);
  ASSERT_FALSE(cloned);
  EXPECT_EQ(cloned.error().code, ErrorCode::user_error) << "trying again would not help";
  EXPECT_THAT(cloned.error().message, sentence);
  ASSERT_TRUE(as_user(commands::PinHostKey{"web", "", server_.fingerprint(), true}));
  EXPECT_TRUE(look());
  EXPECT_TRUE(clone(sha));
}

// Of two first looks at once one records it, and both go on.
TEST_F(BySsh, looks_at_once_keep_one_host_key) {
  builder::Origin origin(root() / "repo.git");
  origin.commit("refs/heads/main", {{"file", "x"}});
  create(server_.url("/repo.git"));
  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web"}));
  server_.let_in(state().deploy_key);
  const auto project = state();
  std::atomic<int> seen{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        if (engine_.resolve(project, "main", 30s)) ++seen;
      });
    }
  }
  EXPECT_EQ(seen, 4);
  int pinned = 0;
  ASSERT_TRUE(plane->log().read_all(Position{1}, [&](const storage::Record& record) {
    if (record.event.has_host_key_pinned()) ++pinned;
    return true;
  }));
  EXPECT_EQ(pinned, 1);
}

TEST_F(BySsh, a_key_that_is_lost_is_named_with_what_to_do) {
  create(server_.url("/repo.git"));
  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web"}));
  secrets.values.clear();
  const auto head = look();
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::user_error);
  EXPECT_THAT(head.error().message, HasSubstr("atlasflow project deploy-key web --rotate"));
}

// Whoever clones as the server starts waits for it, and as it stops is told so.
TEST_F(BySsh, before_the_control_plane_is_there_a_clone_waits_and_after_it_is_refused) {
  builder::Origin origin(root() / "repo.git");
  origin.commit("refs/heads/main", {{"file", "x"}});
  ASSERT_TRUE(
      as_user(commands::CreateProject{"web", server_.url("/repo.git"), "main", std::nullopt}));
  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web"}));
  server_.let_in(state().deploy_key);
  {
    std::jthread late([this] {
      std::this_thread::sleep_for(300ms);
      attached_ = access_.attach(*plane);
    });
    EXPECT_TRUE(look());
  }
  attached_.reset();
  const auto refused = look();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable) << to_string(refused.error());
}

using ByLogin = OwnRepository;

TEST_F(ByLogin, a_private_https_repository_is_cloned_with_the_login_of_the_project) {
  builder::Origin origin(root() / "repo.git");
  const auto sha = origin.commit("refs/heads/main", {{"file", "x"}}, "By login");
  builder::write(root() / "repo.git" / "config",
                 builder::read(root() / "repo.git" / "config") + "[safe]\n\tdirectory = *\n");
  builder::GitServer server(root(), "Basic bWU6czNjcmV0");  // me:s3cret
  create("http://127.0.0.1:" + std::to_string(server.port()) + "/repo.git");
  const auto without = look();
  ASSERT_FALSE(without);
  EXPECT_THAT(without.error().message, HasSubstr("atlasflow project login"));
  ASSERT_TRUE(as_user(commands::SetRepositoryLogin{"web", "me", Secret("wr0ng")}));
  const auto wrong = look();
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, ErrorCode::user_error);
  EXPECT_EQ(server.wrong_logins(), 1) << "a host may shut out who guesses";
  ASSERT_TRUE(as_user(commands::SetRepositoryLogin{"web", "me", Secret("s3cret")}));
  const auto head = look();
  ASSERT_TRUE(head) << to_string(head.error());
  EXPECT_EQ(head->sha, sha);
  const auto cloned = clone(sha);
  ASSERT_TRUE(cloned) << to_string(cloned.error());
  EXPECT_EQ(cloned->subject(), "By login");
  expect_no_secret_in_the_log();
  ASSERT_TRUE(as_user(commands::RemoveRepositoryLogin{"web"}));
  EXPECT_FALSE(look());
}

TEST_F(ByLogin, a_look_at_a_silent_remote_ends_at_its_time) {
  const builder::SilentPeer peer;
  create("http://127.0.0.1:" + std::to_string(peer.port()) + "/repo.git");
  const auto start = std::chrono::steady_clock::now();
  const auto head = look(1s);
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::unavailable);
  EXPECT_THAT(head.error().message, HasSubstr("did not say within 1 s where its branches stand"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
}

}  // namespace
}  // namespace atlasflow::server
