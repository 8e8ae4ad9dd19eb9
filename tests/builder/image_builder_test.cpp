#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>

#include "base/cgroup.hpp"
#include "base/file_descriptor.hpp"
#include "base/process.hpp"
#include "builder/image/buildah.hpp"
#include "builder/registry/registry.hpp"
#include "tests/builder/image_builder_fixture.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

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

TEST_F(ImageBuilderTest, a_store_of_its_own_takes_no_layer_of_the_projects_and_is_named_to_nobody) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN echo ran\n"));
  ASSERT_TRUE(build("b-1", "app"));
  auto asked = request("b-2", "app");
  asked.store = "app.forks.7";
  const auto image = builder_->build(asked, {});
  ASSERT_TRUE(image) << to_string(image.error()) << log("b-2");
  EXPECT_THAT(log("b-2"), Not(HasSubstr("Using cache")));
  EXPECT_THAT(log("b-2"), HasSubstr("Building app ("));
  EXPECT_EQ(store("app.forks.7").images().size(), store("app").images().size());
}

// What an earlier build has made of the very same is taken: nothing runs, and it is quick.
TEST_F(ImageBuilderTest, what_would_come_out_the_same_is_not_built_again) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("ARG A\nRUN echo \"ran $A\"\n"));
  write(folder("app") / "other.Dockerfile", busybox_dockerfile("RUN echo other\n"));
  int builds = 0;
  std::vector<pb::EarlierBuild> earlier;
  put_busybox("app/sub");
  write(folder("app/sub") / "Dockerfile", read(folder("app") / "Dockerfile"));
  const auto built = [&](const auto& change) {
    auto asked = request("b-" + std::to_string(++builds), "app", {{"A", "1"}});
    asked.source = "tree-1";
    asked.earlier = earlier;
    change(asked);
    const auto image = builder_->build(asked, {});
    EXPECT_TRUE(image) << to_string(image.error()) << log(asked.build_id);
    return *image;
  };
  const auto first = built([](auto&) {});
  EXPECT_EQ(first.inputs.size(), 64U);
  EXPECT_EQ(first.reused_from, "");
  auto& offer = earlier.emplace_back();
  offer.set_deployment("dfirst22");
  offer.set_inputs(first.inputs);
  offer.set_image_id(first.image_id);

  const auto started = std::chrono::steady_clock::now();
  const auto again = built([](auto&) {});
  const auto took = std::chrono::steady_clock::now() - started;
  RecordProperty("reuse_ms", std::to_string(took / milliseconds(1)));
  EXPECT_LT(took, seconds(2)) << "100 ms on a machine of its own";
  EXPECT_EQ(again.reused_from, "dfirst22");
  EXPECT_EQ(again.image_id, first.image_id);
  EXPECT_THAT(again.reuse_reason, HasSubstr("are those of deployment dfirst22"));
  EXPECT_THAT(log("b-2"), HasSubstr("Nothing is built: "));
  EXPECT_THAT(log("b-2"), Not(HasSubstr("STEP ")));
  EXPECT_EQ(again.stack_reason, first.stack_reason);

  using Change = void (*)(BuildRequest&);
  for (const Change change : std::initializer_list<Change>{
           [](BuildRequest& asked) { asked.source = "tree-2"; },
           [](BuildRequest& asked) { asked.source = ""; },
           [](BuildRequest& asked) {
             asked.build_args = {{"A", "2"}};
           },
           [](BuildRequest& asked) {
             asked.build_args = {{"A1", ""}};
           },
           [](BuildRequest& asked) { asked.dockerfile = "other.Dockerfile"; },
           [](BuildRequest& asked) { asked.root_folder = "sub"; },
           [](BuildRequest& asked) { asked.build_target = "0"; },
           [](BuildRequest& asked) { asked.start_command = "true"; },
           [](BuildRequest& asked) { asked.no_cache = true; }}) {
    EXPECT_EQ(built(change).reused_from, "") << builds;
  }
  // Of the same files by their name: that the ignore file counts, too.
  write(folder("app") / ".dockerignore", "*.md\n");
  EXPECT_EQ(built([](auto&) {}).reused_from, "");
  std::filesystem::remove(folder("app") / ".dockerignore");
  EXPECT_EQ(built([](auto&) {}).reused_from, "dfirst22");
  // Its image has gone.
  run_buildah(store(), {"rmi", "--force", first.image_id.substr(7)});
  EXPECT_EQ(built([](auto&) {}).reused_from, "");
}

// A tag that moved counts as soon as the image that builds start from is another one.
TEST_F(ImageBuilderTest, another_image_under_the_name_of_the_base_is_another_build) {
  const std::string base = "localhost/atlasflow-base/moving:1";
  put_base(base, busybox_dockerfile("ENV V=1\n"));
  write(folder("app") / "Dockerfile", "FROM " + base + "\nRUN echo v=$V\n");
  const auto inputs = [&](const std::string& id) {
    auto asked = request(id, "app");
    asked.source = "tree-1";
    const auto image = builder_->build(asked, {});
    EXPECT_TRUE(image) << log(id);
    return image->inputs;
  };
  const auto first = inputs("b-1");
  EXPECT_EQ(inputs("b-2"), first);
  put_base(base, busybox_dockerfile("ENV V=2\n"));
  EXPECT_NE(inputs("b-3"), first);
  EXPECT_THAT(log("b-3"), HasSubstr("v=2"));
}

