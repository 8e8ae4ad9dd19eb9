// The façade over real threads: what the API calls.
#include "actors/runtime/control_plane.hpp"

#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include <gmock/gmock.h>

#include "events/settings.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::actors {
namespace {

struct SteadyClock final : Clock {
  TimestampUs now() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

// A world in which everything works at once.
struct Easy final : BuildEngine, VmEngine, EdgeEngine {
  std::atomic<int> vms{0};
  std::atomic<std::uint64_t> published{0};
  std::mutex mutex;
  std::deque<bool> built_without_cache;  // of each build, in order
  SealedEntries build_secrets;           // of the newest build
  SealedEntries hidden;                  // likewise
  std::vector<std::string> env_names;    // of the newest VM
  Result<ResolvedRef> resolve(const std::string& url, const std::string&) override {
    if (url == "/srv/missing") return fail(ErrorCode::not_found, "no such repository");
    return ResolvedRef{"refs/heads/main", std::string(40, 'c')};
  }
  Result<pb::Cloned> clone(const SourceJob&, std::stop_token) override { return pb::Cloned{}; }
  Result<pb::Built> build(const SourceJob& job, std::stop_token) override {
    const std::lock_guard guard(mutex);
    built_without_cache.push_back(job.no_cache);
    build_secrets = job.secrets;
    hidden = job.env;
    pb::Built built;
    built.set_image_id("sha256:1");
    return built;
  }
  Result<pb::ImagePushed> push(const std::string&, const std::string&, std::stop_token) override {
    pb::ImagePushed pushed;
    pushed.set_reference("registry/web@sha256:1");
    return pushed;
  }
  std::vector<SourceRemains> inventory() override { return {}; }
  void reap(const SourceRemains&) override {}
  void forget(const DeploymentId&) override {}
  Result<std::vector<std::string>> collect_images(const KeepSource&, std::stop_token) override {
    return std::vector<std::string>{};
  }
  Result<std::vector<std::string>> collect_disks(const KeepSource&, std::stop_token) override {
    return std::vector<std::string>{};
  }
  Result<StartedVm> start(const VmJob& job, std::stop_token) override {
    ++vms;
    const std::lock_guard guard(mutex);
    env_names.clear();
    for (const auto& [name, entry] : job.env) env_names.push_back(name);
    return StartedVm{{"127.0.0.1", 4000}};
  }
  VmObservation observe(const VmId&) override { return {true, {}, {}}; }
  ProbeObservation probe(const VmId&, const std::string&, const std::string&) override {
    return {200, ""};
  }
  Result<std::int32_t> stop(const VmId&) override {
    --vms;
    return 0;
  }
  std::vector<VmId> list() override { return {}; }
  bool ping() override { return true; }
  std::int64_t memory_mib() const override { return 1 << 20; }
  Result<void> publish(std::uint64_t generation, const std::vector<RouteClaim>&) override {
    published = generation;
    return {};
  }
  std::uint64_t drain(const VmId&, std::chrono::microseconds) override { return 0; }
  std::uint64_t generation() const override { return published; }
  std::string describe() const override { return "easy"; }
};

// Keeps values in memory; sealing itself is tested in tests/storage.
struct PlainSecrets final : storage::SecretStore {
  std::map<std::string, std::string> values;
  Result<storage::SealedRef> seal(std::string_view context, std::string_view value) override {
    const auto ref = std::string(context) + "#" + std::to_string(values.size());
    values[ref] = std::string(value);
    return storage::SealedRef{ref, "digest"};
  }
  Result<std::string> open(std::string_view, const std::string& ref) override {
    const auto found = values.find(ref);
    if (found == values.end()) return fail(ErrorCode::not_found, "no such secret");
    return found->second;
  }
  Result<std::vector<std::string>> refs() override {
    std::vector<std::string> refs;
    for (const auto& [ref, value] : values) refs.push_back(ref);
    return refs;
  }
  Result<void> remove(const std::vector<std::string>& refs) override {
    for (const auto& ref : refs) values.erase(ref);
    return {};
  }
};

// Notes which threads read it.
class WatchedLog final : public storage::ForwardingEventLog {
 public:
  WatchedLog() : ForwardingEventLog(storage::open_memory_event_log()) {}

