#include "builder/image_builder.hpp"

#include <limits>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "builder/buildah.hpp"
#include "builder/cgroup.hpp"
#include "builder/file_descriptor.hpp"
#include "builder/process.hpp"
#include "builder/registry.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr milliseconds k_deadline{200'000};

class ImageBuilderTest : public ::testing::Test {
 protected:
  void SetUp() override { start({}); }

  void start(ImageBuilderConfig config) {
    builder_.reset();
    config.state_dir = scratch_.path() / "state";
    config.log_dir = scratch_.path() / "logs";
    auto made = make_buildah_builder(config);
    ASSERT_TRUE(made) << to_string(made.error());
    builder_ = std::move(*made);
  }

  std::filesystem::path folder(const std::string& name) { return scratch_.path() / "src" / name; }

  // A root file system of nothing but busybox.
  void put_busybox(const std::string& name) {
    std::filesystem::create_directories(folder(name));
    std::filesystem::copy_file(find_program("busybox"), folder(name) / "busybox");
  }

  static std::string busybox_dockerfile(const std::string& rest) {
    return "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", "
           "\"/bin\"]\n" +
           rest;
  }

  Result<BuiltImage> build(const std::string& id, const std::string& name,
                           std::vector<std::pair<std::string, std::string>> args = {}) {
    return builder_->build({id, folder(name), "app", std::move(args), k_deadline}, {});
  }

  std::string log(const std::string& id) {
    return read(scratch_.path() / "logs" / (id + ".build.log"));
  }

  // Processes of this machine whose command line holds `mark`, but this one.
  static std::vector<std::string> processes_with(const std::string& mark) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const std::string pid = entry.path().filename().string();
      if (pid.find_first_not_of("0123456789") != std::string::npos ||
          pid == std::to_string(::getpid())) {
        continue;
      }
      if (read(entry.path() / "cmdline").find(mark) != std::string::npos) found.push_back(pid);
    }
    return found;
  }

  void expect_nothing_left(const std::string& id) {
    EXPECT_THAT(builder_->leftovers(), IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "state" / "scratch" / id));
    for (const std::string& name : BuildCgroup::names(own_cgroups()))
      EXPECT_THAT(name, Not(HasSubstr(id)));
    EXPECT_THAT(read("/proc/self/mountinfo"), Not(HasSubstr(scratch_.path().string())));
    EXPECT_THAT(read(scratch_.path() / "state/storage/overlay-containers/containers.json"),
                testing::AnyOf("[]", ""));
  }

  Scratch scratch_;
  std::unique_ptr<ImageBuilder> builder_;
};

TEST_F(ImageBuilderTest, a_dockerfile_with_its_usual_instructions_builds_and_leaves_nothing) {
  put_busybox("app");
  write(folder("app") / "kept.txt", "kept");
  write(folder("app") / "secret.txt", "secret");
  write(folder("app") / ".dockerignore", "secret.txt\n");
  write(folder("app") / "Dockerfile",
        "FROM scratch AS tools\nCOPY busybox /bin/busybox\n"
        "RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nRUN echo made > /made\n"
        "FROM tools\nARG GREETING=none\nENV WORD=$GREETING\nWORKDIR /app\nCOPY . .\n"
        "COPY --from=tools /made ./made\nRUN echo \"word=$WORD files=$(ls | tr '\\n' ' ') uid=$(id "
        "-u)\"\n"
        "RUN adduser -D -H joe 2>/dev/null || echo 'joe:x:1000:1000::/:/bin/sh' >> /etc/passwd\n"
        "USER 1000\nRUN echo \"now uid=$(id -u)\"\nEXPOSE 3000\n"
        "ENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"cat made\"]\n");
  const auto built = build("b-1", "app", {{"GREETING", "hello"}});
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_EQ(built->stack, "dockerfile");
  EXPECT_EQ(built->image_id.size(), 71U);
  EXPECT_THAT(log("b-1"), HasSubstr("-----> Building app (Dockerfile in the root folder)"));
  EXPECT_THAT(log("b-1"), HasSubstr("word=hello files=Dockerfile busybox kept.txt made  uid=0"));
  EXPECT_THAT(log("b-1"), HasSubstr("now uid=1000"));
  expect_nothing_left("b-1");
}

