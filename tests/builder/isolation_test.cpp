// A build reads nothing but its own project's layers, the base images and its context, and reaches
// nothing of this machine, whatever its Dockerfile and its repository say. As root.
#include <array>

#include <fcntl.h>
#include <sys/stat.h>

#include "builder/registry/registry.hpp"
#include "tests/builder/image_builder_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

// In the file /sentinel of another project's image, and nowhere in what an attacker wrote.
constexpr const char* k_sentinel = "another-projects-secret";
constexpr const char* k_victim_image = "localhost/atlasflow/victim:aaaaaaaa-v4";

class Isolation : public ImageBuilderTest {
 protected:
  // What attackers start from. Each test makes what it needs: every image is a build.
  void put_tool() { put_base("docker.io/library/tool:1", busybox_dockerfile("CMD [\"sh\"]\n")); }
  // Another project's image, and what attackers start from.
  void put_victim() {
    put_tool();
    put_busybox("victim");
    write(folder("victim") / "sentinel", k_sentinel);
    write(folder("victim") / "Dockerfile", busybox_dockerfile("COPY sentinel /sentinel\n"));
    auto asked = request("aaaaaaaa-v4", "victim");
    asked.project = "victim";
    const auto built = builder_->build(asked, {});
    ASSERT_TRUE(built) << to_string(built.error()) << log("aaaaaaaa-v4");
    id_ = built->image_id.substr(std::string("sha256:").size());
    for (const auto& image : store("victim").images()) {
      if (image.id == id_) digest_ = image.digest;
    }
    ASSERT_THAT(digest_, HasSubstr("sha256:"));
  }

  // Builds a Dockerfile of another project and returns all that it said.
  std::string attack(std::string dockerfile,
                     std::vector<std::pair<std::string, std::string>> args = {}) {
    // No step is the same twice: one from the cache says nothing.
    for (auto at = dockerfile.find('@'); at != std::string::npos; at = dockerfile.find('@', at)) {
      if (dockerfile.compare(at - 2, 4, ": @;") != 0) {
        ++at;
        continue;
      }
      dockerfile.replace(at, 1, std::to_string(count_));
    }
    std::filesystem::create_directories(folder("thief"));
    write(folder("thief") / "Dockerfile", dockerfile);
    auto asked = request("b-" + std::to_string(++count_), "thief", std::move(args));
    asked.project = "thief";
    const auto built = builder_->build(asked, {});
    said_ = built ? "built" : to_string(built.error());
    return log(asked.build_id) + "\n" + said_;
  }

  std::string id_;      // of the victim's image
  std::string digest_;  // of its manifest
  std::string said_;
  int count_ = 0;
};

struct Way {
  std::string name;
  std::string dockerfile;
  std::vector<std::pair<std::string, std::string>> args;
};

