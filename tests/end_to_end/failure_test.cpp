// Deployments that fail say why.

#include <gmock/gmock.h>

#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;

using Failure = ServerFixture;

std::vector<std::string> types_of(const std::vector<nlohmann::json>& events) {
  std::vector<std::string> types;
  for (const auto& event : events) types.push_back(event.at("type"));
  return types;
}

TEST_F(Failure, a_build_that_fails_ends_the_wait_with_its_log_and_exit_code_1) {
  write_app("hello\n");
  write_file(repository().folder() / "Dockerfile",
             "FROM scratch\nCOPY busybox /bin/busybox\n"
             "RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo the compiler is unhappy; exit 7\"]\n");
  repository().commit_all("Break it");
  start_server();
  create_project("web");
  const auto deployed = atlasflow({"deploy", "web", "--wait"});
  EXPECT_EQ(deployed.code, 1);
  EXPECT_THAT(deployed.err, HasSubstr("failed at the build"));
  EXPECT_THAT(deployed.err, HasSubstr("the compiler is unhappy"));

  const auto events = this->events("web");
  EXPECT_THAT(types_of(events), Contains("BuildFailed"));
  for (const auto& event : events) {
    if (event.at("type") != "BuildFailed") continue;
    EXPECT_EQ(event.at("data").at("fault"), "FAULT_USER");
    EXPECT_EQ(event.at("data").at("exit_code"), 7);
  }
  EXPECT_THAT(atlasflow({"logs", "web", "--build"}).out, HasSubstr("the compiler is unhappy"));
  EXPECT_TRUE(vm_processes().empty());
}

TEST_F(Failure, an_app_that_answers_500_fails_at_its_deadline_and_its_predecessor_stays) {
  write_app("hello\n");
  repository().commit_all("Say hello");
  start_server();
  create_project("web");
  const auto first = atlasflow({"deploy", "web", "--wait"});
  ASSERT_EQ(first.code, 0) << first.err;
  ASSERT_EQ(atlasflow({"project", "set", "web", "health_deadline=20s"}).code, 0);

  write_file(
      repository().folder() / "serve",
      "#!/bin/sh\necho the database is away\n"
      "while true; do\n"
      "  printf 'HTTP/1.1 500 No\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n' |"
      " nc -l -p 3000 >/dev/null\ndone\n");
  std::filesystem::permissions(repository().folder() / "serve", std::filesystem::perms::all);
  write_file(repository().folder() / "Dockerfile",
             "FROM scratch\nCOPY busybox /bin/busybox\n"
             "RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n"
             "COPY serve /serve\nCMD [\"/serve\"]\n");
  repository().commit_all("Lose the database");
  const auto second = atlasflow({"deploy", "web", "--wait"});
  EXPECT_EQ(second.code, 1);
  EXPECT_THAT(second.err, HasSubstr("failed at the health check"));
  EXPECT_THAT(second.err, HasSubstr("the database is away"));
  EXPECT_THAT(types_of(events("web")), Contains("HealthDeadlineExceeded"));
  const auto page = get("web." + k_domain);
  EXPECT_EQ(page.status, 200) << page.error;
  EXPECT_EQ(page.body, "hello\n");
  EXPECT_TRUE(eventually(60s, [this] { return vm_processes().size() == 1; }));
}

TEST_F(Failure, an_app_that_exits_fails_at_once) {
  write_app("hello\n");
  write_file(repository().folder() / "Dockerfile",
             "FROM scratch\nCOPY busybox /bin/busybox\n"
             "CMD [\"/bin/busybox\", \"sh\", \"-c\", \"echo no configuration; exit 3\"]\n");
  repository().commit_all("Exit");
  start_server();
  create_project("web");
  const auto deployed = atlasflow({"deploy", "web", "--wait"});
  EXPECT_EQ(deployed.code, 1);
  EXPECT_THAT(deployed.err, HasSubstr("no configuration"));
  EXPECT_THAT(deployed.err, HasSubstr("3"));
  EXPECT_TRUE(eventually(60s, [this] { return vm_processes().empty(); }));
}

TEST_F(Failure, a_repository_that_is_not_there_is_named) {
  start_server();
  create_project("web");
  std::filesystem::remove_all(repository().folder());
  const auto deployed = atlasflow({"deploy", "web", "--wait"});
  EXPECT_EQ(deployed.code, 1);
  EXPECT_THAT(deployed.err, HasSubstr(repository().folder().string()));
}

TEST_F(Failure, a_repositorys_settings_are_in_the_log_and_a_mistake_in_them_is_told_by_its_line) {
  write_file(repository().folder() / "atlasflow.toml",
             "port = 8080\nroot_folder = \"apps/web\"\nwatch_paths = [\"apps/web/**\"]\n");
  repository().commit_all("Say how");  // With nothing to build, so that it ends there.
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"project", "set", "web", "replicas=2", "build_arg.NODE=20", "port=3001",
                       "watch_paths=src/**,package.json"})
                .code,
            0);
  const auto shown = atlasflow({"project", "show", "web"}).out;
  EXPECT_THAT(shown, HasSubstr("NODE=20"));
  EXPECT_THAT(shown, HasSubstr("src/**, package.json"));
  const auto refused = atlasflow({"project", "set", "web", "replicas=2", "colour=red"});
  EXPECT_EQ(refused.code, 2);
  EXPECT_THAT(refused.err, HasSubstr("there is no setting 'colour'; there are health_path, port"));

  EXPECT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 1);
  nlohmann::json cloned;
  for (const auto& event : events("web")) {
    if (event.at("type") == "Cloned") cloned = event.at("data");
  }
  ASSERT_TRUE(cloned.is_object());
  EXPECT_EQ(cloned.at("has_config"), true);
  EXPECT_EQ(cloned.at("settings").at("port"), 8080);
  EXPECT_EQ(cloned.at("settings").at("root_folder"), "apps/web");
  EXPECT_EQ(cloned.at("settings").at("watch_paths"), nlohmann::json({"apps/web/**"}));

  write_file(repository().folder() / "atlasflow.toml", "port = 8080\nreplica = 2\n");
  repository().commit_all("Mistype");
  const auto deployed = atlasflow({"deploy", "web", "--wait"});
  EXPECT_EQ(deployed.code, 1);
  EXPECT_THAT(deployed.err,
              HasSubstr("atlasflow.toml, line 2: 'replica' is not known; did you mean replicas?"));
  for (const auto& event : events("web")) {
    if (event.at("type") != "CloneFailed") continue;
    EXPECT_EQ(event.at("data").at("fault"), "FAULT_USER");
    EXPECT_EQ(event.at("data").at("retryable"), false);
  }
}

TEST_F(Failure, a_second_server_on_the_state_folder_is_refused_with_the_firsts_pid) {
  start_server();
  const auto second = atlasflow({"server", "--state-dir", state_dir().string()});
  EXPECT_EQ(second.code, 2);
  EXPECT_THAT(second.err, HasSubstr("another server (pid "));
  EXPECT_EQ(atlasflow({"status"}).code, 0);
}

}  // namespace
}  // namespace atlasflow::end_to_end
