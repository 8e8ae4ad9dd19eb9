// What collecting removes from the builder's store, and what it never does.
#include <limits>
#include <thread>

#include "builder/image/buildah.hpp"
#include "builder/registry/registry.hpp"
#include "tests/builder/image_builder_fixture.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

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
    keep.projects.insert("app");
    return builder_->collect([keep]() -> Result<StoreKeep> { return keep; }, bytes_max, {});
  }
  // What the store itself says.
  std::vector<ImageStore::Image> images() const { return store().images(); }
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
  // An image of a foreign name.
  run_buildah(store(), {"tag", "localhost/atlasflow/app:bbbbbbbb-v4", "docker.io/library/debian:12",
                        "localhost/atlasflow-base/node:18"});

  // cccccccc is still at it: what it built has no id in the log yet.
  const auto removed = collect({{kept}, {"cccccccc"}, {}});
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(named(), testing::UnorderedElementsAre("localhost/atlasflow/app:aaaaaaaa-v4",
                                                     "docker.io/library/debian:12",
                                                     "localhost/atlasflow-base/node:18",
                                                     "localhost/atlasflow/app:cccccccc-v4",
                                                     "localhost/atlasflow/app:cccccccc-v9"));
  ASSERT_TRUE(collect({{kept}, {}, {}}));
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
  ASSERT_TRUE(collect({{kept}, {}, {}}));
  const auto before = images().size();
  ASSERT_TRUE(collect({{kept}, {}, {}}, k_any_size));
  EXPECT_EQ(images().size(), before);  // within its bounds it stays
  const auto removed = collect({{kept}, {}, {}}, 0);
  ASSERT_TRUE(removed);
  EXPECT_THAT(*removed, testing::Contains(HasSubstr("layers ")));
  EXPECT_LT(images().size(), before);
  EXPECT_THAT(named(), testing::ElementsAre("localhost/atlasflow/app:aaaaaaaa-v4"));
  // What is kept can still be pushed whole.
  auto registry = start_registry({scratch_.path() / "registry", 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  EXPECT_TRUE(builder_->push(kept, (*registry)->address(), "app", {}));
}

TEST_F(Collecting, removes_the_store_of_a_project_that_is_gone_and_leaves_base_images) {
  put_base("localhost/atlasflow-base/tool:1", "FROM scratch\nCOPY busybox /bin/busybox\n");
  const auto kept = built("aaaaaaaa-v4", "one");
  auto other = request("bbbbbbbb-v4", "app");
  other.project = "gone";
  ASSERT_TRUE(builder_->build(other, {})) << log("bbbbbbbb-v4");
  // While one of its deployments is still unfinished, what it built may yet be asked for.
  ASSERT_TRUE(collect({{kept}, {"bbbbbbbb"}, {}}));
  EXPECT_TRUE(std::filesystem::exists(store("gone").folder()));
  const auto removed = collect({{kept}, {}, {}});
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed, testing::ElementsAre("the store of gone"));
  EXPECT_FALSE(std::filesystem::exists(store("gone").folder()));
  EXPECT_THAT(named(), testing::ElementsAre("localhost/atlasflow/app:aaaaaaaa-v4"));
  EXPECT_THAT(bases().image_names(), testing::ElementsAre("localhost/atlasflow-base/tool:1"));
}

TEST_F(Collecting, gives_up_what_cache_mounts_keep_when_the_cache_is_too_large) {
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("RUN --mount=type=cache,target=/kept echo old >> /kept/x; "
                           "echo lines=$(cat /kept/x | wc -l)\n"));
  ASSERT_TRUE(build("aaaaaaaa-v4", "app")) << log("aaaaaaaa-v4");
  write(folder("app") / "Dockerfile",
        busybox_dockerfile("RUN --mount=type=cache,target=/kept echo new >> /kept/x; "
                           "echo lines=$(cat /kept/x | wc -l)\n"));
  ASSERT_TRUE(build("aaaaaaaa-v5", "app")) << log("aaaaaaaa-v5");
  EXPECT_THAT(log("aaaaaaaa-v5"), HasSubstr("lines=2"));
  ASSERT_TRUE(collect({{}, {"aaaaaaaa"}, {}}));
  EXPECT_GT(store().cache_mounts_bytes(), 0U);
  const auto removed = collect({{}, {"aaaaaaaa"}, {}}, 0);
  ASSERT_TRUE(removed);
  EXPECT_THAT(*removed, testing::Contains("cache mounts of app"));
  EXPECT_EQ(store().cache_mounts_bytes(), 0U);
}

// A pull needs a registry that a build may reach. That an image was pulled is a mark beside its
// store.
TEST_F(Collecting, gives_up_pulled_base_images_that_nothing_is_built_upon) {
  const std::string shell = "FROM scratch\nCOPY busybox /bin/sh\n";
  for (const char* name : {"old", "new", "used", "brought", "plain"}) {
    put_base("docker.io/library/" + std::string(name) + ":1",
             shell + "RUN echo " + name + " > /name\n");
  }
  for (const auto& image : bases().images()) {
    if (image.names.empty() || image.names.front() == "docker.io/library/brought:1") continue;
    ASSERT_TRUE(bases().note_pulled(image.id));
    if (image.names.front() != "docker.io/library/old:1") bases().note_used(image.id);
  }
  write(folder("app") / "Dockerfile", "FROM used:1\nRUN echo made > /made\n");
  const auto upon = build("aaaaaaaa-v4", "app");
  ASSERT_TRUE(upon) << to_string(upon.error()) << log("aaaaaaaa-v4");
  // One that changes the configuration alone has no layer of its own.
  write(folder("app") / "Dockerfile", "FROM plain:1\nENV A=1\n");
  const auto beside = build("bbbbbbbb-v4", "app");
  ASSERT_TRUE(beside) << to_string(beside.error()) << log("bbbbbbbb-v4");

  ASSERT_TRUE(collect({{upon->image_id, beside->image_id}, {}, {}}));
  EXPECT_EQ(bases().image_names().size(), 5U);  // within its bounds they stay
  const auto removed = collect({{upon->image_id, beside->image_id}, {}, {}}, 0);
  ASSERT_TRUE(removed) << to_string(removed.error());
  EXPECT_THAT(*removed,
              testing::IsSupersetOf({"docker.io/library/old:1", "docker.io/library/new:1"}));
  EXPECT_EQ(removed->front(), "docker.io/library/old:1");
  EXPECT_THAT(bases().image_names(),
              testing::UnorderedElementsAre("docker.io/library/used:1", "docker.io/library/plain:1",
                                            "docker.io/library/brought:1"));
  // What is kept can still be pushed whole.
  auto registry = start_registry({scratch_.path() / "registry", 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  for (const auto& image : {upon->image_id, beside->image_id}) {
    const auto pushed = builder_->push(image, (*registry)->address(), "app", {});
    EXPECT_TRUE(pushed) << to_string(pushed.error());
  }
  ASSERT_TRUE(collect({{}, {}, {}}, 0));
  EXPECT_THAT(bases().image_names(), testing::ElementsAre("docker.io/library/brought:1"));
}

TEST_F(Collecting, waits_for_a_build_and_then_gives_up_with_nothing_touched) {
  ASSERT_NE(built("aaaaaaaa-v4", "one"), "");
  write(folder("slow") / "Dockerfile", busybox_dockerfile("RUN sleep 100\n"));
  put_busybox("slow");
  std::stop_source stop;
  std::jthread building(
      [&] { EXPECT_FALSE(builder_->build(request("bbbbbbbb-v4", "slow"), stop.get_token())); });
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
