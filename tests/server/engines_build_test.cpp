#include <functional>
#include <limits>

#include <gmock/gmock.h>

#include "actors/projects/sealed_env.hpp"
#include "events/settings.hpp"
#include "receive/repositories.hpp"
#include "server/engines.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

// Keeps what it was asked to build.
class RecordingImages final : public builder::ImageBuilder {
 public:
  std::string isolation() const override { return "none"; }
  std::string toolchain() const override { return "buildah 1, crun 1"; }
  Result<builder::BuiltImage> build(const builder::BuildRequest& request,
                                    std::stop_token) override {
    built_ = request;
    builder::BuiltImage image{"sha256:1", "dockerfile", "Dockerfile in the root folder", {}};
    for (const auto& secret : request.secrets) {
      image.secrets.push_back({secret.name, secret.digest});
    }
    image.inputs = "digest";
    image.reused_from = reused_from;
    image.reuse_reason = reused_from.empty() ? "" : "the same";
    return image;
  }
  Result<builder::PushedImage> push(const std::string&, const std::string&, const std::string&,
                                    std::stop_token) override {
    return builder::PushedImage{};
  }
  void reap(const std::string&) override {}
  std::vector<std::string> leftovers() override { return {}; }
  Result<std::vector<std::string>> collect(
      const std::function<Result<builder::StoreKeep>()>& /*keep*/,
      std::uint64_t /*cache_bytes_max*/, std::stop_token /*stop*/) override {
    return std::vector<std::string>{};
  }

  [[nodiscard]] const builder::BuildRequest& built() const { return built_; }
  std::string reused_from;

 private:
  builder::BuildRequest built_;
};

class SourceEngine : public testing::Test {
 protected:
  actors::SourceJob job(const std::string& sha) {
    actors::SourceJob out;
    out.effect = EffectId("d-v2");
    out.deployment = DeploymentId("d" + sha.substr(0, 8));
    out.project = "web";
    out.repository_url = origin_.url();
    out.ref = main_;
    out.sha = sha;
    out.remaining = std::chrono::minutes(1);
    out.settings = default_settings();
    return out;
  }

  builder::Scratch scratch_;
  builder::Origin origin_{scratch_.path() / "origin.git"};
  const std::string main_ = "refs/heads/main";
  RecordingImages images_;
  RegistryGate gate_;
  std::unique_ptr<storage::SecretStore> secrets_ =
      *storage::open_secret_store(scratch_.path() / "secrets", scratch_.path() / "secret.key");
  LocalBuildEngine engine_{
      {scratch_.path() / "work", "127.0.0.1:1", [] { return true; }}, images_, *secrets_, gate_};
};

// One whose repositories are in the folder.
class PushedSource : public SourceEngine {
 protected:
  PushedSource() {
    std::filesystem::create_directories(repository_.parent_path());
    pushed_.emplace(repository_);
  }

  actors::SourceJob pushed_job(const std::string& sha) {
    auto out = job(sha);
    out.repository_url = "atlasflow:ab2c3d4e";
    return out;
  }

  Result<actors::ResolvedRef> resolve(const std::string& url, const std::string& branch) {
    ProjectState project;
    project.id = ProjectId{"ab2c3d4e"};
    project.repository_url = url;
    return own_.resolve(project, branch, std::chrono::seconds(30));
  }

  const std::filesystem::path root_ = scratch_.path() / "git";
  const std::filesystem::path repository_ = receive::repository_path(root_, "ab2c3d4e");
  std::optional<builder::Origin> pushed_;
  LocalBuildEngine own_{{.work = scratch_.path() / "work",
                         .registry = "127.0.0.1:1",
                         .registry_healthy = [] { return true; },
                         .repositories = root_},
                        images_,
                        *secrets_,
                        gate_};
};

