// Secrets of real builds: a step that mounts one reads it, and nothing that a build makes, says or
// leaves has its value.
#include <thread>

#include <sys/wait.h>

#include "tests/builder/image_builder_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

// In two halves, so that no program's text has it whole.
const std::string k_sentinel = std::string("s3ntinel-") + "value-0b9d7f";
const std::string k_digest = "0123456789ab";

class BuildSecrets : public ImageBuilderTest {
 protected:
  void SetUp() override {
    ImageBuilderTest::SetUp();
    put_busybox("app");
  }

  void write_steps(const std::string& steps) {
    write(folder("app") / "Dockerfile", busybox_dockerfile(steps));
  }
  BuildRequest with_token(const std::string& id, const std::string& value = k_sentinel,
                          const std::string& digest = k_digest) {
    auto made = request(id, "app");
    made.secrets.push_back({"TOKEN", digest, Secret(value)});
    return made;
  }
  Result<BuiltImage> build_with_token(const std::string& id, const std::string& value = k_sentinel,
                                      const std::string& digest = k_digest) {
    return builder_->build(with_token(id, value, digest), {});
  }

  // Files below the folder that have the text in their name or content; links are not followed.
  static std::vector<std::string> files_with(const std::filesystem::path& folder,
                                             const std::string& text) {
    std::vector<std::string> found;
    std::error_code error;
    constexpr auto k_options = std::filesystem::directory_options::skip_permission_denied;
    for (std::filesystem::recursive_directory_iterator i(folder, k_options, error), end;
         !error && i != end; i.increment(error)) {
      const bool is_file = i->is_regular_file(error) && !i->is_symlink(error);
      if (i->path().string().find(text) != std::string::npos ||
          (is_file && read(i->path()).find(text) != std::string::npos)) {
        found.push_back(i->path().string());
      }
    }
    return found;
  }
  // Of any process, but this one, which knows it: in its arguments or its environment.
  static std::vector<std::string> processes_that_tell(const std::string& text) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename().string();
      if (pid.find_first_not_of("0123456789") != std::string::npos ||
          pid == std::to_string(::getpid())) {
        continue;
      }
      for (const char* file : {"cmdline", "environ"}) {
        if (read(entry.path() / file).find(text) != std::string::npos) found.push_back(pid);
      }
    }
    return found;
  }
  void wait_for(const std::string& build_id, const std::string& words) {
    for (int i = 0; i < 600 && log(build_id).find(words) == std::string::npos; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    ASSERT_THAT(log(build_id), HasSubstr(words));
  }
};

// What the steps print says how long it is, and does not repeat it.
TEST_F(BuildSecrets, a_step_reads_what_it_mounts_and_nothing_that_is_left_has_it) {
  write_steps(
      "RUN --mount=type=secret,id=TOKEN wc -c < /run/secrets/TOKEN; ls -ln /run/secrets\n"
      "RUN --mount=type=secret,id=TOKEN,target=/root/t,mode=0440,uid=7 ls -ln /root/t; sleep 3\n"
      "RUN test ! -s /run/secrets/TOKEN && echo \"not here\"\n");
  Result<BuiltImage> built = tl::unexpected(Error{});
  std::thread thread([&] { built = build_with_token("b-1"); });
  wait_for("b-1", "/root/t\n");
  EXPECT_THAT(processes_that_tell("/mnt/secrets/"), Not(IsEmpty())) << "the look sees the build";
  EXPECT_THAT(processes_that_tell(k_sentinel), IsEmpty());
  thread.join();
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_THAT(log("b-1"), HasSubstr("\n" + std::to_string(k_sentinel.size()) + "\n"));
  EXPECT_THAT(log("b-1"), HasSubstr("-r--------    1 0        0"));
  EXPECT_THAT(log("b-1"), HasSubstr("-r--r-----    1 7        0"));
  EXPECT_THAT(log("b-1"), HasSubstr("not here"));
  ASSERT_EQ(built->secrets.size(), 1U);
  EXPECT_EQ(built->secrets[0].name, "TOKEN");
  EXPECT_EQ(built->secrets[0].digest, k_digest);
  // All there is: layers, the image's history and configuration, logs, what scratch has.
  EXPECT_THAT(files_with(scratch_.path(), k_sentinel), IsEmpty());
  EXPECT_THAT(files_with(scratch_.path(), "id=TOKEN." + k_digest), Not(IsEmpty()))
      << "the look sees the image's history";
  expect_nothing_left("b-1");
}

