#include "cli/command_line.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

tl::expected<CommandLine, EarlyExit> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "atlasflow");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

template <typename T>
T command(std::vector<const char*> arguments) {
  auto line = parse(std::move(arguments));
  EXPECT_TRUE(line) << line.error().err;
  if (!line || !std::holds_alternative<T>(line->command)) {
    ADD_FAILURE() << "another verb was understood";
    return {};
  }
  return std::get<T>(line->command);
}

TEST(CommandLine, project_create_takes_its_options_in_any_order) {
  const auto create = command<ProjectCreateCommand>(
      {"project", "create", "--repo", "https://github.com/a/b", "web", "--branch", "main"});
  EXPECT_EQ(create.name, "web");
  EXPECT_EQ(create.repository, "https://github.com/a/b");
  EXPECT_EQ(create.branch, "main");
}

TEST(CommandLine, a_domains_certificate_is_shown_brought_and_given_up_by_one_word) {
  EXPECT_EQ(command<DomainCertCommand>({"domains", "cert", "www.shop.test"}).domain,
            "www.shop.test");
  const auto upload = command<DomainCertUploadCommand>(
      {"domains", "cert", "upload", "www.shop.test", "--cert", "chain.pem", "--key", "key.pem"});
  EXPECT_EQ(upload.domain, "www.shop.test");
  EXPECT_EQ(upload.cert_file, "chain.pem");
  EXPECT_EQ(upload.key_file, "key.pem");
  EXPECT_EQ(command<DomainCertRemoveCommand>({"domains", "cert", "remove", "www.shop.test"}).domain,
            "www.shop.test");
  EXPECT_TRUE(
      command<DomainRedirectCommand>({"domains", "redirect", "www.shop.test", "--off"}).off);
  EXPECT_FALSE(command<DomainAccountRolloverCommand>({"domains", "account", "rollover"}).fallback);
  EXPECT_TRUE(
      command<DomainAccountRolloverCommand>({"domains", "account", "rollover", "--fallback"})
          .fallback);
  const std::vector<std::vector<const char*>> wrong = {
      {"domains", "cert"},
      {"domains", "account"},
      {"domains", "cert", "upload", "www.shop.test", "--cert", "chain.pem"},
      {"domains", "cert", "upload", "--cert", "chain.pem", "--key", "key.pem"},
      {"domains", "redirect", "www.shop.test"},
      {"domains", "redirect", "www.shop.test", "shop.test", "--off"}};
  for (const auto& arguments : wrong) {
    const auto line = parse(arguments);
    ASSERT_FALSE(line) << arguments.back();
    EXPECT_EQ(line.error().code, 2);
  }
}

TEST(CommandLine, env_set_keeps_assignments_as_they_are) {
  const auto set = command<EnvSetCommand>({"env", "set", "web", "A=1", "B=--x y", "C="});
  EXPECT_EQ(set.project, "web");
  EXPECT_THAT(set.assignments, ElementsAre("A=1", "B=--x y", "C="));
}

TEST(CommandLine, env_set_refuses_a_file_beside_assignments) {
  const auto line = parse({"env", "set", "web", "A=1", "--from-file", ".env"});
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().code, 2);
}

TEST(CommandLine, a_build_secret_is_named_and_its_value_is_no_argument) {
  const auto set = command<BuildSecretSetCommand>({"build-secret", "set", "web", "NPM"});
  EXPECT_EQ(set.project, "web");
  EXPECT_EQ(set.name, "NPM");
  EXPECT_EQ(set.file, "-");
  EXPECT_EQ(
      command<BuildSecretSetCommand>({"build-secret", "set", "web", "NPM", "--from-file", "token"})
          .file,
      "token");
  EXPECT_THAT(
      command<BuildSecretSetCommand>({"build-secret", "set", "web", "NPM", "hunter2"}).mistaken,
      ElementsAre("hunter2"));
  const auto unset = command<BuildSecretUnsetCommand>({"build-secret", "unset", "web", "A", "B"});
  EXPECT_THAT(unset.names, ElementsAre("A", "B"));
}