TEST_F(ImageBuilderTest, a_second_build_of_the_same_source_uses_the_cached_layers) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("CMD [\"true\"]\n"));
  const auto first = build("b-1", "app");
  ASSERT_TRUE(first) << to_string(first.error()) << log("b-1");
  const auto second = build("b-2", "app");
  ASSERT_TRUE(second) << to_string(second.error()) << log("b-2");
  EXPECT_THAT(log("b-2"), HasSubstr("Using cache"));
}

TEST_F(ImageBuilderTest, a_step_that_fails_is_the_users_and_tells_its_exit_code) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN echo before; exit 7\n"));
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::user_error) << to_string(built.error());
  EXPECT_EQ(built.error().message, "step 'RUN echo before; exit 7' failed with exit code 7");
  EXPECT_EQ(step_exit_code(built.error()), 7);
  EXPECT_THAT(log("b-1"), HasSubstr("before\n"));
  expect_nothing_left("b-1");
}

TEST_F(ImageBuilderTest, a_program_that_the_image_lacks_is_the_users_fault) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN [\"/no/such/program\"]\n"));
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::user_error) << to_string(built.error()) << log("b-1");
  EXPECT_EQ(step_exit_code(built.error()), 127);
}

TEST_F(ImageBuilderTest, a_dockerfile_that_does_not_parse_is_a_user_error) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", "FROM scratch\nCOPPY busybox /busybox\n");
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::user_error) << to_string(built.error());
  EXPECT_THAT(built.error().message, HasSubstr("COPPY"));
  EXPECT_EQ(step_exit_code(built.error()), std::nullopt);
  expect_nothing_left("b-1");
}

TEST_F(ImageBuilderTest, a_file_that_copy_lacks_is_a_user_error) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("COPY absent.txt /\n"));
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::user_error) << to_string(built.error());
  EXPECT_THAT(built.error().message, HasSubstr("absent.txt"));
}

TEST_F(ImageBuilderTest, a_stop_ends_every_process_of_the_build_and_leaves_nothing) {
  put_busybox("app");
  const std::string mark = "98765" + std::to_string(::getpid());
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("RUN (setsid sleep " + mark + " &); sleep " + mark + "\n"));
  std::stop_source stop;
  Result<BuiltImage> built = tl::unexpected(Error{});
  std::thread thread([&] {
    built = builder_->build({"b-1", folder("app"), "app", {}, k_deadline}, stop.get_token());
  });
  for (int i = 0; i < 600 && processes_with(mark).empty(); ++i) {
    std::this_thread::sleep_for(milliseconds(100));
  }
  EXPECT_THAT(processes_with(mark), Not(IsEmpty()));
  stop.request_stop();
  thread.join();
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::cancelled) << to_string(built.error());
  EXPECT_THAT(processes_with(mark), IsEmpty());
  expect_nothing_left("b-1");
}

TEST_F(ImageBuilderTest, a_deadline_ends_the_build_and_leaves_nothing) {
  put_busybox("app");
  const std::string mark = "87654" + std::to_string(::getpid());
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN sleep " + mark + "\n"));
  const auto built = builder_->build({"b-1", folder("app"), "app", {}, seconds(5)}, {});
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::timed_out) << to_string(built.error());
  EXPECT_THAT(processes_with(mark), IsEmpty());
  expect_nothing_left("b-1");
}

