// What the settings say of the source: root folder, Dockerfile, target, build arguments.
#include <map>
#include <thread>

#include "tests/builder/image_builder_fixture.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class BuildSourceTest : public ImageBuilderTest {
 protected:
  // What the image says of its entry point and its command.
  std::string command_of(const std::string& project, const std::string& image_id) const {
    const auto tool = buildah();
    const auto images = store(project);
    Buildah::Call call;
    call.arguments = {"inspect",
                      "--type",
                      "image",
                      "--format",
                      "{{range .Docker.Config.Entrypoint}}[{{.}}]{{end}} "
                      "{{range .Docker.Config.Cmd}}[{{.}}]{{end}}",
                      image_id};
    call.store = &images;
    const auto own_bases = bases();
    call.bases = &own_bases;
    call.scratch = scratch_.path() / "tool";
    EXPECT_TRUE(tool.own(call.scratch));
    std::string said;
    const auto ran = tool.run(call, [&said](std::string_view text) { said += text; });
    EXPECT_TRUE(ran) << to_string(ran.error());
    EXPECT_EQ(ran ? ran->exit_code : -1, 0) << said;
    return said;
  }
};

TEST_F(BuildSourceTest, the_root_folder_is_all_that_a_build_sees) {
  put_busybox("repo/apps/web");
  write(folder("repo") / "secret.txt", "not for the image");
  write(folder("repo") / "Dockerfile", "FROM localhost/atlasflow-base/absent:1\n");
  write(folder("repo") / "apps/web/docker/Dockerfile.prod",
        busybox_dockerfile("COPY . /app\nRUN echo \"files=$(ls /app | tr '\\n' ' ')\"\n"));
  auto nested = request("b-1", "repo");
  nested.root_folder = "apps/web";
  nested.dockerfile = "docker/Dockerfile.prod";
  const auto built = builder_->build(nested, {});
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_EQ(built->stack_reason, "docker/Dockerfile.prod in apps/web");
  EXPECT_THAT(log("b-1"), HasSubstr("files=busybox docker \n"));
  expect_nothing_left("b-1");
}

TEST_F(BuildSourceTest, a_dockerfile_of_the_repositorys_root_builds_a_folder) {
  put_busybox("repo/apps/web");
  write(folder("repo") / "secret.txt", "not for the image");
  write(folder("repo") / "apps/web/left-out", "");
  write(folder("repo") / "docker/web.Dockerfile.dockerignore", "left-out\n");
  write(folder("repo") / "docker/web.Dockerfile",
        busybox_dockerfile("COPY . /app\nRUN echo \"files=$(ls /app | tr '\\n' ' ')\"; exit 3\n"));
  auto nested = request("b-1", "repo");
  nested.root_folder = "apps/web";
  nested.dockerfile = "/docker/web.Dockerfile";
  const auto built = builder_->build(nested, {});
  ASSERT_FALSE(built);
  EXPECT_THAT(log("b-1"), HasSubstr("docker/web.Dockerfile in the repository, for apps/web"));
  EXPECT_THAT(log("b-1"), HasSubstr("files=busybox \n"));
  EXPECT_THAT(built.error().message, HasSubstr("line 5: step 'RUN echo"));
  // It is the repository's root, not the machine's, and no link leads out of it.
  std::filesystem::create_symlink("/etc/hostname", folder("repo") / "link");
  for (const char* name : {"etc/hostname", "link"}) {
    nested.build_id = "b-2";
    nested.dockerfile = std::string("/") + name;
    const auto refused = builder_->build(nested, {});
    ASSERT_FALSE(refused) << name;
    EXPECT_EQ(refused.error().code, ErrorCode::user_error) << name;
  }
}

TEST_F(BuildSourceTest, what_a_build_started_from_is_known_by_digest) {
  put_base("docker.io/library/tool:1", busybox_dockerfile("CMD [\"sh\"]\n"));
  put_base("docker.io/library/other:2", busybox_dockerfile("RUN echo other > /other\n"));
  write(folder("app") / "Dockerfile",
        "FROM absent:1 AS unneeded\nFROM tool:1\nCOPY --from=other:2 /other /other\n");
  const auto built = build("b-1", "app");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  std::map<std::string, std::string> digests;
  for (const auto& image : bases().images()) {
    for (const auto& name : image.names) digests[name] = image.digest;
  }
  ASSERT_EQ(built->base_images.size(), 2U);
  EXPECT_EQ(built->base_images[0].name, "docker.io/library/tool:1");
  EXPECT_EQ(built->base_images[1].name, "docker.io/library/other:2");
  for (const auto& base : built->base_images) {
    EXPECT_EQ(base.digest, digests[base.name]);
    EXPECT_EQ(base.digest.size(), 71U);
    EXPECT_THAT(log("b-1"), HasSubstr("From " + base.name + "@" + base.digest));
  }
}