TEST(CommandLine, the_connections_options_may_stand_anywhere) {
  for (const auto& arguments :
       std::vector<std::vector<const char*>>{{"--state-dir", "/s", "status"},
                                             {"status", "--state-dir", "/s"},
                                             {"project", "list", "--state-dir", "/s"}}) {
    const auto line = parse(arguments);
    ASSERT_TRUE(line) << line.error().err;
    EXPECT_EQ(line->connection.state_dir, "/s");
  }
}

TEST(CommandLine, logs_since_a_time_are_all_lines_unless_their_number_is_given) {
  const auto all = command<LogsCommand>({"logs", "web", "--since", "10m"});
  EXPECT_EQ(all.since, "10m");
  EXPECT_EQ(all.lines, 0);
  EXPECT_EQ(command<LogsCommand>({"logs", "web", "--since", "10m", "-n", "5"}).lines, 5);
  EXPECT_EQ(command<LogsCommand>({"logs", "web"}).lines, 100);
  EXPECT_TRUE(command<LogsCommand>({"logs", "web", "--build", "--json"}).json);
}

TEST(CommandLine, logs_of_requests_stand_alone) {
  const auto logs = command<LogsCommand>({"logs", "web", "--http", "-f", "--since", "10m"});
  EXPECT_TRUE(logs.http);
  EXPECT_TRUE(logs.follow);
  for (const auto& more :
       std::vector<std::vector<const char*>>{{"--build"}, {"--release"}, {"--instance", "0"}}) {
    std::vector<const char*> words = {"logs", "web", "--http"};
    words.insert(words.end(), more.begin(), more.end());
    const auto refused = parse(words);
    ASSERT_FALSE(refused) << more.front();
    EXPECT_EQ(refused.error().code, 2) << more.front();
  }
}

TEST(CommandLine, logs_understands_the_short_flags) {
  const auto logs = command<LogsCommand>({"logs", "web", "--build", "-f", "-n", "5"});
  EXPECT_EQ(logs.subject, "web");
  EXPECT_TRUE(logs.build);
  EXPECT_TRUE(logs.follow);
  EXPECT_EQ(logs.lines, 5);
}

TEST(CommandLine, logs_takes_one_instance_or_the_release_command) {
  EXPECT_FALSE(command<LogsCommand>({"logs", "web"}).instance);
  EXPECT_EQ(command<LogsCommand>({"logs", "web", "--instance", "2"}).instance, 2);
  EXPECT_TRUE(command<LogsCommand>({"logs", "web", "--release"}).release);
}

TEST(CommandLine, rollback_and_redeploy_leave_the_choice_of_the_deployment) {
  EXPECT_EQ(command<RollbackCommand>({"rollback", "web"}).deployment, "");
  const auto rollback = command<RollbackCommand>({"rollback", "web", "d7k2m9qa", "--wait"});
  EXPECT_EQ(rollback.project, "web");
  EXPECT_EQ(rollback.deployment, "d7k2m9qa");
  EXPECT_TRUE(rollback.wait);
  EXPECT_EQ(command<RedeployCommand>({"redeploy", "web", "d7k2m9qa"}).deployment, "d7k2m9qa");
}

TEST(CommandLine, the_verbs_of_a_deployments_life_take_wait_and_json) {
  EXPECT_TRUE(command<PromoteCommand>({"promote", "d7k2m9qa", "--json"}).json);
  EXPECT_EQ(command<ApproveCommand>({"approve", "web", "7", "--sha", "x", "--wait"}).number, 7);
  EXPECT_TRUE(command<RestartCommand>({"restart", "web", "--wait"}).wait);
  EXPECT_EQ(command<CancelCommand>({"cancel", "web"}).subject, "web");
  EXPECT_TRUE(command<StopCommand>({"stop", "web", "--wait"}).wait);
  EXPECT_TRUE(command<StartCommand>({"start", "web", "--wait"}).wait);
  const auto scale = command<ScaleCommand>({"scale", "web", "3", "--json"});
  EXPECT_EQ(scale.replicas, 3);
  EXPECT_TRUE(scale.json);
}

TEST(CommandLine, a_notify_secret_is_named_by_a_file) {
  const auto notify =
      command<ProjectNotifySecretCommand>({"project", "notify-secret", "web", "--file", "-"});
  EXPECT_EQ(notify.name, "web");
  EXPECT_EQ(notify.file, "-");
}

