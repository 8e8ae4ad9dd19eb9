// What a build may take of this machine: each limit ends it with a sentence of its own, and nothing
// of it is left. What a build may reach is in isolation_test.cpp. As root.
#include <chrono>

#include "tests/builder/image_builder_fixture.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::steady_clock;
using ::testing::HasSubstr;

class Limits : public ImageBuilderTest {
 protected:
  // What the machine has for it is found out by the probe.
  void SetUp() override {}

  // Of one step, over busybox; the limits are the fixture's or start()'s.
  Error refused(const std::string& step, std::chrono::milliseconds deadline = k_deadline) {
    if (builder_ == nullptr) start({});
    if (!std::filesystem::exists(folder("app"))) put_busybox("app");
    write(folder("app") / "Dockerfile", busybox_dockerfile(step));
    auto asked = request("b-" + std::to_string(++count_), "app");
    asked.deadline = deadline;
    const auto built = builder_->build(asked, {});
    EXPECT_FALSE(built) << step;
    expect_nothing_left(asked.build_id);
    return built ? Error{} : built.error();
  }
  std::string last_log() { return log("b-" + std::to_string(count_)); }
  bool has_cgroup() { return builder_->isolation().find("without cgroup") == std::string::npos; }

 private:
  int count_ = 0;
};

TEST_F(Limits, a_fork_bomb_is_ended_when_it_has_as_many_processes_as_it_may) {
  start_tried({});
  if (!has_cgroup()) GTEST_SKIP() << "this machine has no writable cgroup";
  const auto started = steady_clock::now();
  const auto error = refused("RUN b() { b | b & }; b; sleep 1000\n");
  EXPECT_EQ(error.code, ErrorCode::user_error);
  EXPECT_EQ(error.message,
            "the build started more processes than it may have at the same time: 4096");
  EXPECT_LT(steady_clock::now() - started, std::chrono::seconds(60));
}

TEST_F(Limits, memory_is_limited_wherever_it_is_taken) {
  start_tried({.state_dir = {}, .log_dir = {}, .memory_limit_mib = 128});
  if (!has_cgroup()) GTEST_SKIP() << "this machine has no writable cgroup";
  for (const char* step :
       {"RUN dd if=/dev/zero of=/dev/null bs=8G count=1\n",
        "RUN --mount=type=tmpfs,target=/t dd if=/dev/zero of=/t/x bs=1M count=8192\n"}) {
    const auto error = refused(step);
    EXPECT_EQ(error.code, ErrorCode::user_error) << step;
    EXPECT_THAT(error.message, HasSubstr("ran out of memory: a build may use 128 MiB"))
        << step << last_log();
  }
}

TEST_F(Limits, a_flood_of_output_is_ended_and_its_log_is_cut_before) {
  const auto error = refused("RUN head -c 1073741824 /dev/zero | tr '\\0' 'x'; sleep 1000\n");
  EXPECT_EQ(error.code, ErrorCode::user_error);
  EXPECT_EQ(error.message, "the build printed more than it may: 256 MiB");
  EXPECT_THAT(last_log(), HasSubstr("the log was cut here: it is longer than 8 MiB"));
  EXPECT_THAT(last_log(), HasSubstr("Failed: the build printed more than it may"));
  EXPECT_LT(last_log().size(), 9U << 20U);
}

TEST_F(Limits, a_step_that_sleeps_for_ever_is_ended_by_the_deadline) {
  const auto error = refused("RUN trap '' TERM INT; sleep 1000000\n", std::chrono::seconds(4));
  EXPECT_EQ(error.code, ErrorCode::timed_out);
  EXPECT_EQ(error.message, "the build took longer than it may");
}

TEST_F(Limits, what_a_build_writes_is_limited_wherever_it_writes_it) {
  ImageBuilderConfig config;
  config.disk_limit_mib = 64;
  start(config);
  for (const char* step :
       {"RUN dd if=/dev/zero of=/big bs=1M count=500; sleep 100\n",
        "RUN --mount=type=cache,target=/m dd if=/dev/zero of=/m/big bs=1M count=500; sleep 100\n",
        // Without a name no walk over the folders finds it.
        "RUN exec 3>/big; rm /big; dd if=/dev/zero bs=1M count=500 >&3; sleep 100\n",
        "RUN --mount=type=bind,target=/ctx,rw dd if=/dev/zero of=/ctx/big bs=1M count=500; "
        "sleep 100\n"}) {
    const auto error = refused(step);
    EXPECT_EQ(error.code, ErrorCode::user_error) << step;
    EXPECT_THAT(error.message, HasSubstr("wrote more than it may: 64 MiB of disk"))
        << step << last_log();
  }
}

}  // namespace
}  // namespace atlasflow::builder