// A TCP listener on a port of the host.
class Listener {
 public:
  explicit Listener(in_addr_t address)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_in name{};
    name.sin_family = AF_INET;
    name.sin_addr.s_addr = htonl(address);
    socklen_t size = sizeof name;
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
    EXPECT_EQ(::listen(fd_.get(), 8), 0);
    ::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&name), &size);
    port_ = ntohs(name.sin_port);
  }
  [[nodiscard]] std::string port() const { return std::to_string(port_); }
  [[nodiscard]] bool was_reached() const {
    const FileDescriptor peer(::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return peer.valid();
  }

 private:
  FileDescriptor fd_;
  std::uint16_t port_ = 0;
};

TEST_F(ImageBuilderTest, a_run_step_cannot_reach_the_loopback_of_the_host) {
  const Listener listener(INADDR_LOOPBACK);
  put_busybox("app");
  // 10.0.2.2 is slirp's name for the host.
  write(folder("app") / "Dockerfile",
        busybox_dockerfile(
            "RUN for a in 127.0.0.1 10.0.2.2; do if timeout 5 nc -w 2 $a " + listener.port() +
            " </dev/null; then echo reached $a; else echo refused $a; fi; done; ip addr\n"));
  const auto built = build("b-1", "app");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_FALSE(listener.was_reached());
  EXPECT_THAT(log("b-1"), HasSubstr("refused 127.0.0.1\n"));
  EXPECT_THAT(log("b-1"), HasSubstr("refused 10.0.2.2\n"));
  EXPECT_THAT(log("b-1"), HasSubstr("LOOPBACK,UP"));
}

TEST_F(ImageBuilderTest, a_run_step_sees_no_process_no_secret_and_no_user_of_the_host) {
  ::setenv("ATLASFLOW_TEST_SECRET", "do-not-tell", 1);
  put_busybox("app");
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("RUN mkdir -p /x && env && ps && cat /proc/self/uid_map && "
                           "tr '\\0' '\\n' < /proc/1/environ\n"));
  const auto built = build("b-1", "app");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_THAT(log("b-1"), Not(HasSubstr("do-not-tell")));
  EXPECT_THAT(log("b-1"), Not(HasSubstr("builder_build_test")));
  if (builder_->isolation().starts_with("oci+userns")) {
    EXPECT_THAT(log("b-1"), HasSubstr("200000"));
  }
}

TEST_F(ImageBuilderTest, a_step_that_takes_too_much_memory_is_the_users_fault) {
  start({.state_dir = {}, .log_dir = {}, .memory_limit_mib = 128});
  if (builder_->isolation().find("without cgroup") != std::string::npos) {
    GTEST_SKIP() << "this machine has no writable cgroup";
  }
  put_busybox("app");
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("RUN dd if=/dev/zero of=/dev/null bs=400M count=1\n"));
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::user_error);
  EXPECT_THAT(built.error().message, HasSubstr("ran out of memory: a build may use 128 MiB"))
      << log("b-1");
  expect_nothing_left("b-1");
}

TEST_F(ImageBuilderTest, a_base_image_that_is_nowhere_is_told_by_name) {
  write(folder("app") / "Dockerfile", "FROM localhost/atlasflow-base/absent:1\n");
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_THAT(built.error().message, HasSubstr("localhost/atlasflow-base/absent:1"));
}

TEST_F(ImageBuilderTest, a_short_name_finds_the_image_of_docker_hub_in_the_store) {
  put_busybox("base");
  write(folder("base") / "Dockerfile", busybox_dockerfile("CMD [\"true\"]\n"));
  ASSERT_TRUE(build("base", "base")) << log("base");
  // As script/base-images names what it makes.
  auto buildah =
      Buildah::make({scratch_.path() / "state" / "storage", {"oci+userns", "oci", true}});
  ASSERT_TRUE(buildah) << to_string(buildah.error());
  Buildah::Call call;
  call.arguments = {"tag", "localhost/atlasflow/app:base",
                    "docker.io/library/debian:bookworm-slim"};
  call.scratch = scratch_.path() / "tag";
  ASSERT_TRUE(buildah->own(call.scratch));
  const auto tagged = buildah->run(call, [](std::string_view) {});
  ASSERT_TRUE(tagged && tagged->exit_code == 0);
  write(folder("app") / "Dockerfile", "FROM debian:bookworm-slim\nRUN echo ran\n");
  const auto built = build("b-1", "app");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_THAT(log("b-1"), HasSubstr("ran\n"));
}