// Every place where a Dockerfile can name an image, for one name of it.
std::vector<Way> ways_to_name(const std::string& image) {
  const std::string show = "RUN : @; cat /sentinel /s/sentinel /s 2>/dev/null; true\n";
  const std::string tool = "FROM tool:1\n";
  const std::string stage = tool + "ARG X=" + image + "\n";
  return {
      {"from", "FROM " + image + "\n" + show, {}},
      {"from a stage's name",
       "FROM " + image + " AS v\n" + tool + "COPY --from=v /sentinel /s\n" + show,
       {}},
      {"from in lower case", "from " + image + "\n" + show, {}},
      {"from with a platform", "FROM --platform=linux/amd64 " + image + "\n" + show, {}},
      {"from across lines", "FROM \\\n " + image + "\n" + show, {}},
      {"after a byte order mark",
       "\xEF\xBB\xBF"
       "FROM " +
           image + "\n" + show,
       {}},
      {"behind a backtick", tool + "RUN true `\nFROM " + image + "\n" + show, {}},
      {"by an escape directive",
       "# escape=`\n" + tool + "RUN echo \\\nFROM " + image + "\n" + show,
       {}},
      {"by an escape across lines", "# escape=`\nFROM `\n" + image + "\n" + show, {}},
      {"by a global argument", "ARG X=" + image + "\nFROM $X\n" + show, {}},
      {"by a global argument's default", "ARG X\nFROM ${X:-" + image + "}\n" + show, {}},
      {"by an argument of the settings", "ARG X\nFROM $X\n" + show, {{"X", image}}},
      {"by an argument of a stage", stage + "FROM $X\n" + show, {}},
      {"by a built-in argument", "ARG TARGETARCH=" + image + "\nFROM $TARGETARCH\n" + show, {}},
      {"copy", tool + "COPY --from=" + image + " /sentinel /s\n" + show, {}},
      {"copy by a global argument",
       "ARG X=" + image + "\n" + tool + "ARG X\nCOPY --from=$X /sentinel /s\n" + show,
       {}},
      {"copy by a stage's argument", stage + "COPY --from=$X /sentinel /s\n" + show, {}},
      {"copy by the environment",
       tool + "ENV X=" + image + "\nCOPY --from=$X /sentinel /s\n" + show,
       {}},
      {"add", tool + "ADD --from=" + image + " /sentinel /s\n" + show, {}},
      {"mount", tool + "RUN --mount=type=bind,from=" + image + ",target=/s cat /s/sentinel\n", {}},
      {"mount by a stage's argument",
       stage + "RUN --mount=type=bind,from=$X,target=/s cat /s/sentinel\n",
       {}},
      {"mount as a cache",
       tool + "RUN --mount=type=cache,from=" + image + ",target=/s cat /s/sentinel\n",
       {}},
      {"a trigger's copy",
       tool.substr(0, tool.size() - 1) + " AS t\nONBUILD COPY --from=" + image +
           " /sentinel /s\nFROM t\n" + show,
       {}},
      {"a trigger's mount",
       tool.substr(0, tool.size() - 1) + " AS t\nONBUILD RUN --mount=type=bind,from=" + image +
           ",target=/s cat /s/sentinel\nFROM t\n",
       {}},
  };
}

// One build each takes long, so one name goes through every place, and every name through the
// places that were open.
TEST_F(Isolation, no_way_to_name_an_image_reads_another_projects) {
  put_victim();
  for (const Way& way : ways_to_name(k_victim_image)) {
    EXPECT_THAT(attack(way.dockerfile, way.args), Not(HasSubstr(k_sentinel))) << way.name << "\n"
                                                                              << way.dockerfile;
  }
}

TEST_F(Isolation, no_name_of_an_image_reads_another_projects) {
  put_victim();
  const std::string names[] = {id_,
                               id_.substr(0, 12),
                               id_.substr(0, 6),
                               id_.substr(0, 3),
                               "sha256:" + id_,
                               "localhost/atlasflow/victim@" + digest_,
                               "atlasflow/victim:aaaaaaaa-v4",
                               "containers-storage:" + std::string(k_victim_image),
                               "victim:aaaaaaaa-v4"};
  for (const std::string& name : names) {
    const std::string stage = "FROM tool:1\nARG X=" + name + "\n";
    EXPECT_THAT(attack(stage + "COPY --from=$X /sentinel /s\nRUN cat /s\n"),
                Not(HasSubstr(k_sentinel)))
        << name;
    EXPECT_THAT(attack(stage + "RUN --mount=type=bind,from=$X,target=/s cat /s/sentinel\n"),
                Not(HasSubstr(k_sentinel)))
        << name;
  }
}

// The same ways do lead to an image that the build may have: the table tests no misspelt
// Dockerfile.
TEST_F(Isolation, the_same_ways_lead_to_a_base_image) {
  put_tool();
  put_base("docker.io/library/given:1", busybox_dockerfile("RUN echo seen-it > /sentinel\n"));
  int seen = 0;
  for (const Way& way : ways_to_name("given:1")) {
    if (attack(way.dockerfile, way.args).find("seen-it") != std::string::npos) ++seen;
  }
  EXPECT_GE(seen, 12);
}

