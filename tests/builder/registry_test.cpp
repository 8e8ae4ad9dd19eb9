#include "builder/registry/registry.hpp"

#include <chrono>
#include <csignal>
#include <thread>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include "base/http_client.hpp"
#include "base/process.hpp"
#include "base/process_identity.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using std::chrono::milliseconds;

pid_t recorded_pid(const std::filesystem::path& folder) {
  return nlohmann::json::parse(read(folder / "registry.json")).at("pid");
}

void write_record(const std::filesystem::path& folder, const ProcessIdentity& process, int port) {
  write(folder / "registry.json", nlohmann::json{{"pid", process.pid},
                                                 {"start_time", process.start_ticks},
                                                 {"boot_id", process.boot_id},
                                                 {"port", port}}
                                      .dump());
}

bool answers(const Registry& registry) {
  const auto answer =
      send_http({.url = "http://" + registry.address() + "/v2/", .timeout = milliseconds(2000)});
  return answer && answer->status == 200;
}

TEST(Registry, it_answers_when_started_and_is_gone_when_destroyed) {
  const Scratch scratch;
  auto registry = start_registry({scratch.path(), 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  EXPECT_TRUE(answers(**registry));
  EXPECT_TRUE((*registry)->healthy());
  const pid_t pid = recorded_pid(scratch.path());
  ASSERT_TRUE(identify_process(pid));
  registry->reset();
  EXPECT_FALSE(identify_process(pid));
}

TEST(Registry, a_free_port_is_kept_over_a_restart) {
  const Scratch scratch;
  auto first = start_registry({scratch.path(), 0});
  ASSERT_TRUE(first) << to_string(first.error());
  const std::string address = (*first)->address();
  first->reset();
  auto second = start_registry({scratch.path(), 0});
  ASSERT_TRUE(second) << to_string(second.error());
  EXPECT_EQ((*second)->address(), address);
}

TEST(Registry, a_registry_that_dies_is_started_again_at_the_same_address) {
  const Scratch scratch;
  auto registry = start_registry({scratch.path(), 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  const pid_t pid = recorded_pid(scratch.path());
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  for (int i = 0; i < 300 && recorded_pid(scratch.path()) == pid; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
  }
  for (int i = 0; i < 300 && !answers(**registry); ++i)
    std::this_thread::sleep_for(milliseconds(100));
  EXPECT_TRUE(answers(**registry));
  EXPECT_NE(recorded_pid(scratch.path()), pid);
}

TEST(Registry, what_a_killed_server_left_running_is_ended_and_not_doubled) {
  const Scratch scratch;
  // A server that dies by SIGKILL while a registry of its folder lives on, as one that was started
  // without the tie to its parent would.
  std::uint16_t port = 0;
  {
    auto registry = start_registry({scratch.path(), 0});
    ASSERT_TRUE(registry) << to_string(registry.error());
    port = static_cast<std::uint16_t>(std::stoi((*registry)->address().substr(10)));
  }
  SpawnRequest request;
  request.argv = {find_program("docker-registry"), "serve",
                  (scratch.path() / "config.yml").string()};
  request.environment = {"PATH=/usr/bin:/bin"};
  auto stray = spawn_process(request);
  ASSERT_TRUE(stray) << to_string(stray.error());
  write_record(scratch.path(), *identify_process(stray->pid()), port);
  auto registry = start_registry({scratch.path(), 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  EXPECT_FALSE(stray->running());
  EXPECT_TRUE(answers(**registry));
  registry->reset();
  EXPECT_EQ(end_registry(scratch.path()).value(), 0)
      << "a registry that was stopped is off the record";
}

TEST(Registry, what_a_killed_server_left_can_be_ended_without_a_new_one) {
  const Scratch scratch;
  {
    auto registry = start_registry({scratch.path(), 0});
    ASSERT_TRUE(registry) << to_string(registry.error());
  }
  SpawnRequest request;
  request.argv = {find_program("docker-registry"), "serve",
                  (scratch.path() / "config.yml").string()};
  request.environment = {"PATH=/usr/bin:/bin"};
  auto stray = spawn_process(request);
  ASSERT_TRUE(stray) << to_string(stray.error());
  write_record(scratch.path(), *identify_process(stray->pid()), 1);
  EXPECT_EQ(end_registry(scratch.path()).value(), stray->pid());
  EXPECT_FALSE(stray->running());
  EXPECT_EQ(end_registry(scratch.path()).value(), 0);
}

TEST(Registry, a_process_that_only_has_the_pid_of_an_earlier_registry_is_left_alone) {
  const Scratch scratch;
  SpawnRequest request;
  request.argv = {find_program("sleep"), "100"};
  auto other = spawn_process(request);
  ASSERT_TRUE(other) << to_string(other.error());
  ProcessIdentity earlier = *identify_process(other->pid());
  --earlier.start_ticks;
  write_record(scratch.path(), earlier, 1);
  EXPECT_EQ(end_registry(scratch.path()).value(), 0);
  ProcessIdentity before_a_reboot = *identify_process(other->pid());
  before_a_reboot.boot_id = "another boot";
  write_record(scratch.path(), before_a_reboot, 1);
  EXPECT_EQ(end_registry(scratch.path()).value(), 0);
  auto registry = start_registry({scratch.path(), 0});
  ASSERT_TRUE(registry) << to_string(registry.error());
  EXPECT_TRUE(other->running());
}

TEST(Registry, a_port_that_is_taken_is_told) {
  const Scratch one;
  const Scratch two;
  auto first = start_registry({one.path(), 0});
  ASSERT_TRUE(first) << to_string(first.error());
  const auto port = static_cast<std::uint16_t>(std::stoi((*first)->address().substr(10)));
  const auto second = start_registry({two.path(), port});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, ErrorCode::unavailable);
}

// ---- collecting ----

// Pushes images of one small layer by hand, as skopeo would from a folder.
class RegistryWithImages : public ::testing::Test {
 protected:
  void SetUp() override {
    auto started = start_registry({scratch_.path() / "registry", 0});
    ASSERT_TRUE(started) << to_string(started.error());
    registry_ = std::move(*started);
  }

  // The digest of the manifest. Tagged as ImageBuilder::push does.
  std::string push(const std::string& repository, const std::string& content,
                   const std::string& image_id) {
    const auto folder = scratch_.path() / "image";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder / "tree");
    write(folder / "tree" / "content", content);
    const std::string target = "docker://" + registry_->address() + "/" + repository + ":" +
                               image_id.substr(std::string("sha256:").size());
    const std::string script =
        "set -e; cd " + folder.string() +
        "; tar --mtime=@0 --owner=0 --group=0 -cf layer.tar -C tree content"
        "; d=$(sha256sum layer.tar | cut -d' ' -f1); s=$(stat -c %s layer.tar)"
        "; printf '{\"architecture\":\"amd64\",\"os\":\"linux\",\"rootfs\":{\"type\":\"layers\","
        "\"diff_ids\":[\"sha256:%s\"]}}' $d > config"
        "; c=$(sha256sum config | cut -d' ' -f1); cs=$(stat -c %s config)"
        "; mkdir dir; cp layer.tar dir/$d; cp config dir/$c; echo 'Directory Transport Version: "
        "1.1' > dir/version"
        "; printf '{\"schemaVersion\":2,\"mediaType\":\"application/"
        "vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":\"application/"
        "vnd.oci.image.config.v1+json\",\"digest\":\"sha256:%s\",\"size\":%s},\"layers\":[{"
        "\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:%s\","
        "\"size\":%s}]}' $c $cs $d $s > dir/manifest.json"
        "; skopeo --insecure-policy copy --quiet --preserve-digests --dest-tls-verify=false "
        "--digestfile digest dir:dir " +
        target;
    SpawnRequest request;
    request.argv = {find_program("sh"), "-c", script};
    request.environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/nonexistent"};
    std::string output;
    const auto ran = run_process(request, milliseconds(60'000), {},
                                 [&](std::string_view text) { output += text; });
    EXPECT_TRUE(ran && ran->exit_code == 0) << output;
    auto digest = read(folder / "digest");
    return digest.substr(0, 71);
  }
  [[nodiscard]] int status_of(const std::string& repository, const std::string& digest) const {
    const auto answer = send_http(
        {.url = "http://" + registry_->address() + "/v2/" + repository + "/manifests/" + digest,
         .fields = {{"Accept", "application/vnd.oci.image.manifest.v1+json"}},
         .timeout = milliseconds(2000)});
    return answer ? answer->status : 0;
  }
  [[nodiscard]] std::size_t blobs() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             scratch_.path() / "registry/blobs/docker/registry/v2/blobs")) {
      count += entry.path().filename() == "data" ? 1 : 0;
    }
    return count;
  }

  [[nodiscard]] std::filesystem::path manifests_of(const std::string& repository) const {
    return scratch_.path() / "registry/blobs/docker/registry/v2/repositories" / repository /
           "_manifests";
  }
  [[nodiscard]] static std::vector<std::string> names_in(const std::filesystem::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }
  // As a registry leaves it that is killed while it takes a manifest: that is linked, and its tag
  // has been begun.
  void cut_off_tag(const std::string& repository, const std::string& image_id) const {
    const auto tag = manifests_of(repository) / "tags" / image_id.substr(7);
    ASSERT_TRUE(std::filesystem::remove_all(tag / "current") > 0) << tag;
    ASSERT_TRUE(std::filesystem::exists(tag / "index"));
  }

  Scratch scratch_;
  std::unique_ptr<Registry> registry_;
};

std::string image_id(char digit) { return "sha256:" + std::string(64, digit); }

TEST_F(RegistryWithImages, keeps_what_is_named_and_deletes_the_rest_with_its_blobs) {
  const auto kept = push("shop", "one", image_id('1'));
  const auto unneeded = push("shop", "two", image_id('2'));
  const auto pushed_just_now = push("blog", "three", image_id('3'));
  const auto shared = push("gone", "one", image_id('1'));  // the same blobs in another repository
  ASSERT_EQ(blobs(), 9U);
  // By a port that the registry had before.
  const auto deleted = registry_->collect({{"127.0.0.1:1/shop@" + kept}, {image_id('3')}}, {});
  ASSERT_TRUE(deleted) << to_string(deleted.error());
  EXPECT_THAT(*deleted, testing::UnorderedElementsAre("shop@" + unneeded, "gone@" + shared));
  EXPECT_EQ(status_of("shop", kept), 200);
  EXPECT_EQ(status_of("blog", pushed_just_now), 200);
  EXPECT_EQ(status_of("shop", unneeded), 404);
  EXPECT_EQ(status_of("gone", shared), 404);
  EXPECT_EQ(blobs(), 6U);
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() /
                                       "registry/blobs/docker/registry/v2/repositories/gone"));
}