TEST_F(PushedSource, what_was_pushed_here_is_cloned_from_where_it_lies) {
  const auto sha = pushed_->commit(main_, {{"Dockerfile", "FROM scratch\n"}});
  const auto head = resolve("atlasflow:ab2c3d4e", "main");
  ASSERT_TRUE(head) << to_string(head.error());
  EXPECT_EQ(head->sha, sha);
  const auto cloned = own_.clone(pushed_job(sha), {});
  ASSERT_TRUE(cloned) << to_string(cloned.error());
  EXPECT_EQ(cloned->sha(), sha);
  // So is one of another branch than the deployed one.
  const auto next = pushed_->commit("refs/heads/side", {{"x", "y"}});
  EXPECT_TRUE(own_.clone(pushed_job(next), {}));
}

TEST_F(PushedSource, no_error_names_a_path_of_this_machine) {
  pushed_->commit(main_, {{"x", "y"}});
  const auto missing = own_.clone(pushed_job(std::string(40, '1')), {});
  ASSERT_FALSE(missing);
  EXPECT_THAT(to_string(missing.error()), Not(HasSubstr(scratch_.path().string())));
  EXPECT_THAT(missing.error().message, HasSubstr("the project's repository"));
  const auto branch = resolve("atlasflow:ab2c3d4e", "none");
  ASSERT_FALSE(branch);
  EXPECT_THAT(branch.error().message, HasSubstr("nothing was pushed to branch 'none'"));
  const auto nothing = resolve("atlasflow:zzzzzzzz", "main");
  ASSERT_FALSE(nothing);
  EXPECT_THAT(to_string(nothing.error()), Not(HasSubstr(scratch_.path().string())));
}

TEST_F(PushedSource, a_submodule_reaches_no_other_projects_repository) {
  const auto other_path = receive::repository_path(root_, "other234");
  std::filesystem::create_directories(other_path.parent_path());
  builder::Origin other(other_path);
  const auto secret = other.commit(main_, {{"secret", "hush"}});
  for (const auto& url :
       {std::string("../../other234/repository.git"), std::string("../other234/repository.git"),
        "file://" + other_path.string()}) {
    const auto sha = pushed_->commit(
        main_, {{"Dockerfile", "FROM scratch\n"},
                {".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = " + url + "\n"},
                {"x", secret, GIT_FILEMODE_COMMIT}});
    const auto cloned = own_.clone(pushed_job(sha), {});
    ASSERT_TRUE(cloned) << to_string(cloned.error());
    EXPECT_THAT(cloned->notices(), ElementsAre(HasSubstr("submodule")));
    EXPECT_FALSE(
        std::filesystem::exists(scratch_.path() / "work" / ("d" + sha.substr(0, 8)) / "x/secret"));
  }
}

// One that keeps what it fetched, and logs.
class KeepingEngine : public PushedSource {
 protected:
  LocalBuildEngine::Config config() const {
    return {.work = scratch_.path() / "work",
            .registry = "127.0.0.1:1",
            .registry_healthy = [] { return true; },
            .repositories = root_,
            .logs = scratch_.path() / "logs",
            .mirrors = scratch_.path() / "mirrors",
            .mirrors_bytes_max = 1U << 30U};
  }
  std::string log_of(const actors::SourceJob& job) const {
    return builder::read(scratch_.path() / "logs" / (job.effect.str() + ".build.log"));
  }
  static std::function<Result<actors::Keep>()> keeping(const std::string& project) {
    return [project]() -> Result<actors::Keep> {
      actors::Keep keep;
      keep.projects.insert(project);
      return keep;
    };
  }
};

TEST_F(KeepingEngine, a_clone_is_told_in_its_log_and_the_next_fetches_what_is_new) {
  LocalBuildEngine engine(config(), images_, *secrets_, gate_);
  auto first = job(origin_.commit(main_, {{"Dockerfile", "FROM scratch\n"}}));
  ASSERT_TRUE(engine.clone(first, {}));
  EXPECT_THAT(log_of(first),
              HasSubstr("-----> Cloning " + first.sha.substr(0, 12) + " of refs/heads/main from " +
                        origin_.url() + "\n"));
  EXPECT_THAT(log_of(first), HasSubstr("\n       done in "));
  EXPECT_THAT(log_of(first), HasSubstr(" received; "));
  auto again = first;
  again.effect = EffectId("d-v9");
  again.deployment = DeploymentId("another2");
  ASSERT_TRUE(engine.clone(again, {}));
  EXPECT_THAT(log_of(again), HasSubstr(": nothing was new; "));
}