TEST_F(Isolation, no_cache_id_and_no_link_leads_out_of_the_build) {
  put_victim();
  put_busybox("thief");
  std::filesystem::create_symlink("/mnt/storage", folder("thief") / "st");
  std::filesystem::create_symlink("/mnt/bases", folder("thief") / "ba");
  std::filesystem::create_symlink("/", folder("thief") / "ro");
  const std::string plant =
      " touch /m/planted /m/overlay/planted 2>/dev/null; find /m -maxdepth 3 | "
      "head -n 50; cat /m/etc/machine-id; true\n";
  const std::string host_file = (scratch_.path() / "host-secret").string();
  write(host_file, "secret-of-the-host");
  const std::string ways[] = {
      "RUN --mount=type=cache,id=../../storage,target=/m" + plant,
      "RUN --mount=type=cache,id=../../../bases/storage,target=/m" + plant,
      "RUN --mount=type=cache,id=/,source=/../..,target=/m" + plant,
      "RUN --mount=type=bind,rw,source=st,target=/m" + plant,
      "RUN --mount=type=bind,rw,source=ba,target=/m" + plant,
      "RUN --mount=type=bind,rw,source=ro,target=/m" + plant,
      "RUN --mount=type=bind,rw,source=ro" + host_file + ",target=/m cat /m\n",
      "COPY ../../../../../.." + host_file + " /copied\nRUN cat /copied\n",
      "COPY sub/../../../../../../.." + host_file + " /copied\nRUN cat /copied\n",
      "ADD [\"../../../../../.." + host_file + "\", \"/copied\"]\nRUN cat /copied\n",
      "COPY --from=0 /../../../../../.." + host_file + " /copied\nRUN cat /copied\n",
      "WORKDIR /../../../../mnt/storage\nRUN touch planted; cat .." + host_file + "; true\n",
      "COPY ro" + host_file + " /copied\nRUN cat /copied\n",
      "RUN ln -s / /up\nFROM tool:1\nRUN --mount=type=bind,rw,from=0,source=/up,target=/m" + plant,
      "RUN ln -s " + host_file + " /up\nFROM tool:1\nCOPY --from=0 /up /copied\nRUN cat /copied\n"};
  for (const std::string& way : ways) {
    const auto said = attack("FROM tool:1\n" + way);
    EXPECT_THAT(said, Not(HasSubstr("secret-of-the-host"))) << way;
    EXPECT_THAT(said, Not(HasSubstr(k_sentinel))) << way;
    for (const ImageStore& other : {bases(), store("victim")}) {
      EXPECT_FALSE(std::filesystem::exists(other.storage() / "planted")) << way;
      EXPECT_FALSE(std::filesystem::exists(other.storage() / "overlay/planted")) << way;
    }
  }
}

TEST_F(Isolation, a_cache_mount_of_one_project_is_not_anothers) {
  put_victim();
  write(folder("victim") / "Dockerfile",
        std::string("FROM tool:1\nRUN --mount=type=cache,id=deps,target=/m echo ") + k_sentinel +
            " > /m/x\n");
  auto asked = request("aaaaaaaa-v5", "victim");
  asked.project = "victim";
  ASSERT_TRUE(builder_->build(asked, {})) << log("aaaaaaaa-v5");
  EXPECT_THAT(attack("FROM tool:1\nRUN --mount=type=cache,id=deps,target=/m cat /m/x; true\n"),
              Not(HasSubstr(k_sentinel)));
}

TEST_F(Isolation, a_project_that_takes_a_deleted_ones_name_takes_nothing_of_it) {
  put_victim();
  auto asked = request("cccccccc-v4", "thief");
  asked.project = "victim";
  asked.project_id = "another id";
  write(folder("thief") / "Dockerfile",
        "FROM tool:1\nARG X=" + id_.substr(0, 6) + "\nCOPY --from=$X /sentinel /s\nRUN cat /s\n");
  EXPECT_FALSE(builder_->build(asked, {}));
  EXPECT_THAT(log("cccccccc-v4"), Not(HasSubstr(k_sentinel)));
}

TEST_F(Isolation, a_step_gets_no_user_namespace_no_device_no_mount_and_no_view_of_the_host) {
  put_tool();
  const auto said = attack(
      "FROM tool:1\n"
      "RUN unshare -Ur id && echo got-users; mknod /n b 8 0 && echo got-device; "
      "mount -t tmpfs none /mnt && echo got-mount; ls /sys/class/net; "
      "for a in 169.254.169.254 10.0.0.1 192.168.0.1 172.16.0.1; do "
      "nc -w 2 $a 80 </dev/null 2>&1 && echo reached $a; done; ls /sys/fs/cgroup | wc -l; "
      "cat /proc/self/mountinfo\n");
  EXPECT_EQ(said_, "built") << said;
  EXPECT_THAT(said, Not(HasSubstr("got-users\n")));
  EXPECT_THAT(said, Not(HasSubstr("got-device\n")));
  EXPECT_THAT(said, Not(HasSubstr("got-mount\n")));
  EXPECT_THAT(said, Not(HasSubstr("reached 1")));
  EXPECT_THAT(said, Not(HasSubstr("eth0")));
  EXPECT_THAT(said, HasSubstr("tap0"));
}