TEST_F(RegistryWithImages, takes_again_what_it_had_deleted) {
  const auto first = push("shop", "one", image_id('1'));
  const auto kept = push("shop", "two", image_id('2'));
  ASSERT_TRUE(registry_->collect({{"x/shop@" + kept}, {}}, {}));
  ASSERT_EQ(status_of("shop", first), 404);
  EXPECT_EQ(push("shop", "one", image_id('1')), first);
  EXPECT_EQ(status_of("shop", first), 200);
  EXPECT_EQ(blobs(), 6U);
}

TEST_F(RegistryWithImages, with_nothing_to_delete_runs_nothing) {
  const auto kept = push("shop", "one", image_id('1'));
  const auto deleted = registry_->collect({{"x/shop@" + kept}, {}}, {});
  ASSERT_TRUE(deleted);
  EXPECT_THAT(*deleted, testing::IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "registry/collecting"));
}

TEST_F(RegistryWithImages, finishes_what_a_killed_server_had_begun) {
  const auto kept = push("shop", "one", image_id('1'));
  const auto unneeded = push("shop", "two", image_id('2'));
  // It died between the deletion of the manifest and that of the blobs.
  ASSERT_TRUE(send_http({.method = "DELETE",
                         .url = "http://" + registry_->address() + "/v2/shop/manifests/" + unneeded,
                         .timeout = milliseconds(2000)}));
  write(scratch_.path() / "registry/collecting", "x");
  ASSERT_EQ(blobs(), 6U);
  ASSERT_TRUE(registry_->collect({{"x/shop@" + kept}, {}}, {}));
  EXPECT_EQ(blobs(), 3U);
  EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "registry/collecting"));
}