TEST_F(BuildSecrets, a_step_that_does_not_mount_it_is_not_given_it) {
  write_steps("RUN ls /run/secrets 2>&1; find / -name 'TOKEN*' 2>/dev/null; echo done\n");
  const auto built = build_with_token("b-1");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_THAT(built->secrets, IsEmpty());
  EXPECT_THAT(log("b-1"), AllOf(HasSubstr("done"), Not(HasSubstr("\nTOKEN"))));
}

TEST_F(BuildSecrets, another_value_runs_the_steps_that_mount_it_again_and_no_others) {
  write_steps(
      "RUN echo \"plain $(cat /proc/sys/kernel/random/uuid)\"\n"
      "RUN --mount=type=secret,id=TOKEN echo \"mounting $(wc -c < /run/secrets/TOKEN)\"\n");
  const auto first = build_with_token("b-1");
  ASSERT_TRUE(first) << to_string(first.error()) << log("b-1");
  EXPECT_THAT(log("b-1"), AllOf(HasSubstr("\nplain "), HasSubstr("\nmounting ")));
  const auto same = build_with_token("b-2");
  ASSERT_TRUE(same) << to_string(same.error()) << log("b-2");
  EXPECT_THAT(log("b-2"), AllOf(HasSubstr("Using cache"), Not(HasSubstr("\nmounting "))));
  EXPECT_EQ(same->image_id, first->image_id);
  const auto other = build_with_token("b-3", "another-value", "ba9876543210");
  ASSERT_TRUE(other) << to_string(other.error()) << log("b-3");
  EXPECT_THAT(log("b-3"), AllOf(HasSubstr("\nmounting 13\n"), Not(HasSubstr("\nplain "))));
  EXPECT_NE(other->image_id, first->image_id);
}

TEST_F(BuildSecrets, what_a_step_prints_of_a_value_is_hidden_also_in_pieces_and_in_base64) {
  write_steps(
      "RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN; echo; "
      "base64 /run/secrets/TOKEN; head -c 9 /run/secrets/TOKEN; sleep 1; tail -c +10 "
      "/run/secrets/TOKEN; echo; echo \"and a-variable-of-the-app\"; false\n");
  auto asked = with_token("b-1");
  asked.hidden.emplace_back("a-variable-of-the-app");
  const auto built = builder_->build(asked, {});
  ASSERT_FALSE(built);
  EXPECT_EQ(step_exit_code(built.error()), 1) << to_string(built.error());
  EXPECT_THAT(log("b-1"), HasSubstr("\n***\n***"));
  EXPECT_THAT(log("b-1"), HasSubstr("\nand ***\n"));
  for (const std::string& told : {log("b-1"), to_string(built.error())}) {
    EXPECT_THAT(told, Not(HasSubstr(k_sentinel.substr(0, 9)))) << "by halves";
    EXPECT_THAT(told, Not(HasSubstr("czNudGluZWwt"))) << "in Base64";
    EXPECT_THAT(told, Not(HasSubstr("a-variable")));
  }
  EXPECT_THAT(files_with(scratch_.path() / "logs", k_sentinel), IsEmpty());
}

// A value may stand in the Dockerfile as well, and what is told of the step names its line.
TEST_F(BuildSecrets, an_error_that_quotes_a_step_hides_the_value_and_names_the_line) {
  write_steps("RUN echo a-variable-of-the-app && false\n");
  auto asked = request("b-1", "app");
  asked.hidden.emplace_back("a-variable-of-the-app");
  const auto built = builder_->build(asked, {});
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().message,
            "Dockerfile, line 4: step 'RUN echo *** && false' failed with exit code 1");
}

