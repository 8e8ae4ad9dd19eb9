// The real engines' own rules, over a builder and a registry that record what they are asked for.
#include "server/engines.hpp"

#include <atomic>
#include <chrono>
#include <limits>
#include <stop_token>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/deadline.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::server {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

struct RecordingBuilder final : builder::ImageBuilder {
  std::atomic<int> builds{0};
  std::atomic<bool> pushing{false};
  std::atomic<bool> hold_pushes{false};
  std::uint64_t cache_bytes_max = 1;
  builder::StoreKeep kept;
  std::optional<Error> collect_error;

  std::string isolation() const override { return "none"; }
  std::string toolchain() const override { return "buildah 1, crun 1"; }
  Result<builder::BuiltImage> build(const builder::BuildRequest&, std::stop_token) override {
    ++builds;
    return builder::BuiltImage{"sha256:a", "static", "", {}};
  }
  Result<builder::PushedImage> push(const std::string&, const std::string&, const std::string&,
                                    std::stop_token) override {
    pushing = true;
    while (hold_pushes) std::this_thread::yield();
    pushing = false;
    return builder::PushedImage{};
  }
  void reap(const std::string&) override {}
  std::vector<std::string> leftovers() override { return {}; }
  Result<std::vector<std::string>> collect(const std::function<Result<builder::StoreKeep>()>& keep,
                                           std::uint64_t bytes_max, std::stop_token) override {
    if (collect_error) return tl::unexpected(*collect_error);
    auto asked = keep();
    if (!asked) return tl::unexpected(asked.error());
    kept = *asked;
    cache_bytes_max = bytes_max;
    return std::vector<std::string>{"an image"};
  }
};

struct RecordingRegistry final : builder::Registry {
  explicit RecordingRegistry(const RecordingBuilder& images) : images_(images) {}
  std::atomic<int> collections{0};
  std::atomic<bool> collected_during_a_push{false};
  builder::RegistryKeep kept;

  std::string address() const override { return "127.0.0.1:5000"; }
  bool healthy() const override { return true; }
  Result<std::vector<std::string>> collect(const builder::RegistryKeep& keep,
                                           std::stop_token) override {
    collected_during_a_push = images_.pushing.load();
    kept = keep;
    ++collections;
    return std::vector<std::string>{"a manifest"};
  }

 private:
  const RecordingBuilder& images_;
};

class BuildEngineTest : public testing::Test {
 protected:
  BuildEngineTest() {
    auto name = (std::filesystem::temp_directory_path() / "atlasflow-engines-XXXXXX").string();
    work_ = ::mkdtemp(name.data());
  }
  ~BuildEngineTest() override { std::filesystem::remove_all(work_); }

  LocalBuildEngine engine(std::int64_t min_free_mib) {
    LocalBuildEngine::Config config;
    config.work = work_;
    config.registry = registry_.address();
    config.registry_healthy = [] { return true; };
    config.own_registry = &registry_;
    config.min_free_mib = min_free_mib;
    config.cache_bytes_max = 1'000;
    return {config, images_, *secrets_, gate_};
  }
  static Result<actors::Keep> keep() {
    return actors::Keep{
        {ImageRef("x/shop@sha256:a")}, {"sha256:b"}, {DeploymentId("abcdefg2")}, {"shop"}};
  }

  static constexpr std::int64_t k_more_than_any_disk = std::numeric_limits<std::int64_t>::max();
  std::filesystem::path work_;
  RecordingBuilder images_;
  RecordingRegistry registry_{images_};
  RegistryGate gate_;
  builder::Scratch sealed_;
  std::unique_ptr<storage::SecretStore> secrets_ =
      *storage::open_secret_store(sealed_.path() / "secrets", sealed_.path() / "secret.key");
};