TEST_F(BuildSourceTest, a_version_that_cannot_be_had_is_the_one_that_is_here_with_a_notice) {
  put_base("localhost/atlasflow-base/python:3.11-bookworm", busybox_dockerfile(""));
  write(folder("app") / "main.py", "");
  write(folder("app") / ".python-version", "3.99\n");
  const auto built = build("b-1", "app");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  ASSERT_EQ(built->base_images.size(), 1U);
  EXPECT_EQ(built->base_images[0].name, "localhost/atlasflow-base/python:3.11-bookworm");
  EXPECT_THAT(built->notices, ::testing::Contains(HasSubstr("Python 3.99 (.python-version)")));
  EXPECT_THAT(log("b-1"), HasSubstr("a base image that is here is used instead"));
}

TEST_F(BuildSourceTest, what_the_apps_own_tools_insist_on_is_not_built_with_another_version) {
  put_base("localhost/atlasflow-base/python:3.11-bookworm", busybox_dockerfile(""));
  write(folder("app") / "main.py", "");
  write(folder("app") / "pyproject.toml", "[project]\nrequires-python = \">=3.99\"\n");
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::user_error);
  EXPECT_THAT(built.error().message,
              HasSubstr("Python >=3.99 (requires-python in pyproject.toml), and "
                        "localhost/atlasflow-base/python:3.11-bookworm has Python 3.11"));
}

TEST_F(BuildSourceTest, the_one_folder_that_can_be_built_is_all_that_the_build_sees) {
  put_base("localhost/atlasflow-base/python:3.11-bookworm", busybox_dockerfile(""));
  write(folder("repo") / "notes.txt", "");
  write(folder("repo") / "api/main.py", "");
  write(folder("repo") / "api/Procfile", "web: python main.py\n");
  const auto built = build("b-1", "repo");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_EQ(built->stack_reason, "main.py in api, started by the web process of Procfile");
  int with_app = 0;
  for (const auto& layer :
       std::filesystem::directory_iterator(state() / "projects/app/storage/overlay")) {
    with_app += std::filesystem::exists(layer.path() / "diff/app/main.py") ? 1 : 0;
    EXPECT_FALSE(std::filesystem::exists(layer.path() / "diff/app/notes.txt"));
    EXPECT_FALSE(std::filesystem::exists(layer.path() / "diff/app/api"));
  }
  EXPECT_EQ(with_app, 1);
}

TEST_F(BuildSourceTest, a_root_folder_that_is_not_in_the_repository_is_a_user_error) {
  write(folder("repo") / "Dockerfile", "FROM scratch\n");
  std::filesystem::create_symlink("/etc", folder("repo") / "etc");
  for (const std::string name : {"web", "etc", "Dockerfile"}) {
    auto nested = request("b-1", "repo");
    nested.root_folder = name;
    const auto built = builder_->build(nested, {});
    ASSERT_FALSE(built) << name;
    EXPECT_EQ(built.error().code, ErrorCode::user_error);
    EXPECT_EQ(built.error().message, "there is no folder " + name +
                                         " in the repository, which the setting root_folder names");
  }
}

TEST_F(BuildSourceTest, the_target_is_the_last_stage_that_is_built) {
  put_busybox("app");
  write(folder("app") / "Dockerfile",
        "FROM scratch AS Tools\nCOPY busybox /bin/busybox\n"
        "RUN [\"/bin/busybox\", \"echo\", \"tools ran\"]\n"
        "FROM Tools AS test\nRUN [\"/bin/busybox\", \"false\"]\n");
  auto targeted = request("b-1", "app");
  targeted.build_target = "tools";
  const auto built = builder_->build(targeted, {});
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_THAT(log("b-1"), HasSubstr("tools ran"));
  targeted.build_id = "b-2";
  targeted.build_target = "prod";
  const auto absent = builder_->build(targeted, {});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::user_error);
  EXPECT_THAT(absent.error().message, HasSubstr("there is no such stage; there are Tools, test"));
  write(folder("site") / "index.html", "");
  auto site = request("b-3", "site");
  site.build_target = "prod";
  EXPECT_THAT(builder_->build(site, {}).error().message, HasSubstr("there is no Dockerfile"));
}