  Result<void> read_all(Position first,
                        const std::function<bool(const storage::Record&)>& visit) const override {
    note();
    return log().read_all(first, visit);
  }
  Result<void> read_stream(
      const StreamId& stream, StreamVersion first,
      const std::function<bool(const storage::Record&)>& visit) const override {
    note();
    return log().read_stream(stream, first, visit);
  }
  Result<StreamVersion> version_of(const StreamId& stream) const override {
    note();
    return log().version_of(stream);
  }
  [[nodiscard]] std::map<std::thread::id, int> readers() const {
    const std::lock_guard guard(mutex_);
    return readers_;
  }

 private:
  void note() const {
    const std::lock_guard guard(mutex_);
    ++readers_[std::this_thread::get_id()];
  }
  mutable std::mutex mutex_;
  mutable std::map<std::thread::id, int> readers_;
};

class Facade : public testing::Test {
 protected:
  Facade() {
    auto started = start_control_plane({}, *log, secrets,
                                       {&clock, &world, {{HostId{"local"}, &world}}, &world});
    EXPECT_TRUE(started);
    plane = std::move(*started);
  }
  template <typename Command>
  auto as_user(Command command) {
    return plane->execute(Principal::user(), std::move(command));
  }
  bool wait_for_live(const DeploymentId& id) {
    for (int i = 0; i < 1000; ++i) {
      const auto view = plane->catalog().deployment(id);
      if (view && view->state.status == DeploymentStatus::live) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }

  SteadyClock clock;
  Easy world;
  PlainSecrets secrets;
  std::unique_ptr<WatchedLog> log = std::make_unique<WatchedLog>();
  std::unique_ptr<ControlPlane> plane;
};

// A scheduled actor that waits for a disk holds up those that share its thread.
TEST_F(Facade, the_log_is_read_by_a_thread_that_does_nothing_else) {
  std::vector<DeploymentId> ids;
  for (int i = 0; i < 20; ++i) {
    const auto name = "web-" + std::to_string(i);
    ASSERT_TRUE(as_user(commands::CreateProject{name, "/srv/" + name + ".git", "", std::nullopt}));
    ids.push_back(*as_user(commands::Deploy{name, std::nullopt, "command"}));
  }
  for (const auto& id : ids) EXPECT_TRUE(wait_for_live(id));
  auto readers = log->readers();
  readers.erase(std::this_thread::get_id());  // the start, and the façade
  ASSERT_EQ(readers.size(), 1U) << "many deployments, many projects, one reader";
  EXPECT_GE(readers.begin()->second, 40) << "each deployment's stream, and its project's";
}

TEST_F(Facade, a_project_is_visible_when_its_creation_returns) {
  const auto id = as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt});
  ASSERT_TRUE(id);
  ASSERT_TRUE(plane->catalog().project_named("web"));
  EXPECT_EQ(plane->catalog().project_named("web")->state.id, *id);
  const auto again = as_user(commands::CreateProject{"web", "/srv/other.git", "", std::nullopt});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::already_exists);
}