TEST_F(KeepingEngine, a_clone_that_fails_says_why_in_its_log_and_names_no_path_and_no_password) {
  LocalBuildEngine engine(config(), images_, *secrets_, gate_);
  pushed_->commit(main_, {{"x", "y"}});
  const auto missing = pushed_job(std::string(40, '1'));
  ASSERT_FALSE(engine.clone(missing, {}));
  EXPECT_THAT(log_of(missing), HasSubstr(" from the project's repository\n"));
  EXPECT_THAT(log_of(missing), HasSubstr("       failed after "));
  EXPECT_THAT(log_of(missing), Not(HasSubstr(scratch_.path().string())));
  auto careless = job(std::string(40, '2'));
  careless.effect = EffectId("d-v3");
  careless.repository_url = "https://me:hush@127.0.0.1/x.git";
  ASSERT_FALSE(engine.clone(careless, {}));
  EXPECT_THAT(log_of(careless), HasSubstr("       failed after "));
  EXPECT_THAT(log_of(careless), Not(HasSubstr("hush")));
}

TEST_F(KeepingEngine, what_it_keeps_goes_with_the_project_and_on_a_full_disk) {
  const auto kept = scratch_.path() / "mirrors" / "web";
  const auto asked = job(origin_.commit(main_, {{"x", "y"}}));
  LocalBuildEngine engine(config(), images_, *secrets_, gate_);
  ASSERT_TRUE(engine.clone(asked, {}));
  auto removed = engine.collect_images(keeping("web"), {});
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed, IsEmpty());
  EXPECT_TRUE(std::filesystem::exists(kept));
  removed = engine.collect_images(keeping("other"), {});
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed, ElementsAre("the clone of web"));
  EXPECT_FALSE(std::filesystem::exists(kept));

  engine.forget(asked.deployment);
  ASSERT_TRUE(engine.clone(asked, {}));
  ASSERT_TRUE(std::filesystem::exists(kept));
  auto full = config();
  full.min_free_mib = std::numeric_limits<std::int64_t>::max();
  LocalBuildEngine on_full_disk(full, images_, *secrets_, gate_);
  ASSERT_TRUE(on_full_disk.collect_images(keeping("web"), {}));
  EXPECT_FALSE(std::filesystem::exists(kept));
}

TEST_F(KeepingEngine, nothing_is_kept_where_the_configuration_gives_it_no_room) {
  auto none = config();
  none.mirrors_bytes_max = 0;
  LocalBuildEngine engine(none, images_, *secrets_, gate_);
  ASSERT_TRUE(engine.clone(job(origin_.commit(main_, {{"x", "y"}})), {}));
  EXPECT_FALSE(std::filesystem::exists(none.mirrors));
}

TEST_F(SourceEngine, a_clone_tells_the_projects_settings_with_the_repositorys_over_them) {
  const auto sha =
      origin_.commit(main_, {{"Dockerfile", "FROM scratch\n"},
                             {"atlasflow.toml", "port = 9090\n[build_args]\nA = \"file\"\n"}});
  auto asked = job(sha);
  asked.settings.set_port(8080);
  asked.settings.set_memory_mib(128);
  ASSERT_TRUE(set_by_name(asked.settings, "build_arg.B", "project"));
  const auto cloned = engine_.clone(asked, {});
  ASSERT_TRUE(cloned) << to_string(cloned.error());
  EXPECT_TRUE(cloned->has_config());
  EXPECT_EQ(cloned->settings().port(), 9090);
  EXPECT_EQ(cloned->settings().memory_mib(), 128);
  EXPECT_EQ(cloned->settings().build_args_size(), 2);
  EXPECT_EQ(cloned->skip_reason(), "");
  EXPECT_THAT(cloned->notices(), IsEmpty());
}

TEST_F(SourceEngine, a_clone_without_the_file_tells_the_projects_settings) {
  const auto sha = origin_.commit(main_, {{"Dockerfile", "FROM scratch\n"}});
  auto asked = job(sha);
  asked.settings.set_port(8080);
  const auto cloned = engine_.clone(asked, {});
  ASSERT_TRUE(cloned) << to_string(cloned.error());
  EXPECT_FALSE(cloned->has_config());
  EXPECT_EQ(cloned->settings().SerializeAsString(), asked.settings.SerializeAsString());
}