TEST(CommandLine, a_project_is_cloned_from_somewhere_or_pushed_to_here) {
  const auto create = command<ProjectCreateCommand>({"project", "create", "web", "--git-push"});
  EXPECT_TRUE(create.git_push);
  EXPECT_EQ(create.repository, "");
  EXPECT_TRUE(
      command<ProjectPushTokenCommand>({"project", "push-token", "web", "--revoke"}).revoke);
  EXPECT_FALSE(command<ProjectPushTokenCommand>({"project", "push-token", "web"}).revoke);
  for (const std::vector<const char*>& which :
       {std::vector<const char*>{}, {"--git-push", "--repo", "https://github.com/a/b"}}) {
    std::vector<const char*> words = {"project", "create", "web"};
    words.insert(words.end(), which.begin(), which.end());
    const auto refused = parse(words);
    ASSERT_FALSE(refused) << which.size();
    EXPECT_EQ(refused.error().code, 2) << which.size();
  }
}

TEST(CommandLine, a_github_app_is_named_by_its_id_and_two_files) {
  const auto connect = command<GitHubConnectCommand>(
      {"github", "connect", "--app-id", "12345", "--private-key-file", "key.pem",
       "--webhook-secret-file", "-", "--base-url", "https://git.example.com"});
  EXPECT_EQ(connect.app_id, 12345);
  EXPECT_EQ(connect.private_key_file, "key.pem");
  EXPECT_EQ(connect.webhook_secret_file, "-");
  EXPECT_EQ(connect.base_url, "https://git.example.com");
  EXPECT_EQ(command<GitHubConnectCommand>({"github", "connect"}).app_id, 0);
  EXPECT_TRUE(command<GitHubDisconnectCommand>({"github", "disconnect", "-y"}).yes);
}

TEST(CommandLine, the_authority_is_exported_to_a_file_or_the_terminal_and_trusted_or_not) {
  EXPECT_EQ(command<CaExportCommand>({"ca", "export"}).file, "");
  EXPECT_EQ(command<CaExportCommand>({"ca", "export", "ca.pem"}).file, "ca.pem");
  EXPECT_FALSE(command<CaTrustCommand>({"ca", "trust"}).remove);
  EXPECT_TRUE(command<CaTrustCommand>({"ca", "trust", "--remove"}).remove);
  EXPECT_TRUE(command<CaTrustCommand>({"ca", "trust", "--replace"}).replace);
  for (const auto& arguments : std::vector<std::vector<const char*>>{
           {"ca"}, {"ca", "export", "a", "b"}, {"ca", "trust", "--remove", "--replace"}}) {
    const auto line = parse(arguments);
    ASSERT_FALSE(line) << arguments.back();
    EXPECT_EQ(line.error().code, 2);
  }
}

TEST(CommandLine, the_help_lists_every_verb) {
  const auto help = parse({"--help"}).error().out;
  for (const char* verb : {"rollback", "redeploy", "promote", "restart", "cancel", "stop", "start",
                           "scale", "deploy", "deployments", "status", "logs", "events"}) {
    EXPECT_THAT(help, HasSubstr("\n  " + std::string(verb) + " ")) << help;
  }
}

TEST(CommandLine, deploy_and_events_have_defaults) {
  EXPECT_FALSE(command<DeployCommand>({"deploy", "web"}).wait);
  EXPECT_FALSE(command<DeployCommand>({"deploy", "web"}).no_cache);
  EXPECT_TRUE(command<DeployCommand>({"deploy", "web", "--no-cache"}).no_cache);
  EXPECT_TRUE(command<RedeployCommand>({"redeploy", "web", "--no-cache"}).no_cache);
  EXPECT_EQ(command<DeploymentsCommand>({"deployments", "web"}).limit, 20);
  EXPECT_EQ(command<EventsCommand>({"events"}).from, 1);
}

class WrongUsage : public testing::TestWithParam<std::vector<const char*>> {};