TEST_F(Facade, bad_input_is_refused_and_seals_nothing) {
  EXPECT_EQ(as_user(commands::CreateProject{"Web", "/srv/a", "", "secret"}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(as_user(commands::CreateProject{"web", "nonsense", "", "secret"}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(as_user(commands::CreateProject{"web", "/srv/a", "", ""}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_TRUE(secrets.values.empty());
}

TEST_F(Facade, a_command_deploys_the_head_of_the_branch_once_per_command) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  const auto first = as_user(commands::Deploy{"web", std::nullopt, "command-1"});
  ASSERT_TRUE(first);
  const auto again = as_user(commands::Deploy{"web", std::nullopt, "command-1"});
  ASSERT_TRUE(again);
  EXPECT_EQ(*first, *again);
  EXPECT_TRUE(wait_for_live(*first));
  EXPECT_EQ(plane->catalog().deployment(*first)->state.push.after(), std::string(40, 'c'));
}

TEST_F(Facade, a_build_without_the_cache_is_recorded_with_who_asked_and_reaches_the_builder) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  const auto first = as_user(commands::Deploy{"web", std::nullopt, "command-1", true});
  ASSERT_TRUE(first);
  ASSERT_TRUE(wait_for_live(*first));
  EXPECT_TRUE(plane->catalog().deployment(*first)->state.push.no_cache());
  EXPECT_EQ(plane->catalog().deployment(*first)->state.push.pusher(), "user");
  const auto second = as_user(commands::Redeploy{"web", *first, "command-2", false});
  ASSERT_TRUE(second);
  ASSERT_TRUE(wait_for_live(*second));
  const auto third = as_user(commands::Redeploy{"web", *second, "command-3", true});
  ASSERT_TRUE(third);
  ASSERT_TRUE(wait_for_live(*third));
  EXPECT_EQ(plane->catalog().deployment(*third)->state.requested_by, "user");
  const std::lock_guard guard(world.mutex);
  EXPECT_THAT(world.built_without_cache, testing::ElementsAre(true, false, true));
}

TEST_F(Facade, deploying_what_is_not_there_says_so) {
  EXPECT_EQ(as_user(commands::Deploy{"nope", std::nullopt, "1"}).error().code,
            ErrorCode::not_found);
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/missing", "", std::nullopt}));
  EXPECT_EQ(as_user(commands::Deploy{"web", std::nullopt, "1"}).error().code, ErrorCode::not_found);
  EXPECT_EQ(as_user(commands::Deploy{"web", std::string("abc"), "2"}).error().code,
            ErrorCode::invalid_argument);
}

TEST_F(Facade, no_value_of_a_variable_reaches_the_log) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", "hook-sentinel"}));
  ASSERT_TRUE(as_user(commands::SetEnv{"web", {{"KEY", "value-sentinel"}}}));
  ASSERT_TRUE(plane->log().read_all(Position{1}, [](const storage::Record& record) {
    EXPECT_THAT(record.event.SerializeAsString(), testing::Not(testing::HasSubstr("sentinel")));
    return true;
  }));
  EXPECT_THAT(plane->webhook_secrets(),
              testing::ElementsAre(testing::Pair("web", "hook-sentinel")));
  EXPECT_FALSE(as_user(commands::SetEnv{"web", {{"OTHER", "x"}, {"PORT", "80"}}}));
  EXPECT_FALSE(plane->catalog().project_named("web")->state.env.contains("OTHER"));
  ASSERT_TRUE(as_user(commands::UnsetEnv{"web", {"KEY"}}));
  EXPECT_TRUE(plane->catalog().project_named("web")->state.env.empty());
}

TEST_F(Facade, a_build_secret_reaches_the_build_by_reference_and_no_vm) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  ASSERT_TRUE(as_user(commands::SetBuildSecrets{"web", {{"NPM", "value-sentinel"}}}));
  ASSERT_TRUE(as_user(commands::SetEnv{"web", {{"KEY", "other-sentinel"}}}));
  ASSERT_TRUE(plane->log().read_all(Position{1}, [](const storage::Record& record) {
    EXPECT_THAT(record.event.SerializeAsString(), testing::Not(testing::HasSubstr("sentinel")));
    return true;
  }));
  const auto id = as_user(commands::Deploy{"web", std::nullopt, "command-1"});
  ASSERT_TRUE(id) << to_string(id.error());
  ASSERT_TRUE(wait_for_live(*id));
  {
    const std::lock_guard guard(world.mutex);
    ASSERT_EQ(world.build_secrets.size(), 1U);
    EXPECT_EQ(world.build_secrets[0].first, "NPM");
    EXPECT_EQ(secrets.values.at(world.build_secrets[0].second.sealed_ref), "value-sentinel");
    ASSERT_EQ(world.hidden.size(), 1U) << "the log of the build must not show it";
    EXPECT_EQ(world.hidden[0].first, "KEY");
    EXPECT_THAT(world.env_names, testing::ElementsAre("KEY"));
  }
  ASSERT_TRUE(as_user(commands::UnsetBuildSecrets{"web", {"NPM"}}));
  EXPECT_TRUE(plane->catalog().project_named("web")->state.build_secrets.empty());
  EXPECT_EQ(as_user(commands::UnsetBuildSecrets{"web", {"NPM"}}).error().code,
            ErrorCode::not_found);
}

TEST_F(Facade, build_secrets_together_have_a_limit_that_is_told_to_who_sets_them) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  const std::string large(100 * 1024, 'x');
  ASSERT_TRUE(as_user(commands::SetBuildSecrets{"web", {{"A", large}, {"B", large}}}));
  const auto refused = as_user(commands::SetBuildSecrets{"web", {{"SMALL", "x"}, {"C", large}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::too_large);
  EXPECT_FALSE(plane->catalog().project_named("web")->state.build_secrets.contains("SMALL"));
  EXPECT_TRUE(as_user(commands::SetBuildSecrets{"web", {{"A", "small now"}, {"C", large}}}));
}

TEST_F(Facade, a_github_app_is_sealed_and_nothing_of_it_reaches_the_log) {
  EXPECT_TRUE(plane->github_webhook_secret().empty());
  EXPECT_EQ(as_user(commands::DisconnectGitHubApp{}).error().code, ErrorCode::conflict);
  ASSERT_TRUE(
      as_user(commands::ConnectGitHubApp{12345, "atlasflow-test", "https://github.com", "SHA256:x",
                                         Secret("key-sentinel"), Secret("hook-sentinel")}));
  const auto app = plane->catalog().github_app().state;
  EXPECT_EQ(app.app_id, 12345);
  EXPECT_EQ(app.slug, "atlasflow-test");
  EXPECT_EQ(app.base_url, "https://github.com");
  EXPECT_EQ(secrets.values.at(app.private_key_ref), "key-sentinel");
  EXPECT_TRUE(plane->github_webhook_secret().is("hook-sentinel"));
  ASSERT_TRUE(plane->log().read_all(Position{1}, [](const storage::Record& record) {
    EXPECT_THAT(record.event.SerializeAsString(), testing::Not(testing::HasSubstr("sentinel")));
    return true;
  }));

  // Another control plane over the same log has it too.
  plane.reset();
  auto again =
      start_control_plane({}, *log, secrets, {&clock, &world, {{HostId{"local"}, &world}}, &world});
  ASSERT_TRUE(again);
  plane = std::move(*again);
  EXPECT_EQ(plane->catalog().github_app().state, app);
  EXPECT_TRUE(plane->github_webhook_secret().is("hook-sentinel"));

  ASSERT_TRUE(as_user(commands::DisconnectGitHubApp{}));
  EXPECT_FALSE(plane->catalog().github_app().state.is_connected());
  EXPECT_TRUE(plane->github_webhook_secret().empty());
}

TEST_F(Facade, a_repository_is_followed_and_its_deletion_is_none_of_its_project) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  ASSERT_TRUE(as_user(commands::FollowRepository{"web", 7, "https://github.com/acme/shop.git"}));
  const auto state = [&] { return plane->catalog().project_named("web")->state; };
  EXPECT_EQ(state().repository_url, "https://github.com/acme/shop.git");
  EXPECT_EQ(as_user(commands::FollowRepository{"web", 8, "https://github.com/acme/shop.git"})
                .error()
                .code,
            ErrorCode::conflict);
  ASSERT_TRUE(as_user(commands::RecordRepositoryDeletion{"web", 7}));
  ASSERT_TRUE(as_user(commands::RecordRepositoryDeletion{"web", 7}));
  EXPECT_TRUE(state().repository_deleted);
  EXPECT_EQ(state().repository_id, 7);
}

TEST_F(Facade, what_github_was_told_is_recorded_beside_the_project) {
  ASSERT_TRUE(as_user(
      commands::RecordGitHubReport{ProjectId("p1"), DeploymentId("d1"), "queued", 1000, ""}));
  ASSERT_TRUE(as_user(
      commands::RecordGitHubReport{ProjectId("p1"), DeploymentId("d1"), "success", 0, "no"}));
  std::vector<pb::Event> events;
  ASSERT_TRUE(plane->log().read_stream(github_reports_stream(ProjectId("p1")), StreamVersion{1},
                                       [&](const storage::Record& record) {
                                         events.push_back(record.event);
                                         return true;
                                       }));
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].github_told().deployment(), "d1");
  EXPECT_EQ(events[0].github_told().status(), "queued");
  EXPECT_EQ(events[0].github_told().github_deployment(), 1000);
  EXPECT_EQ(events[1].github_not_told().status(), "success");
  EXPECT_EQ(events[1].github_not_told().reason(), "no");
}