TEST_F(SourceEngine, a_file_that_is_wrong_fails_the_clone_by_its_line) {
  const auto sha = origin_.commit(main_, {{"atlasflow.toml", "port = 80\nreplica = 2\n"}});
  const auto cloned = engine_.clone(job(sha), {});
  ASSERT_FALSE(cloned);
  EXPECT_EQ(cloned.error().code, ErrorCode::user_error);
  EXPECT_EQ(cloned.error().message,
            "atlasflow.toml, line 2: 'replica' is not known; did you mean replicas?");
}

TEST_F(SourceEngine, a_file_that_is_too_much_with_the_projects_settings_fails_the_clone) {
  std::string text = "[build_args]\n";
  auto asked = job("");
  for (int i = 0; i < 40; ++i) {
    text += "A" + std::to_string(i) + " = 1\n";
    ASSERT_TRUE(set_by_name(asked.settings, "build_arg.B" + std::to_string(i), "1"));
  }
  asked.sha = origin_.commit(main_, {{"atlasflow.toml", text}});
  const auto cloned = engine_.clone(asked, {});
  ASSERT_FALSE(cloned);
  EXPECT_EQ(cloned.error().code, ErrorCode::user_error);
  EXPECT_EQ(cloned.error().message,
            "atlasflow.toml and the project's settings together: build_arg has 80 names; it may "
            "have 64");
}

TEST_F(SourceEngine, a_push_that_changes_nothing_watched_is_to_be_skipped) {
  const builder::Entry config{"atlasflow.toml", "watch_paths = [\"src/**\"]\n"};
  const auto live = origin_.commit(main_, {config, {"src/a", "1"}, {"docs/a", "1"}});
  const auto docs =
      origin_.commit(main_, {config, {"src/a", "1"}, {"docs/a", "2"}}, "Docs", {live});
  const auto source =
      origin_.commit(main_, {config, {"src/a", "2"}, {"docs/a", "2"}}, "Source", {docs});
  const auto skip_reason = [&](const std::string& sha, const std::string& base) {
    auto asked = job(sha);
    asked.base_sha = base;
    const auto cloned = engine_.clone(asked, {});
    EXPECT_TRUE(cloned) << to_string(cloned.error());
    return cloned ? cloned->skip_reason() : "?";
  };
  EXPECT_EQ(skip_reason(docs, live),
            "none of the watched paths changed since " + live.substr(0, 7) + ": src/**");
  EXPECT_EQ(skip_reason(source, live), "");
  EXPECT_EQ(skip_reason(docs, ""), "");
}

TEST_F(SourceEngine, a_push_over_a_base_that_is_gone_goes_on_with_a_notice) {
  const auto sha = origin_.commit(main_, {{"docs/a", "1"}});
  auto asked = job(sha);
  asked.settings.add_watch_paths("src/**");
  asked.base_sha = std::string(40, 'a');
  const auto cloned = engine_.clone(asked, {});
  ASSERT_TRUE(cloned) << to_string(cloned.error());
  EXPECT_EQ(cloned->skip_reason(), "");
  EXPECT_THAT(cloned->notices(), ElementsAre(HasSubstr("watch_paths did not count")));
}

TEST_F(SourceEngine, a_build_is_told_where_the_source_is_and_what_to_make_of_it) {
  auto asked = job(std::string(40, 'a'));
  for (const auto& [name, value] :
       {std::pair("root_folder", "apps/web"), std::pair("dockerfile", "docker/prod"),
        std::pair("build_target", "prod"), std::pair("build_arg.NODE", "20")}) {
    ASSERT_TRUE(set_by_name(asked.settings, name, value));
  }
  ASSERT_TRUE(engine_.build(asked, {}));
  EXPECT_EQ(images_.built().folder, scratch_.path() / "work" / asked.deployment.str());
  EXPECT_EQ(images_.built().root_folder, "apps/web");
  EXPECT_EQ(images_.built().dockerfile, "docker/prod");
  EXPECT_EQ(images_.built().build_target, "prod");
  EXPECT_THAT(images_.built().build_args, ElementsAre(Pair("NODE", "20")));
}