TEST_P(WrongUsage, is_exit_code_2_with_one_line_that_names_the_help) {
  const auto line = parse(GetParam());
  ASSERT_FALSE(line);
  EXPECT_EQ(line.error().code, 2);
  EXPECT_EQ(line.error().out, "");
  EXPECT_THAT(line.error().err, HasSubstr("--help"));
  EXPECT_EQ(std::count(line.error().err.begin(), line.error().err.end(), '\n'), 1)
      << line.error().err;
}

INSTANTIATE_TEST_SUITE_P(
    Lines, WrongUsage,
    testing::Values(
        std::vector<const char*>{}, std::vector<const char*>{"launch"},
        std::vector<const char*>{"project"}, std::vector<const char*>{"project", "boot"},
        std::vector<const char*>{"project", "create", "web"},
        std::vector<const char*>{"project", "show"}, std::vector<const char*>{"status", "--fast"},
        std::vector<const char*>{"status", "extra"},
        std::vector<const char*>{"deployments", "web", "--limit", "0"},
        std::vector<const char*>{"deployments", "web", "--limit", "many"},
        std::vector<const char*>{"logs", "web", "-n"},
        std::vector<const char*>{"logs", "web", "--build", "--release"},
        std::vector<const char*>{"logs", "web", "--build", "--instance", "1"},
        std::vector<const char*>{"logs", "web", "--release", "--instance", "1"},
        std::vector<const char*>{"logs", "web", "--instance", "32"},
        std::vector<const char*>{"rollback"}, std::vector<const char*>{"promote"},
        std::vector<const char*>{"scale", "web"}, std::vector<const char*>{"scale", "web", "many"},
        std::vector<const char*>{"project", "notify-secret", "web"},
        std::vector<const char*>{"project", "notify-secret", "web", "hush"},
        std::vector<const char*>{"github"},
        std::vector<const char*>{"github", "connect", "--app-id", "1"},
        std::vector<const char*>{"github", "connect", "--private-key-file", "k"},
        std::vector<const char*>{"github", "connect", "--app-id", "x", "--private-key-file", "k",
                                 "--webhook-secret-file", "s"},
        std::vector<const char*>{"events", "--from", "-1"}));

TEST(CommandLine, the_help_of_a_verb_is_that_of_the_deepest_one_given) {
  EXPECT_THAT(parse({"env", "set"}).error().err, HasSubstr("'atlasflow env set --help'"));
}

TEST(CommandLine, help_and_version_are_no_failure) {
  for (const char* flag : {"--help", "--version"}) {
    const auto line = parse({flag});
    ASSERT_FALSE(line);
    EXPECT_EQ(line.error().code, 0);
    EXPECT_THAT(line.error().out, HasSubstr("tlasflow"));
  }
}

TEST(CommandLine, what_opens_a_repository_is_named_by_files_and_never_by_an_argument) {
  const auto key = command<ProjectDeployKeyCommand>({"project", "deploy-key", "web", "--rotate"});
  EXPECT_TRUE(key.rotate);
  const auto login = command<ProjectLoginCommand>(
      {"project", "login", "web", "--username", "me", "--password-file", "-"});
  EXPECT_EQ(login.username, "me");
  EXPECT_EQ(login.password_file, "-");
  const auto host =
      command<ProjectHostKeyCommand>({"project", "host-key", "web", "--accept", "SHA256:x"});
  EXPECT_EQ(host.accept, "SHA256:x");
  EXPECT_EQ(
      command<ProjectWebhookSecretCommand>({"project", "webhook-secret", "web", "--file", "f"})
          .file,
      "f");
  for (const std::vector<std::string>& wrong :
       {std::vector<std::string>{"project", "deploy-key", "web", "--rotate", "--remove"},
        {"project", "login", "web", "--username", "me"},
        {"project", "login", "web", "--password-file", "f", "--username", "me", "--remove"},
        {"project", "login", "web", "--password", "secret"},
        {"project", "webhook-secret", "web", "--file", "f", "--server"}}) {
    std::vector<const char*> arguments;
    for (const auto& each : wrong) arguments.push_back(each.c_str());
    const auto parsed = parse(arguments);
    ASSERT_FALSE(parsed) << wrong.back();
    EXPECT_EQ(parsed.error().code, 2) << wrong.back();
  }
}

}  // namespace
}  // namespace atlasflow::cli