// A repository without a Dockerfile, whose own commands make what is started.
TEST_F(BuildSourceTest, the_settings_commands_install_build_and_start) {
  put_base("docker.io/library/debian:bookworm-slim", busybox_dockerfile("CMD [\"sh\"]\n"));
  write(folder("app") / "start.sh", "#!/bin/sh\nexit 1\n");
  auto own = request("b-1", "app");
  own.install_command = "mkdir -p lib && echo 'a \"b\" $PWD' > lib/word";
  own.build_command = "echo '<<EOF' >/dev/null; echo \"built=$(cat lib/word)\" | tee made \\";
  own.start_command = "cat made && exec sleep 1";
  const auto built = builder_->build(own, {});
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_EQ(built->stack, "shell");
  EXPECT_THAT(built->stack_reason, HasSubstr("started by the setting start_command"));
  EXPECT_THAT(log("b-1"), HasSubstr("built=a \"b\" $PWD"));
  const auto config = command_of("app", built->image_id);
  EXPECT_THAT(config, HasSubstr("[sh][-c][cat made"));
  // The same tree with another command is another image, from the changed step on.
  own.build_id = "b-2";
  own.build_command = "echo other > made";
  const auto other = builder_->build(own, {});
  ASSERT_TRUE(other) << to_string(other.error()) << log("b-2");
  EXPECT_NE(other->image_id, built->image_id);
  own.build_id = "b-3";
  own.start_command = "cat made";
  const auto restarted = builder_->build(own, {});
  ASSERT_TRUE(restarted) << to_string(restarted.error()) << log("b-3");
  EXPECT_NE(restarted->image_id, other->image_id);
  EXPECT_THAT(log("b-3"), HasSubstr("Using cache"));
}

TEST_F(BuildSourceTest, a_start_command_takes_the_place_of_a_dockerfiles_entry_point) {
  put_busybox("app");
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("ENTRYPOINT [\"/bin/false\"]\nCMD [\"never\"]\n"));
  auto own = request("b-1", "app");
  own.start_command = "/bin/httpd -f -p 3000";
  const auto built = builder_->build(own, {});
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  const auto config = command_of("app", built->image_id);
  EXPECT_THAT(config, HasSubstr("[/bin/httpd][-f][-p][3000]"));
  EXPECT_THAT(config, Not(HasSubstr("false")));
  EXPECT_THAT(config, Not(HasSubstr("never")));
}

TEST_F(BuildSourceTest, the_values_of_build_arguments_stand_in_no_argument_list) {
  put_busybox("app");
  const std::string mark = "65432" + std::to_string(::getpid());
  const std::string value = "value-" + mark + " with = and spaces";
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("ARG WORD=none\nRUN echo \"word=$WORD\"; sleep " + mark + "\n"));
  std::stop_source stop;
  Result<BuiltImage> built = tl::unexpected(Error{});
  std::thread thread([&] {
    built = builder_->build(request("b-1", "app", {{"WORD", value}}), stop.get_token());
  });
  for (int i = 0; i < 600 && log("b-1").find("word=value") == std::string::npos; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_THAT(processes_with("--build-arg"), Not(IsEmpty()));
  EXPECT_THAT(processes_with("value-" + mark), IsEmpty());
  stop.request_stop();
  thread.join();
  EXPECT_THAT(log("b-1"), HasSubstr("word=" + value + "\n"));
}

// A repository names its build arguments as it likes; buildah is not the repository's.
TEST_F(BuildSourceTest, a_build_argument_is_no_variable_of_buildah_itself) {
  put_busybox("app");
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("ARG LD_PRELOAD\nARG https_proxy\n"
                           "RUN echo \"preload=$LD_PRELOAD proxy=$https_proxy\"\n"));
  const auto built = build("b-1", "app",
                           {{"LD_PRELOAD", "/mnt/context/evil.so"},
                            {"https_proxy", "http://proxy"},
                            {"BUILDAH_ISOLATION", "none"},
                            {"STORAGE_DRIVER", "none"},
                            {"GODEBUG", "inittrace=1"},
                            {"PATH", "/nowhere"}});
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_THAT(log("b-1"), HasSubstr("preload=/mnt/context/evil.so proxy=http://proxy"));
  EXPECT_THAT(log("b-1"), Not(HasSubstr("ld.so")));
  EXPECT_THAT(log("b-1"), Not(HasSubstr("init runtime")));
}

}  // namespace
}  // namespace atlasflow::builder