// A variable that does not open is the start's to tell of; without a secret there is no build.
TEST_F(SourceEngine, a_build_is_offered_earlier_images_and_tells_which_it_took) {
  auto asked = job(origin_.commit(main_, {{"Dockerfile", "FROM scratch\n"}}));
  ASSERT_TRUE(engine_.clone(asked, {}));
  asked.earlier.emplace_back().set_deployment("dfirst22");
  images_.reused_from = "dfirst22";
  const auto built = engine_.build(asked, {});
  ASSERT_TRUE(built) << to_string(built.error());
  EXPECT_EQ(images_.built().earlier.size(), 1U);
  EXPECT_NE(images_.built().source, "");
  EXPECT_EQ(built->inputs(), "digest");
  EXPECT_EQ(built->reused_from(), "dfirst22");
  EXPECT_EQ(built->reuse_reason(), "the same");
}

TEST_F(SourceEngine, a_build_has_its_secrets_opened_and_knows_what_its_log_must_not_show) {
  auto asked = job(std::string(40, 'a'));
  asked.project_id = "p1";
  const auto token = secrets_->seal(actors::build_secret_context("p1", "NPM"), "the token");
  const auto key = secrets_->seal("p1/KEY", "the key");
  ASSERT_TRUE(token && key);
  asked.secrets.emplace_back("NPM", EnvEntry{token->digest, token->ref});
  asked.env.emplace_back("KEY", EnvEntry{key->digest, key->ref});
  asked.env.emplace_back("LOST", EnvEntry{"", "gone"});
  const auto mode = secrets_->seal("p1/NODE_ENV", "production");  // a word of any build's log
  ASSERT_TRUE(mode);
  asked.env.emplace_back("NODE_ENV", EnvEntry{mode->digest, mode->ref});
  const auto built = engine_.build(asked, {});
  ASSERT_TRUE(built) << to_string(built.error());
  ASSERT_EQ(images_.built().secrets.size(), 1U);
  EXPECT_EQ(images_.built().secrets[0].name, "NPM");
  EXPECT_TRUE(images_.built().secrets[0].value.is("the token"));
  ASSERT_EQ(images_.built().hidden.size(), 1U);
  EXPECT_TRUE(images_.built().hidden[0].is("the key"));
  ASSERT_EQ(built->secrets_size(), 1);
  EXPECT_EQ(built->secrets(0).name(), "NPM");
  EXPECT_EQ(built->secrets(0).digest(), token->digest);
  // Another project's value does not open, nor a variable as a secret.
  asked.project_id = "p2";
  EXPECT_EQ(engine_.build(asked, {}).error().code, ErrorCode::corrupt);
  asked.project_id = "p1";
  asked.secrets = {{"KEY", EnvEntry{key->digest, key->ref}}};
  const auto refused = engine_.build(asked, {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              HasSubstr("'atlasflow build-secret set web KEY < FILE' and redeploy"));
}

TEST_F(SourceEngine, a_push_whose_message_says_so_is_skipped_and_a_command_is_not) {
  const auto sha = origin_.commit(main_, {{"Dockerfile", "FROM scratch\n"}},
                                  "Fix a typo\n\nNothing to see. [skip ci]\n");
  auto pushed = job(sha);
  pushed.is_pushed = true;
  auto cloned = engine_.clone(pushed, {});
  ASSERT_TRUE(cloned) << to_string(cloned.error());
  EXPECT_EQ(cloned->skip_reason(), "the commit's message says [skip ci]");
  // Also when the checkout is found complete, after a restart.
  cloned = engine_.clone(pushed, {});
  ASSERT_TRUE(cloned);
  EXPECT_EQ(cloned->skip_reason(), "the commit's message says [skip ci]");

  const auto commanded = engine_.clone(job(sha), {});
  ASSERT_TRUE(commanded);
  EXPECT_EQ(commanded->skip_reason(), "");
}

}  // namespace
}  // namespace atlasflow::server