TEST_F(Isolation, a_step_is_granted_nothing_that_leads_into_the_kernel) {
  std::filesystem::create_directories(folder("thief"));
  std::filesystem::copy_file(ATLASFLOW_ISOLATION_PROBE, folder("thief") / "probe");
  const auto said = attack("FROM scratch\nCOPY probe /probe\nRUN [\"/probe\"]\n");
  EXPECT_EQ(said_, "built") << said;
  EXPECT_THAT(said, HasSubstr("no mount tmpfs: "));
  EXPECT_THAT(said, HasSubstr("tried all"));
  EXPECT_THAT(said, Not(HasSubstr("\ncan ")));
}

TEST_F(Isolation, an_image_of_a_registry_on_this_machine_asks_nobody) {
  const Listener listener(INADDR_ANY);
  std::array<char, 256> host{};
  ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);
  for (const std::string& name :
       {std::string("localhost"), std::string("127.0.0.1"), std::string("127.1"),
        std::string("2130706433"), std::string("0"), std::string("[::1]"), std::string("10.0.2.2"),
        std::string("a.localhost"), std::string("0x7f000001"), std::string(host.data())}) {
    const auto image = name + ":" + listener.port() + "/x";
    attack("FROM " + image + "\n");
    EXPECT_NE(said_, "built") << image;
    EXPECT_FALSE(listener.was_reached()) << image << " " << said_;
    // Nor does what is said tell whether anybody listens there.
    EXPECT_THAT(said_, AnyOf(HasSubstr("may not start from"), HasSubstr("is no name of an image"),
                             HasSubstr("could not be pulled")))
        << image;
  }
}

TEST_F(Isolation, the_registry_answers_no_step) {
  put_tool();
  auto registry = start_registry({scratch_.path() / "registry", 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  const auto address = (*registry)->address();
  const auto port = address.substr(address.rfind(':') + 1);
  const auto said = attack(
      "FROM tool:1\nRUN : @; for a in 127.0.0.1 10.0.2.2 10.0.2.3; do timeout 5 wget -q -T 2 -O - "
      "http://$a:" +
      port + "/v2/_catalog && echo reached $a; done; echo asked all\n");
  EXPECT_EQ(said_, "built") << said;
  EXPECT_THAT(said, HasSubstr("\nasked all"));
  EXPECT_THAT(said, Not(HasSubstr("\nreached ")));
  EXPECT_THAT(said, Not(HasSubstr("repositories")));
}

TEST_F(Isolation, what_docker_keeps_beside_the_image_format_is_kept) {
  put_tool();
  const auto said = attack("FROM tool:1 AS t\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN false; true\n");
  EXPECT_THAT(said, HasSubstr("failed with exit code 1"));
  const auto triggered = attack("FROM tool:1 AS t\nONBUILD RUN echo by-a-trigger\nFROM t\n");
  EXPECT_THAT(triggered, HasSubstr("\nby-a-trigger\n"));
}

TEST_F(Isolation, nobody_else_may_look_into_the_state_of_builds) {
  struct stat status {};
  ASSERT_EQ(::stat((scratch_.path() / "state").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0700U);
}

// No overlay: a file is where its work folder should be.
TEST_F(Isolation, nothing_is_run_that_would_see_what_cannot_be_hidden) {
  const auto tool = buildah();
  const auto store = bases();
  write(folder("app") / ".env", "KEY=1");
  Buildah::Call call;
  call.arguments = {"version"};
  call.store = &store;
  call.scratch = scratch_.path() / "tool";
  call.context = folder("app");
  ASSERT_TRUE(tool.own(call.scratch));
  write(call.scratch / "context-work", "");
  call.hides_files = true;
  const auto refused = tool.run(call, [](std::string_view) {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("(hide ignored files)"));
  call.hides_files = false;
  const auto ran = tool.run(call, [](std::string_view) {});
  ASSERT_TRUE(ran) << to_string(ran.error());
  EXPECT_EQ(ran->exit_code, 0);
}

}  // namespace
}  // namespace atlasflow::builder