TEST_F(Facade, variables_together_have_a_limit_that_is_told_to_who_sets_them) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  const std::string large(100 * 1024, 'x');
  ASSERT_TRUE(as_user(commands::SetEnv{"web", {{"A", large}, {"B", large}}}));
  const auto refused = as_user(commands::SetEnv{"web", {{"SMALL", "x"}, {"C", large}}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::too_large);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("262144 (256 KiB)"));
  EXPECT_FALSE(plane->catalog().project_named("web")->state.env.contains("SMALL")) << "all or none";
  EXPECT_TRUE(as_user(commands::SetEnv{"web", {{"A", "small now"}, {"C", large}}}))
      << "a new value counts";
  ASSERT_TRUE(as_user(commands::UnsetEnv{"web", {"B"}}));
  EXPECT_TRUE(as_user(commands::SetEnv{"web", {{"D", large}}}));
}

TEST_F(Facade, a_push_reaches_the_projects_that_its_signature_speaks_for_and_no_other) {
  ASSERT_TRUE(as_user(commands::CreateProject{"open", "/srv/web.git", "main", std::nullopt}));
  ASSERT_TRUE(as_user(commands::CreateProject{"own", "/srv/web.git", "main", "secret"}));
  const auto receivers = [&](const std::string& delivery, std::vector<std::string> signed_for) {
    Push push;
    push.repository_urls = {"/srv/web.git"};
    push.ref = "refs/heads/main";
    push.after = std::string(40, 'd');
    push.delivery_id = delivery;
    push.signed_for = std::move(signed_for);
    std::set<std::string> names;
    const auto receipts = plane->execute(Principal::webhook("github"), commands::TakePush{push});
    EXPECT_TRUE(receipts);
    if (receipts) {
      for (const auto& receipt : *receipts) names.insert(receipt.project);
    }
    return names;
  };
  EXPECT_THAT(receivers("1", {}), testing::ElementsAre("open"));
  EXPECT_THAT(receivers("2", {"own"}), testing::ElementsAre("own"));
  EXPECT_THAT(receivers("3", {"own", "open"}), testing::ElementsAre("open", "own"));
}