TEST_F(ImageBuilderTest, an_image_of_another_project_is_no_base) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("CMD [\"true\"]\n"));
  ASSERT_TRUE(build("b-1", "app"));
  for (const std::string name : {"localhost/atlasflow/app:b-1", "atlasflow/app:b-1"}) {
    write(folder("thief") / "Dockerfile", "FROM " + name + "\n");
    const auto built = build("b-2", "thief");
    ASSERT_FALSE(built);
    EXPECT_THAT(built.error().message, HasSubstr("may not start from"));
  }
}

TEST_F(ImageBuilderTest, a_static_site_builds_on_the_configured_base) {
  put_busybox("base");
  write(folder("base") / "Dockerfile", busybox_dockerfile("RUN mkdir -p /etc /srv\n"));
  ASSERT_TRUE(build("base", "base")) << log("base");
  ImageBuilderConfig config;
  config.static_bases = {"docker.io/library/busybox:1.36", "localhost/atlasflow/app:base"};
  start(config);
  write(folder("site") / "index.html", "<h1>hello</h1>");
  const auto built = build("b-1", "site");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_EQ(built->stack, "static");
  EXPECT_THAT(log("b-1"), HasSubstr("index.html in the root folder"));
  EXPECT_THAT(log("b-1"), HasSubstr("from localhost/atlasflow/app:base"));
}

TEST_F(ImageBuilderTest, what_a_killed_server_left_is_found_and_reaped) {
  put_busybox("app");
  const std::string mark = "76543" + std::to_string(::getpid());
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN sleep " + mark + "\n"));
  builder_.reset();
  const pid_t server = ::fork();
  if (server == 0) {
    ImageBuilderConfig config;
    config.state_dir = scratch_.path() / "state";
    config.log_dir = scratch_.path() / "logs";
    auto made = make_buildah_builder(config);
    if (made) {
      [[maybe_unused]] const auto built =
          (*made)->build({"b-1", folder("app"), "app", {}, k_deadline}, {});
    }
    ::_exit(0);
  }
  for (int i = 0; i < 600 && processes_with(mark).empty(); ++i) {
    std::this_thread::sleep_for(milliseconds(100));
  }
  ASSERT_THAT(processes_with(mark), Not(IsEmpty()));
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
  for (int i = 0; i < 100 && !processes_with(mark).empty(); ++i)
    std::this_thread::sleep_for(milliseconds(100));
  EXPECT_THAT(processes_with(mark), IsEmpty());  // The kernel ends them with their server.
  start({});
  EXPECT_THAT(builder_->leftovers(), testing::ElementsAre("b-1"));
  builder_->reap("b-1");
  expect_nothing_left("b-1");
  builder_->reap("b-1");
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN echo again\n"));
  const auto again = build("b-1", "app");
  EXPECT_TRUE(again) << to_string(again.error());
}