// Pain 12, "disk fills".
TEST_F(BuildEngineTest,
       a_full_disk_stops_clones_and_builds_before_they_begin_and_says_how_to_go_on) {
  auto full = engine(k_more_than_any_disk);
  actors::SourceJob job;
  job.deployment = DeploymentId("abcdefg2");
  job.repository_url = "/nowhere";
  const auto cloned = full.clone(job, {});
  const auto built = full.build(job, {});
  for (const auto& error : {cloned ? Error{} : cloned.error(), built ? Error{} : built.error()}) {
    EXPECT_EQ(error.code, ErrorCode::unavailable);  // so it is tried again
    EXPECT_THAT(error.message, HasSubstr(work_.string()));
    EXPECT_THAT(error.message, HasSubstr(" MiB free; builds need "));
    EXPECT_THAT(error.message, HasSubstr("free space or lower builder.min_free_mib"));
  }
  EXPECT_EQ(images_.builds, 0);
  EXPECT_TRUE(engine(0).build(job, {}));
}

TEST_F(BuildEngineTest, collecting_hands_on_what_to_keep_and_tells_what_went) {
  auto local = engine(0);
  const auto removed = local.collect_images(keep, {});
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed, ElementsAre("an image", "a manifest"));
  EXPECT_THAT(images_.kept.image_ids, ElementsAre("sha256:b"));
  EXPECT_THAT(images_.kept.owners, ElementsAre("abcdefg2"));
  EXPECT_THAT(images_.kept.projects, ElementsAre("shop"));
  EXPECT_EQ(images_.cache_bytes_max, 1'000U);
  EXPECT_THAT(registry_.kept.references, ElementsAre("x/shop@sha256:a"));
  EXPECT_THAT(registry_.kept.image_ids, ElementsAre("sha256:b"));
}

TEST_F(BuildEngineTest, collecting_on_a_full_disk_gives_up_the_whole_build_cache) {
  ASSERT_TRUE(engine(k_more_than_any_disk).collect_images(keep, {}));
  EXPECT_EQ(images_.cache_bytes_max, 0U);
}

TEST_F(BuildEngineTest, collecting_in_the_registry_does_not_wait_for_a_builder_that_is_busy) {
  images_.collect_error = Error{ErrorCode::unavailable, "builds are running", ""};
  const auto removed = engine(0).collect_images(keep, {});
  EXPECT_FALSE(removed);
  EXPECT_EQ(registry_.collections, 1);
}

TEST_F(BuildEngineTest, collecting_never_deletes_from_the_registry_while_something_is_pushed) {
  auto local = engine(0);
  images_.hold_pushes = true;
  std::jthread pushing([&] { EXPECT_TRUE(local.push("sha256:a", "shop", {})); });
  while (!images_.pushing) std::this_thread::yield();
  std::jthread collecting([&] { EXPECT_TRUE(local.collect_images(keep, {})); });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(registry_.collections, 0);
  images_.hold_pushes = false;
  collecting.join();
  EXPECT_EQ(registry_.collections, 1);
  EXPECT_FALSE(registry_.collected_during_a_push);
}

TEST_F(BuildEngineTest, collecting_without_knowing_what_to_keep_touches_nothing) {
  const auto removed = engine(0).collect_images(
      []() -> Result<actors::Keep> { return fail(ErrorCode::unavailable, "behind the log"); }, {});
  EXPECT_FALSE(removed);
  EXPECT_EQ(registry_.collections, 0);
}

TEST(Deadline, stops_what_waits_for_it_when_the_time_is_up_and_never_when_there_is_no_time) {
  Deadline short_one({}, 1ms);
  Deadline none({}, 0us);
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (!short_one.token().stop_requested() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_TRUE(short_one.token().stop_requested());
  EXPECT_TRUE(short_one.passed());
  EXPECT_FALSE(none.token().stop_requested());
  EXPECT_FALSE(none.passed());
  std::stop_source outer;
  Deadline stopped(outer.get_token(), 0us);
  outer.request_stop();
  EXPECT_TRUE(stopped.token().stop_requested());
  EXPECT_FALSE(stopped.passed());
}

}  // namespace
}  // namespace atlasflow::server