TEST_F(RegistryWithImages, leaves_no_name_of_a_manifest_that_a_kill_cut_off) {
  const auto kept = push("shop", "one", image_id('1'));
  const auto cut_off = push("shop", "two", image_id('2'));
  cut_off_tag("shop", image_id('2'));
  const auto deleted = registry_->collect({{"x/shop@" + kept}, {}}, {});
  ASSERT_TRUE(deleted) << to_string(deleted.error());
  EXPECT_THAT(*deleted, testing::ElementsAre("shop@" + cut_off));
  EXPECT_THAT(names_in(manifests_of("shop") / "tags"), testing::ElementsAre(std::string(64, '1')));
  EXPECT_THAT(names_in(manifests_of("shop") / "revisions/sha256"),
              testing::ElementsAre(kept.substr(7)));
  EXPECT_EQ(status_of("shop", kept), 200);
}

TEST_F(RegistryWithImages, leaves_no_name_of_a_manifest_whose_deletion_a_kill_cut_off) {
  const auto kept = push("shop", "one", image_id('1'));
  const auto half_deleted = push("shop", "two", image_id('2'));
  // The manifest goes first, its tags behind it.
  std::filesystem::remove(manifests_of("shop") / "revisions/sha256" / half_deleted.substr(7) /
                          "link");
  ASSERT_EQ(status_of("shop", half_deleted), 404);
  ASSERT_TRUE(registry_->collect({{"x/shop@" + kept}, {}}, {}));
  EXPECT_THAT(names_in(manifests_of("shop") / "tags"), testing::ElementsAre(std::string(64, '1')));
  EXPECT_THAT(names_in(manifests_of("shop") / "revisions/sha256"),
              testing::ElementsAre(kept.substr(7)));
  EXPECT_EQ(status_of("shop", kept), 200);
}