TEST_F(ImageBuilderTest, a_push_gives_the_digest_and_a_second_push_gives_the_same) {
  auto registry = start_registry({scratch_.path() / "registry", 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("CMD [\"true\"]\n"));
  const auto built = build("b-1", "app");
  ASSERT_TRUE(built) << to_string(built.error());
  const auto pushed = builder_->push(built->image_id, (*registry)->address(), "app", {});
  ASSERT_TRUE(pushed) << to_string(pushed.error());
  EXPECT_EQ(pushed->reference, (*registry)->address() + "/app@" + pushed->digest);
  EXPECT_GT(pushed->size_bytes, 500'000U);
  EXPECT_LT(pushed->size_bytes, 10'000'000U);
  const auto again = builder_->push(built->image_id, (*registry)->address(), "app", {});
  ASSERT_TRUE(again) << to_string(again.error());
  EXPECT_EQ(again->digest, pushed->digest);
  EXPECT_THAT(builder_->leftovers(), IsEmpty());
}

TEST_F(ImageBuilderTest, an_image_that_is_not_there_cannot_be_pushed) {
  const auto pushed = builder_->push("sha256:" + std::string(64, 'a'), "127.0.0.1:1", "app", {});
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().code, ErrorCode::not_found) << to_string(pushed.error());
}

TEST_F(ImageBuilderTest, two_builds_at_once_do_not_disturb_each_other) {
  put_busybox("one");
  put_busybox("two");
  write(folder("one") / "Dockerfile", busybox_dockerfile("RUN echo first > /x\n"));
  write(folder("two") / "Dockerfile", busybox_dockerfile("RUN echo second > /x; exit 3\n"));
  Result<BuiltImage> one = tl::unexpected(Error{});
  std::thread thread([&] { one = build("b-1", "one"); });
  const auto two = build("b-2", "two");
  thread.join();
  EXPECT_TRUE(one) << to_string(one.error()) << log("b-1");
  ASSERT_FALSE(two);
  EXPECT_EQ(step_exit_code(two.error()), 3) << to_string(two.error());
  expect_nothing_left("b-1");
}

TEST_F(ImageBuilderTest, a_second_server_over_the_same_folder_is_refused) {
  const auto second = make_buildah_builder(
      {.state_dir = scratch_.path() / "state", .log_dir = scratch_.path() / "logs"});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::conflict);
}

// ---- collecting ----

class Collecting : public ImageBuilderTest {
 protected:
  static constexpr std::uint64_t k_any_size = std::numeric_limits<std::uint64_t>::max();

  void SetUp() override {
    ImageBuilderTest::SetUp();
    put_busybox("app");
  }
  // Each with a layer of its own upon a common one.
  std::string built(const std::string& id, const std::string& content) {
    write(folder("app") / "content", content);
    write(folder("app") / "Dockerfile",
          busybox_dockerfile("COPY content /content\nENV A=1\nCMD [\"true\"]\n"));
    const auto image = build(id, "app");
    EXPECT_TRUE(image) << to_string(image.error()) << log(id);
    return image ? image->image_id : "";
  }
  Result<std::vector<std::string>> collect(StoreKeep keep, std::uint64_t bytes_max = k_any_size) {
    return builder_->collect([keep]() -> Result<StoreKeep> { return keep; }, bytes_max, {});
  }
  // What the store itself says.
  std::vector<Buildah::Image> images() const {
    const auto buildah =
        Buildah::make({scratch_.path() / "state/storage", {"oci+userns", "oci", true}});
    EXPECT_TRUE(buildah);
    return buildah ? buildah->images() : std::vector<Buildah::Image>{};
  }
  std::vector<std::string> named() const {
    std::vector<std::string> names;
    for (const auto& image : images()) {
      names.insert(names.end(), image.names.begin(), image.names.end());
    }
    return names;
  }
};

