// The façade over real threads: what the API calls.
#include "actors/runtime/control_plane.hpp"

#include <set>
#include <thread>

#include <gmock/gmock.h>

#include "events/settings.hpp"
#include "tests/actors/facade_fixture.hpp"
#include "tests/storage/deployment_ids.hpp"

namespace atlasflow::actors {
namespace {

using actors_test::Facade;

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
  const auto ids = deployment_ids(plane->catalog(), "web");
  ASSERT_EQ(ids.size(), 160U);
  EXPECT_TRUE(wait_for_live(ids.back()));
}

TEST_F(Facade, a_webhook_secret_is_replaced_at_once_and_given_up_for_the_servers) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "/srv/web.git", "", "first"}));
  ASSERT_TRUE(as_user(commands::SetWebhookSecret{"web", Secret("second-sentinel")}));
  EXPECT_THAT(plane->webhook_secrets(),
              testing::ElementsAre(testing::Pair("web", "second-sentinel")));
  EXPECT_EQ(as_user(commands::SetWebhookSecret{"web", Secret("")}).error().code,
            ErrorCode::invalid_argument);
  EXPECT_EQ(as_user(commands::SetWebhookSecret{"none", Secret("x")}).error().code,
            ErrorCode::not_found);
  // A push that the server's secret signs is for projects without one of their own.
  const auto push_by_the_server = [&] {
    Push push{.repository_urls = {"/srv/web.git"},
              .default_branch = "main",
              .ref = "refs/heads/main",
              .after = std::string(40, 'b'),
              .delivery_id = std::to_string(plane->log().last_position().value())};
    const auto receipts = as_user(commands::TakePush{std::move(push)});
    return receipts ? receipts->size() : 0U;
  };
  EXPECT_EQ(push_by_the_server(), 0U);
  ASSERT_TRUE(as_user(commands::SetWebhookSecret{"web", std::nullopt}));
  EXPECT_TRUE(plane->webhook_secrets().empty());
  EXPECT_EQ(push_by_the_server(), 1U);
  ASSERT_TRUE(as_user(commands::SetWebhookSecret{"web", Secret("third")}));
  EXPECT_EQ(push_by_the_server(), 0U);
  ASSERT_TRUE(plane->log().read_all(Position{1}, [](const storage::Record& record) {
    EXPECT_THAT(record.event.SerializeAsString(), testing::Not(testing::HasSubstr("sentinel")));
    return true;
  }));
}

TEST_F(Facade, a_deploy_key_is_made_once_and_anew_only_when_that_is_asked_for) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "git@git.test:web", "", std::nullopt}));
  ASSERT_TRUE(as_user(commands::CreateProject{"site", "https://git.test/s", "", std::nullopt}));
  const auto state = [&] { return plane->catalog().project_named("web")->state; };
  EXPECT_EQ(as_user(commands::RemoveDeployKey{"web"}).error().code, ErrorCode::not_found);
  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web"}));
  const auto first = state();
  EXPECT_THAT(first.deploy_key, testing::HasSubstr(" atlasflow-web"));
  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web"}));
  EXPECT_EQ(state().deploy_key, first.deploy_key);
  ASSERT_TRUE(as_user(commands::MakeDeployKey{"web", true}));
  EXPECT_NE(state().deploy_key, first.deploy_key);
  EXPECT_NE(state().deploy_key_ref, first.deploy_key_ref);
  ASSERT_TRUE(plane->log().read_all(Position{1}, [](const storage::Record& record) {
    EXPECT_THAT(record.event.SerializeAsString(), testing::Not(testing::HasSubstr("PRIVATE KEY")));
    return true;
  }));
  ASSERT_TRUE(as_user(commands::RemoveDeployKey{"web"}));
  EXPECT_TRUE(state().deploy_key_ref.empty());
  const auto sealed = secrets.values.size();
  EXPECT_EQ(as_user(commands::MakeDeployKey{"site"}).error().code, ErrorCode::conflict);
  EXPECT_EQ(secrets.values.size(), sealed) << "nothing is sealed of what is refused";
}

TEST_F(Facade, a_host_key_is_accepted_for_the_host_of_the_projects_remote) {
  const auto one = "SHA256:" + std::string(43, '1');
  const auto other = "SHA256:" + std::string(43, '2');
  ASSERT_TRUE(
      as_user(commands::CreateProject{"web", "ssh://git@git.test:2222/web", "", std::nullopt}));
  ASSERT_TRUE(as_user(commands::PinHostKey{"web", "[git.test]:2222", one, false}));
  EXPECT_EQ(as_user(commands::PinHostKey{"web", "[git.test]:2222", other, false}).error().code,
            ErrorCode::user_error);
  ASSERT_TRUE(as_user(commands::PinHostKey{"web", "", other, true}));
  EXPECT_THAT(plane->catalog().project_named("web")->state.host_keys,
              testing::ElementsAre(testing::Pair("[git.test]:2222", other)));
  ASSERT_TRUE(as_user(commands::CreateProject{"site", "https://git.test/s", "", std::nullopt}));
  EXPECT_EQ(as_user(commands::PinHostKey{"site", "", other, true}).error().code,
            ErrorCode::conflict);
}

TEST_F(Facade, a_login_is_sealed_with_its_user) {
  ASSERT_TRUE(as_user(commands::CreateProject{"web", "https://git.test/w", "", std::nullopt}));
  ASSERT_TRUE(
      as_user(commands::SetRepositoryLogin{"web", "user-sentinel", Secret("token-sentinel")}));
  const auto state = plane->catalog().project_named("web")->state;
  EXPECT_EQ(secrets.values.at(state.login_ref), "user-sentinel\ntoken-sentinel");
  ASSERT_TRUE(plane->log().read_all(Position{1}, [](const storage::Record& record) {
    EXPECT_THAT(record.event.SerializeAsString(), testing::Not(testing::HasSubstr("sentinel")));
    return true;
  }));
  for (const auto& [username, password] :
       {std::pair("", "x"), std::pair("a:b", "x"), std::pair("a\nb", "x"), std::pair("a", ""),
        std::pair("a", "x\ny")}) {
    EXPECT_EQ(as_user(commands::SetRepositoryLogin{"web", username, Secret(password)}).error().code,
              ErrorCode::invalid_argument)
        << username;
  }
  ASSERT_TRUE(as_user(commands::RemoveRepositoryLogin{"web"}));
  EXPECT_TRUE(plane->catalog().project_named("web")->state.login_ref.empty());
}

}  // namespace
}  // namespace atlasflow::actors