// The registry looks at every tag of the repository when it deletes a manifest.
TEST_F(RegistryWithImages, deletes_what_lies_beside_links_that_a_kill_left_empty) {
  const auto kept = push("shop", "one", image_id('1'));
  const auto unneeded = push("shop", "two", image_id('2'));
  const auto no_link = push("shop", "three", image_id('3'));
  write(manifests_of("shop") / "tags" / std::string(64, '3') / "current/link", "");
  write(manifests_of("shop") / "revisions/sha256" / no_link.substr(7) / "link", "");
  const auto deleted = registry_->collect({{"x/shop@" + kept}, {}}, {});
  ASSERT_TRUE(deleted) << to_string(deleted.error());
  EXPECT_THAT(*deleted, testing::ElementsAre("shop@" + unneeded));
  EXPECT_THAT(names_in(manifests_of("shop") / "tags"), testing::ElementsAre(std::string(64, '1')));
  EXPECT_EQ(status_of("shop", kept), 200);
  EXPECT_EQ(blobs(), 3U);
  EXPECT_EQ(push("shop", "three", image_id('3')), no_link);
  EXPECT_EQ(status_of("shop", no_link), 200);
}

TEST_F(RegistryWithImages, keeps_by_its_tag_what_no_reference_names_yet) {
  const auto pushed_just_now = push("shop", "one", image_id('1'));
  ASSERT_TRUE(registry_->collect({{}, {image_id('1')}}, {}));
  EXPECT_THAT(names_in(manifests_of("shop") / "tags"), testing::ElementsAre(std::string(64, '1')));
  EXPECT_EQ(status_of("shop", pushed_just_now), 200);
}

TEST_F(RegistryWithImages, of_an_empty_registry_are_none) {
  const auto deleted = registry_->collect({}, {});
  ASSERT_TRUE(deleted) << to_string(deleted.error());
  EXPECT_THAT(*deleted, testing::IsEmpty());
}

}  // namespace
}  // namespace atlasflow::builder