TEST_F(Collecting, removes_images_of_ours_that_are_not_kept_and_no_others) {
  const auto kept = built("aaaaaaaa-v4", "one");
  ASSERT_NE(built("bbbbbbbb-v4", "two"), "");
  ASSERT_NE(built("cccccccc-v4", "three"), "");
  ASSERT_NE(built("cccccccc-v9", "three"), "");
  // As script/base-images or a pull would name it: an image of a foreign name.
  const auto buildah =
      Buildah::make({scratch_.path() / "state/storage", {"oci+userns", "oci", true}});
  ASSERT_TRUE(buildah);
  Buildah::Call call;
  call.arguments = {"tag", "localhost/atlasflow/app:bbbbbbbb-v4", "docker.io/library/debian:12",
                    "localhost/atlasflow-base/node:18"};
  call.scratch = scratch_.path() / "state/scratch/push.test";
  ASSERT_TRUE(buildah->own(call.scratch));
  const auto tagged = buildah->run(call, [](std::string_view) {});
  ASSERT_TRUE(tagged && tagged->exit_code == 0);

  // cccccccc is still at it: what it built has no id in the log yet.
  const auto removed = collect({{kept}, {"cccccccc"}});
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(named(), testing::UnorderedElementsAre("localhost/atlasflow/app:aaaaaaaa-v4",
                                                     "docker.io/library/debian:12",
                                                     "localhost/atlasflow-base/node:18",
                                                     "localhost/atlasflow/app:cccccccc-v4",
                                                     "localhost/atlasflow/app:cccccccc-v9"));
  ASSERT_TRUE(collect({{kept}, {}}));
  EXPECT_THAT(named(), testing::UnorderedElementsAre("localhost/atlasflow/app:aaaaaaaa-v4",
                                                     "docker.io/library/debian:12",
                                                     "localhost/atlasflow-base/node:18"));
  EXPECT_NE(built("dddddddd-v4", "one"), "");  // the store is in order
}

TEST_F(Collecting, shrinks_the_build_cache_when_it_is_too_large_and_leaves_what_is_kept) {
  const auto kept = built("aaaaaaaa-v4", "one");
  // A stage that no image is built upon is nothing but cache.
  write(folder("app") / "Dockerfile",
        "FROM scratch AS tools\nCOPY busybox /bin/busybox\nCOPY content /tools\n"
        "FROM scratch\nCOPY --from=tools /bin/busybox /bin/sh\nCMD [\"true\"]\n");
  const auto staged = build("bbbbbbbb-v4", "app");
  ASSERT_TRUE(staged) << log("bbbbbbbb-v4");
  ASSERT_TRUE(collect({{kept}, {}}));
  const auto before = images().size();
  ASSERT_TRUE(collect({{kept}, {}}, k_any_size));
  EXPECT_EQ(images().size(), before);  // within its bounds it stays
  const auto removed = collect({{kept}, {}}, 0);
  ASSERT_TRUE(removed);
  EXPECT_THAT(*removed, testing::Contains(HasSubstr("layers ")));
  EXPECT_LT(images().size(), before);
  EXPECT_THAT(named(), testing::ElementsAre("localhost/atlasflow/app:aaaaaaaa-v4"));
  // What is kept can still be pushed whole.
  auto registry = start_registry({scratch_.path() / "registry", 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  EXPECT_TRUE(builder_->push(kept, (*registry)->address(), "app", {}));
}

TEST_F(Collecting, waits_for_a_build_and_then_gives_up_with_nothing_touched) {
  ASSERT_NE(built("aaaaaaaa-v4", "one"), "");
  write(folder("slow") / "Dockerfile", busybox_dockerfile("RUN sleep 100\n"));
  put_busybox("slow");
  std::stop_source stop;
  std::jthread building([&] {
    EXPECT_FALSE(
        builder_->build({"bbbbbbbb-v4", folder("slow"), "app", {}, k_deadline}, stop.get_token()));
  });
  while (log("bbbbbbbb-v4").empty()) std::this_thread::sleep_for(milliseconds(10));
  const auto refused = builder_->collect(
      []() -> Result<StoreKeep> {
        ADD_FAILURE() << "asked while a build runs";
        return StoreKeep{};
      },
      0, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  EXPECT_THAT(named(), testing::Contains("localhost/atlasflow/app:aaaaaaaa-v4"));
  stop.request_stop();
}

TEST_F(Collecting, without_knowing_what_to_keep_removes_nothing) {
  ASSERT_NE(built("aaaaaaaa-v4", "one"), "");
  const auto refused = builder_->collect(
      []() -> Result<StoreKeep> { return fail(ErrorCode::unavailable, "behind the log"); }, 0, {});
  EXPECT_FALSE(refused);
  EXPECT_THAT(named(), testing::Contains("localhost/atlasflow/app:aaaaaaaa-v4"));
}

}  // namespace
}  // namespace atlasflow::builder