TEST_F(BuildSecrets,
       what_the_step_requires_and_the_project_has_not_is_refused_before_anything_runs) {
  write_steps("RUN --mount=type=secret,id=NPM,required x\n");
  const auto built = build_with_token("b-1");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::user_error);
  EXPECT_THAT(built.error().message,
              AllOf(HasSubstr("Dockerfile, line 4: "),
                    HasSubstr("'atlasflow build-secret set app NPM < FILE'")));
  EXPECT_THAT(log("b-1"), Not(HasSubstr("STEP")));
}

TEST_F(BuildSecrets, a_mount_of_what_the_project_has_not_is_left_out_as_docker_does_and_told) {
  write_steps("RUN --mount=type=secret,id=NPM test ! -e /run/secrets/NPM && echo absent\n");
  const auto built = build_with_token("b-1");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_THAT(log("b-1"), HasSubstr("\nabsent"));
  EXPECT_THAT(log("b-1"), HasSubstr("Dockerfile, line 4: there is no build secret 'NPM'"));
}

TEST_F(BuildSecrets, a_value_of_many_lines_and_bytes_arrives_as_it_is) {
  std::string key;
  for (int i = 0; i < 2000; ++i) key += "line " + std::to_string(i) + " \xC3\xA9\n";
  write_steps(
      "RUN --mount=type=secret,id=TOKEN md5sum < /run/secrets/TOKEN; "
      "wc -c < /run/secrets/TOKEN; wc -l < /run/secrets/TOKEN\n");
  const auto built = build_with_token("b-1", key);
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_THAT(log("b-1"), HasSubstr("\n" + std::to_string(key.size()) + "\n2000\n"));
}

// The files are where buildah is, and a repository's links lead nowhere but into the repository.
TEST_F(BuildSecrets, no_link_and_no_mount_leads_from_a_step_or_a_copy_to_the_file_of_a_secret) {
  std::filesystem::create_symlink("/mnt/secrets", folder("app") / "evil");
  std::filesystem::create_symlink("../secrets/0", folder("app") / "near");
  int number = 0;
  for (const std::string way :
       {"COPY evil/0 /x\n", "COPY evil /x\n", "ADD near /x\n", "RUN cat /mnt/secrets/0 > /x\n",
        "RUN --mount=type=bind,source=evil,target=/y cat /y/0 > /x\n",
        "RUN --mount=type=bind,source=/../secrets,target=/y cat /y/0 > /x\n"}) {
    write_steps("RUN --mount=type=secret,id=TOKEN wc -c < /run/secrets/TOKEN\n" + way);
    const auto id = "b-" + std::to_string(++number);
    const auto built = build_with_token(id);
    EXPECT_THAT(log(id), HasSubstr("RUN --mount=type=secret")) << "it was there";
    EXPECT_THAT(files_with(scratch_.path(), k_sentinel), IsEmpty())
        << way << (built ? "built" : to_string(built.error()));
  }
}

// buildah has a copy of its own for each step, on the disk, as long as its container is there.
TEST_F(BuildSecrets, a_server_that_is_killed_leaves_none_once_the_next_has_started) {
  const std::string mark = "86543" + std::to_string(::getpid());
  write_steps("RUN --mount=type=secret,id=TOKEN wc -c < /run/secrets/TOKEN; sleep " + mark + "\n");
  builder_.reset();
  const pid_t server = ::fork();
  if (server == 0) {
    ImageBuilderConfig config;
    config.state_dir = scratch_.path() / "state";
    config.log_dir = scratch_.path() / "logs";
    auto made = make_buildah_builder(config);
    if (made) {
      [[maybe_unused]] const auto built = (*made)->build(with_token("b-1"), {});
    }
    ::_exit(0);
  }
  for (int i = 0; i < 600 && processes_with(mark).empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ASSERT_THAT(processes_with(mark), Not(IsEmpty()));
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
  for (int i = 0; i < 100 && !processes_with(mark).empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_THAT(files_with(scratch_.path(), k_sentinel), Not(IsEmpty()))
      << "else this proves nothing";
  start({});
  EXPECT_THAT(files_with(scratch_.path(), k_sentinel), IsEmpty());
  builder_->reap("b-1");
  expect_nothing_left("b-1");
}

}  // namespace
}  // namespace atlasflow::builder