TEST_F(Facade, settings_apply_from_the_next_deployment_on_and_all_or_none) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  const auto before = as_user(commands::Deploy{"web", std::nullopt, "1"});
  ASSERT_TRUE(
      as_user(commands::ChangeSettings{"web", {{"health_deadline", "7s"}, {"memory_mib", "128"}}}));
  EXPECT_FALSE(as_user(commands::ChangeSettings{"web", {{"memory_mib", "256"}, {"port", "0"}}}));
  const auto after = as_user(commands::Deploy{"web", std::nullopt, "2"});
  const auto settings_of = [&](const DeploymentId& id) {
    return plane->catalog().deployment(id)->state.push.settings();
  };
  EXPECT_EQ(settings_of(*before).health_deadline_us(), 120 * k_second_us);
  EXPECT_EQ(settings_of(*after).health_deadline_us(), 7 * k_second_us);
  EXPECT_EQ(settings_of(*after).memory_mib(), 128);
  EXPECT_EQ(as_user(commands::ChangeSettings{"nope", {{"vcpus", "2"}}}).error().code,
            ErrorCode::not_found);
}

// Each append says for whom it was made: the principal that asked, or the part that did it by
// itself. Of nothing the log leaves it open.
TEST_F(Facade, every_record_says_who_asked_for_it) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "main", std::nullopt}));
  const Push push{.repository_urls = {"/srv/web.git"},
                  .default_branch = "main",
                  .ref = "refs/heads/main",
                  .after = std::string(40, 'd'),
                  .delivery_id = "delivery-1"};
  const auto github = Principal::webhook("github");
  const auto receipts = plane->execute(github, commands::TakePush{push});
  ASSERT_TRUE(receipts);
  ASSERT_TRUE(wait_for_live(receipts->front().deployment));
  const auto tag = plane->execute(github, commands::TakePush{{.repository_urls = {"/srv/web.git"},
                                                              .ref = "refs/tags/v1",
                                                              .after = std::string(40, 'e'),
                                                              .delivery_id = "delivery-2"}});
  ASSERT_TRUE(tag);
  ASSERT_TRUE(as_user(commands::SetEnv{"web", {{"KEY", "x"}}}));
  ASSERT_TRUE(as_user(commands::StopApp{"web"}));
  const auto again = as_user(commands::Redeploy{"web", std::nullopt, "command-1"});
  ASSERT_TRUE(again);
  ASSERT_TRUE(wait_for_live(*again));
  ASSERT_TRUE(as_user(commands::DeleteProject{"web"}));
  plane.reset();
  std::map<std::string, std::set<std::string>> askers;  // by event
  ASSERT_TRUE(log->read_all(Position{1}, [&](const storage::Record& record) {
    EXPECT_TRUE(Principal::parsed(record.actor)) << record.actor << " of " << record.event_id;
    askers[storage::event_name(record.event)].insert(record.actor);
    return true;
  }));
  const std::map<std::string, std::string> wanted{{"NodeStarted", "system:root"},
                                                  {"ProjectCreated", "user"},
                                                  {"PushReceived", "webhook:github"},
                                                  {"PushIgnored", "webhook:github"},
                                                  {"CloneStarted", "system:project"},
                                                  {"Cloned", "system:builder_pool"},
                                                  {"VMStarted", "system:vm_hosts"},
                                                  {"Routed", "system:edge"},
                                                  {"EnvSet", "user"},
                                                  {"StopRequested", "user"},
                                                  {"RedeployRequested", "user"},
                                                  {"ProjectDeleted", "user"}};
  for (const auto& [event, asker] : wanted) {
    EXPECT_THAT(askers[event], testing::ElementsAre(asker)) << event;
  }
}

