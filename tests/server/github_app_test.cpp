// Private repositories, cloned by the real engine as a GitHub App, from a GitHub on loopback.
#include "server/github_app.hpp"

#include <chrono>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/settings.hpp"
#include "server/delivery_watch.hpp"
#include "server/engines.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/secrets/github_app.hpp"
#include "tests/builder/scratch.hpp"
#include "tests/github/local_github.hpp"
#include "tests/server/no_images.hpp"

namespace atlasflow::server {
namespace {

using github::LocalGitHub;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// The App that a test says.
class SetApp final : public github::ConnectedApp {
 public:
  Result<std::shared_ptr<github::AppClient>> get() override {
    const std::lock_guard lock(mutex_);
    return app_;
  }
  void set(Result<std::shared_ptr<github::AppClient>> app) {
    const std::lock_guard lock(mutex_);
    app_ = std::move(app);
  }

 private:
  std::mutex mutex_;
  Result<std::shared_ptr<github::AppClient>> app_;
};

class PrivateClone : public testing::Test {
 protected:
  ~PrivateClone() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  void connect() {
    connected_.set(github::make_app_client(LocalGitHub::k_app_id, Secret(github_.private_key()),
                                           github_.base_url()));
  }
  actors::SourceJob job(const std::string& repository, const std::string& sha) {
    actors::SourceJob job;
    job.effect = EffectId("d-v2");
    job.deployment = DeploymentId("d" + sha.substr(0, 8));
    job.project = "web";
    job.repository_url = github_.base_url() + "/" + repository + ".git";
    job.ref = "refs/heads/main";
    job.sha = sha;
    job.remaining = std::chrono::minutes(1);
    job.settings = default_settings();
    return job;
  }
  std::size_t tokens_minted() { return github_.count_of("POST", "/access_tokens"); }