TEST_F(ImageBuilderTest, a_build_without_the_cache_runs_every_step_again) {
  put_busybox("app");
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("RUN echo \"made=$(cat /proc/sys/kernel/random/uuid)\"\n"));
  const auto first = build("b-1", "app");
  ASSERT_TRUE(first) << to_string(first.error()) << log("b-1");
  auto anew = request("b-2", "app");
  anew.no_cache = true;
  const auto second = builder_->build(anew, {});
  ASSERT_TRUE(second) << to_string(second.error()) << log("b-2");
  EXPECT_THAT(log("b-2"), Not(HasSubstr("Using cache")));
  EXPECT_THAT(log("b-2"), HasSubstr("\nmade="));
  EXPECT_THAT(log("b-2"), HasSubstr("No layer of an earlier build is used (--no-cache)"));
  EXPECT_NE(second->image_id, first->image_id);
  // What it has made is what later builds find.
  const auto third = build("b-3", "app");
  ASSERT_TRUE(third) << to_string(third.error()) << log("b-3");
  EXPECT_EQ(third->image_id, second->image_id);
  EXPECT_THAT(log("b-3"), HasSubstr("Using cache"));
}

TEST_F(ImageBuilderTest, a_step_that_fails_is_the_users_and_tells_its_exit_code) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN echo before; exit 7\n"));
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::user_error) << to_string(built.error());
  EXPECT_EQ(built.error().message,
            "Dockerfile, line 4: step 'RUN echo before; exit 7' failed with exit code 7");
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
  std::thread thread([&] { built = builder_->build(request("b-1", "app"), stop.get_token()); });
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
  auto hasty = request("b-1", "app");
  hasty.deadline = seconds(5);
  const auto built = builder_->build(hasty, {});
  ASSERT_FALSE(built);
  EXPECT_EQ(built.error().code, ErrorCode::timed_out) << to_string(built.error());
  EXPECT_THAT(processes_with(mark), IsEmpty());
  expect_nothing_left("b-1");
}

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

TEST_F(ImageBuilderTest, a_base_image_that_is_nowhere_is_told_by_name) {
  write(folder("app") / "Dockerfile", "FROM localhost/atlasflow-base/absent:1\n");
  const auto built = build("b-1", "app");
  ASSERT_FALSE(built);
  EXPECT_THAT(built.error().message, HasSubstr("localhost/atlasflow-base/absent:1"));
}

TEST_F(ImageBuilderTest, a_short_name_finds_the_image_of_docker_hub_in_the_store) {
  put_base("docker.io/library/debian:bookworm-slim", busybox_dockerfile("CMD [\"true\"]\n"));
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

TEST_F(ImageBuilderTest, a_static_site_builds_without_any_base) {
  ImageBuilderConfig config;
  config.static_server = ATLASFLOW_STATIC_SERVER;
  start(config);
  write(folder("site") / "index.html", "<h1>hello</h1>");
  const auto built = build("b-1", "site");
  ASSERT_TRUE(built) << to_string(built.error()) << log("b-1");
  EXPECT_EQ(built->stack, "static");
  EXPECT_THAT(log("b-1"), HasSubstr("index.html in the root folder"));
  EXPECT_THAT(log("b-1"), HasSubstr("FROM scratch"));
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
      [[maybe_unused]] const auto built = (*made)->build(request("b-1", "app"), {});
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
  start_tried({});
  EXPECT_THAT(builder_->isolation(), testing::StartsWith("oci"));
  EXPECT_THAT(builder_->leftovers(), testing::ElementsAre("b-1"));
  builder_->reap("b-1");
  expect_nothing_left("b-1");
  builder_->reap("b-1");
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN echo again\n"));
  const auto again = build("b-1", "app");
  EXPECT_TRUE(again) << to_string(again.error());
}

TEST_F(ImageBuilderTest, an_image_that_a_kill_left_half_written_fails_no_build_and_goes) {
  put_busybox("app");
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN echo one\n"));
  const auto first = build("b-1", "app");
  ASSERT_TRUE(first) << to_string(first.error());
  // As buildah leaves it when it is killed right after it wrote the image's record.
  const auto images = store().storage() / "overlay-images";
  const auto id = first->image_id.substr(std::string("sha256:").size());
  const auto image = images / id;
  auto records = nlohmann::json::parse(read(images / "images.json"));
  for (auto& record : records) {
    if (record.at("id") != id) continue;
    for (const char* later :
         {"names", "digest", "big-data-names", "big-data-sizes", "big-data-digests"}) {
      record.erase(later);
    }
  }
  write(images / "images.json", records.dump());
  for (const auto& file : std::filesystem::directory_iterator(image)) {
    std::filesystem::remove(file.path());
  }

  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN echo two\n"));
  const auto second = build("b-2", "app");
  ASSERT_TRUE(second) << to_string(second.error());
  builder_.reset();
  start({});
  EXPECT_FALSE(std::filesystem::exists(image));
  write(folder("app") / "Dockerfile", busybox_dockerfile("RUN echo one\n"));
  const auto again = build("b-3", "app");
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

}  // namespace
}  // namespace atlasflow::builder