TEST_F(Facade, a_stopped_control_plane_is_started_again_over_the_same_log) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", std::nullopt}));
  const auto id = as_user(commands::Deploy{"web", std::nullopt, "command-1"});
  ASSERT_TRUE(wait_for_live(*id));
  plane.reset();
  world.published = 0;
  auto again =
      start_control_plane({}, *log, secrets, {&clock, &world, {{HostId{"local"}, &world}}, &world});
  ASSERT_TRUE(again);
  plane = std::move(*again);
  EXPECT_TRUE(wait_for_live(*id));
  EXPECT_EQ(world.vms, 1);
  EXPECT_FALSE(as_user(commands::CreateProject{"web", "/srv/other.git", "", std::nullopt}));
}

TEST_F(Facade, many_callers_at_once_are_all_answered) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "main", std::nullopt}));
  std::atomic<int> deployed{0};
  {
    std::vector<std::jthread> callers;
    for (int caller = 0; caller < 8; ++caller) {
      callers.emplace_back([&, caller] {
        for (int i = 0; i < 20; ++i) {
          Push push;
          push.repository_urls = {"/srv/web.git"};
          push.ref = "refs/heads/main";
          push.after = std::string(40, 'd');
          push.delivery_id = std::to_string(caller) + "-" + std::to_string(i);
          const auto receipts =
              plane->execute(Principal::webhook("github"), commands::TakePush{push});
          if (receipts && receipts->size() == 1) ++deployed;
        }
      });
    }
  }
  EXPECT_EQ(deployed, 160);
  const auto view = plane->catalog().project_named("web");
  ASSERT_EQ(view->deployments.size(), 160U);
  EXPECT_TRUE(wait_for_live(view->deployments.back()));
}

}  // namespace
}  // namespace atlasflow::actors