  LocalGitHub github_;
  SetApp connected_;
  builder::Scratch scratch_;
  NoImages images_;
  RegistryGate gate_;
  std::unique_ptr<storage::SecretStore> secrets_ =
      *storage::open_secret_store(scratch_.path() / "secrets", scratch_.path() / "secret.key");
  LocalBuildEngine engine_{
      {scratch_.path() / "work", "127.0.0.1:1", [] { return true; }, nullptr, 0, 0, &connected_},
      images_,
      *secrets_,
      gate_};
};

TEST_F(PrivateClone, a_private_repository_is_cloned_as_the_app) {
  const auto sha = github_.make_repository("octo/web");
  connect();
  ProjectState project;
  project.repository_url = github_.base_url() + "/octo/web.git";
  const auto head = engine_.resolve(project, "", std::chrono::seconds(20));
  ASSERT_TRUE(head) << to_string(head.error());
  EXPECT_EQ(head->sha, sha);
  const auto cloned = engine_.clone(job("octo/web", sha), {});
  ASSERT_TRUE(cloned) << to_string(cloned.error());
  EXPECT_EQ(cloned->subject(), "first");
  EXPECT_EQ(tokens_minted(), 1U);
}

TEST_F(PrivateClone, a_token_that_ends_in_the_middle_is_minted_anew) {
  const auto sha = github_.make_repository("octo/web");
  connect();
  // A clone's two requests to Git: for the list of refs and for the pack.
  const std::vector<std::pair<int, std::size_t>> minted_when_it_ends_after = {
      {1, 2},  // the first one, and one for the pack
      {2, 0},  // the one from before serves both
      {3, 1},  // as that has ended; this one stays
  };
  for (const auto& [requests, minted] : minted_when_it_ends_after) {
    const auto before = tokens_minted();
    github_.control({{"revoke_after_git_requests", requests}});
    auto asked = job("octo/web", sha);
    asked.deployment = DeploymentId("d" + std::to_string(requests));
    const auto cloned = engine_.clone(asked, {});
    ASSERT_TRUE(cloned) << requests << ": " << to_string(cloned.error());
    EXPECT_EQ(tokens_minted() - before, minted) << requests;
  }
}

TEST_F(PrivateClone, without_an_app_or_an_installation_the_user_reads_what_to_do) {
  const auto sha = github_.make_repository("octo/web");
  const auto nobody = engine_.clone(job("octo/web", sha), {});
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, ErrorCode::user_error);
  EXPECT_THAT(nobody.error().message, HasSubstr("atlasflow github connect"));
  connect();
  github_.control({{"uninstall", "octo/web"}});
  const auto uninstalled = engine_.clone(job("octo/web", sha), {});
  ASSERT_FALSE(uninstalled);
  EXPECT_THAT(uninstalled.error().message, HasSubstr("not installed on octo/web"));
}

TEST_F(PrivateClone, trouble_at_github_is_tried_again_and_no_fault_of_the_user) {
  const auto sha = github_.make_repository("octo/web");
  connect();
  github_.fail_next("/repos/.*", 502);
  const auto cloned = engine_.clone(job("octo/web", sha), {});
  ASSERT_FALSE(cloned);
  EXPECT_EQ(cloned.error().code, ErrorCode::unavailable);
  EXPECT_TRUE(engine_.clone(job("octo/web", sha), {}));
}

TEST_F(PrivateClone, a_public_repository_is_cloned_without_asking_for_a_token) {
  const auto sha = github_.make_repository("octo/site");
  connect();
  ASSERT_TRUE(engine_.clone(job("octo/site", sha), {}));
  EXPECT_EQ(tokens_minted(), 0U);
}

TEST_F(PrivateClone, a_repository_that_was_renamed_is_cloned_by_its_former_name) {
  const auto sha = github_.make_repository("octo/web");
  connect();
  github_.control({{"rename", {{"from", "octo/web"}, {"to", "octo/shop"}}}});
  const auto cloned = engine_.clone(job("octo/web", sha), {});
  ASSERT_TRUE(cloned) << to_string(cloned.error());
}

TEST_F(PrivateClone, an_app_that_can_not_be_used_is_why_a_private_repository_is_not_cloned) {
  const auto sha = github_.make_repository("octo/web");
  connected_.set(fail(ErrorCode::user_error, "connect the App again"));
  const auto cloned = engine_.clone(job("octo/web", sha), {});
  ASSERT_FALSE(cloned);
  EXPECT_EQ(cloned.error().code, ErrorCode::user_error);
  EXPECT_THAT(cloned.error().message, HasSubstr("connect the App again"));
}

TEST_F(PrivateClone, pushes_that_did_not_arrive_are_asked_for_at_once_and_from_time_to_time) {
  const auto missed = [](int id) -> nlohmann::json {
    return {{"id", id},
            {"guid", "g" + std::to_string(id)},
            {"delivered_at", LocalGitHub::time_before_now(600)},
            {"status_code", 0},
            {"event", "push"}};
  };
  github_.control({{"deliveries", {missed(7)}}});
  connect();
  const auto asked = [&](int id) {
    return github_.count_of("POST", "/app/hook/deliveries/" + std::to_string(id) + "/attempts");
  };
  const auto wait_for = [](const auto& condition) {
    for (int i = 0; i < 500 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return condition();
  };
  {
    const DeliveryWatch watch(connected_, std::chrono::milliseconds(20));
    EXPECT_TRUE(wait_for([&] { return asked(7) == 1; }));
    github_.control({{"deliveries", {missed(8), missed(7)}}});
    EXPECT_TRUE(wait_for([&] { return asked(8) == 1; }));
    // Each once, as it is not due again.
    EXPECT_EQ(asked(7), 1U);
    connected_.set(nullptr);
  }
  const auto before = github_.asked().size();
  {
    // It ends at once, however long it would wait.
    const DeliveryWatch watch(connected_);
  }
  EXPECT_EQ(github_.asked().size(), before);
}

TEST_F(PrivateClone, what_was_asked_for_is_known_after_an_error_that_passes) {
  github_.control({{"deliveries",
                    {{{"id", 7},
                      {"guid", "g7"},
                      {"delivered_at", LocalGitHub::time_before_now(600)},
                      {"status_code", 0},
                      {"event", "push"}}}}});
  connect();
  const auto app = connected_.get();
  const auto wait_for = [this](const char* method, const char* path_end, std::size_t count) {
    for (int i = 0; i < 500 && github_.count_of(method, path_end) < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return github_.count_of(method, path_end) >= count;
  };
  const char* const k_looks = "/app/hook/deliveries?per_page=100";
  const DeliveryWatch watch(connected_, std::chrono::milliseconds(20));
  ASSERT_TRUE(wait_for("POST", "/attempts", 1));
  connected_.set(fail(ErrorCode::unavailable, "the log can't be read just now"));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto looks = github_.count_of("GET", k_looks);
  connected_.set(app);
  ASSERT_TRUE(wait_for("GET", k_looks, looks + 3));
  EXPECT_EQ(github_.count_of("POST", "/attempts"), 1U);
}

TEST_F(PrivateClone,
       a_look_that_fails_is_repeated_ever_more_rarely_until_another_app_is_connected) {
  github_.fail_next("/app/hook/deliveries", 502, nlohmann::json::object(), nlohmann::json::object(),
                    1'000);
  connect();
  const auto looks = [&] { return github_.count_of("GET", "/app/hook/deliveries?per_page=100"); };
  const DeliveryWatch watch(connected_, std::chrono::milliseconds(20));
  std::this_thread::sleep_for(std::chrono::milliseconds(2'000));
  // 100 ticks: at 0, 2, 6, 14, 30, 46, 62, 78 and 94 of them.
  const auto before = looks();
  EXPECT_GE(before, 2U);
  EXPECT_LE(before, 12U);
  // Of another the first look comes at once.
  for (int i = 0; i < 4; ++i) {
    const auto known = looks();
    connect();
    for (int wait = 0; wait < 500 && looks() == known; ++wait) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    EXPECT_GT(looks(), known);
  }
}

// What the log says, and nobody else.
class RecordedApps : public testing::Test {
 protected:
  void record(const pb::Event& event) {
    storage::AppendRequest request;
    request.stream = github_stream();
    request.expected_version = *log_->version_of(github_stream());
    request.actor = Principal::system("test");
    request.events.push_back(event);
    const auto outcomes = log_->append({request}, 1);
    ASSERT_TRUE(outcomes && std::holds_alternative<storage::Appended>(outcomes->front()));
  }
  void record(const storage::SealedGitHubApp& sealed, std::int64_t id = LocalGitHub::k_app_id) {
    pb::Event event;
    auto& app = *event.mutable_github_app_connected();
    app.set_app_id(id);
    app.set_base_url("https://github.com");
    app.set_private_key_ref(sealed.private_key_ref);
    app.set_webhook_secret_ref(sealed.webhook_secret_ref);
    record(event);
  }
  [[nodiscard]] storage::SealedGitHubApp seal(const std::string& key) {
    return *storage::seal_github_app(*secrets_, Secret(key), Secret("hook"));
  }

  builder::Scratch scratch_;
  std::unique_ptr<storage::EventLog> log_ = storage::open_memory_event_log();
  std::unique_ptr<storage::SecretStore> secrets_ =
      *storage::open_secret_store(scratch_.path() / "secrets", scratch_.path() / "secret.key");
  RecordedApp connected_{*log_, *secrets_};
};

TEST_F(RecordedApps, the_one_that_is_recorded_is_the_one_that_is_asked_as) {
  EXPECT_EQ(*connected_.get(), nullptr);
  const LocalGitHub github;
  record(seal(github.private_key()));
  const auto first = *connected_.get();
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->app_id(), LocalGitHub::k_app_id);
  EXPECT_EQ(first->address().api, "https://api.github.com");
  // With what it remembers: its tokens above all.
  EXPECT_EQ(*connected_.get(), first);

  record(seal(github.private_key()), 777);
  EXPECT_EQ((*connected_.get())->app_id(), 777);
  pb::Event gone;
  gone.mutable_github_app_disconnected();
  record(gone);
  EXPECT_EQ(*connected_.get(), nullptr);
}

TEST_F(RecordedApps, one_whose_key_does_not_open_says_so_until_it_does) {
  const LocalGitHub github;
  const auto sealed = seal(github.private_key());
  record({std::string(32, '0'), sealed.webhook_secret_ref});
  for (int i = 0; i < 2; ++i) {
    const auto app = connected_.get();
    ASSERT_FALSE(app);
    EXPECT_EQ(app.error().code, ErrorCode::user_error);
    EXPECT_THAT(app.error().message, HasSubstr("connect the App again"));
  }
  // Put back by hand.
  const auto folder = scratch_.path() / "secrets";
  std::filesystem::rename(folder, scratch_.path() / "away");
  record(sealed);
  ASSERT_FALSE(connected_.get());
  std::filesystem::rename(scratch_.path() / "away", folder);
  EXPECT_TRUE(connected_.get());
}

// So that nobody is told to connect an App anew that is fine, and its clones are tried again.
TEST_F(RecordedApps, one_whose_key_can_not_be_read_just_now_is_no_fault_of_the_user) {
  const LocalGitHub github;
  const auto sealed = seal(github.private_key());
  record(sealed);
  const auto file = scratch_.path() / "secrets" / sealed.private_key_ref;
  std::filesystem::rename(file, scratch_.path() / "away");
  std::filesystem::create_directory(file);  // EISDIR, in the place of EIO
  const auto app = connected_.get();
  ASSERT_FALSE(app);
  EXPECT_EQ(app.error().code, ErrorCode::unavailable);
  EXPECT_THAT(app.error().message, HasSubstr("it is tried again"));
  std::filesystem::remove(file);
  std::filesystem::rename(scratch_.path() / "away", file);
  EXPECT_TRUE(connected_.get());
}

// The sealed files hold nothing that can be read.
TEST_F(RecordedApps, neither_key_nor_secret_is_on_the_disk_in_the_clear) {
  const LocalGitHub github;
  const auto sealed =
      storage::seal_github_app(*secrets_, Secret(github.private_key()), Secret("hook-sentinel"));
  ASSERT_TRUE(sealed);
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(scratch_.path() / "secrets")) {
    std::ifstream in(entry.path(), std::ios::binary);
    std::ostringstream bytes;
    bytes << in.rdbuf();
    EXPECT_THAT(bytes.str(), Not(HasSubstr("sentinel")));
    EXPECT_THAT(bytes.str(), Not(HasSubstr("PRIVATE")));
  }
  GitHubAppState app;
  app.private_key_ref = sealed->private_key_ref;
  app.webhook_secret_ref = sealed->webhook_secret_ref;
  EXPECT_TRUE(storage::open_private_key(*secrets_, app)->is(github.private_key()));
  EXPECT_TRUE(storage::open_webhook_secret(*secrets_, app)->is("hook-sentinel"));
  // One in the place of the other does not open.
  std::swap(app.private_key_ref, app.webhook_secret_ref);
  EXPECT_FALSE(storage::open_private_key(*secrets_, app));
}

}  // namespace
}  // namespace atlasflow::server
