// What no deployment needs goes from the disk, and its logs stay: on real parts.

#include <gmock/gmock.h>

#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

class Garbage : public ServerFixture {
 protected:
  void SetUp() override {
    ServerFixture::SetUp();
    if (folder().empty()) return;
    write_file(folder() / "atlasflow.toml", read_file(folder() / "atlasflow.toml") +
                                                "[keep]\nrollbacks = 0\nbuild_cache_mib = 0\n");
  }
  static std::size_t entries(const fs::path& path) {
    std::error_code error;
    std::size_t count = 0;
    for (auto it = fs::directory_iterator(path, error); !error && it != fs::directory_iterator();
         it.increment(error)) {
      ++count;
    }
    return count;
  }
  [[nodiscard]] std::size_t unpacked_images() const {
    return entries(state_dir() / "vm/images") - 1;  // and the folder of blobs
  }
  [[nodiscard]] std::size_t pushed_images() const {
    return entries(state_dir() /
                   "registry/blobs/docker/registry/v2/repositories/web/_manifests/tags");
  }
};

TEST_F(Garbage, goes_with_the_version_that_cannot_be_rolled_back_to_and_its_logs_stay) {
  write_app("hello one\n");
  repository().commit_all("Say hello");
  start_server();
  create_project("web");
  const auto first = atlasflow({"deploy", "web", "--wait"});
  ASSERT_EQ(first.code, 0) << first.err;
  const auto old = atlasflow_json({"deployments", "web"}).at("deployments").at(0).at("id");
  ASSERT_EQ(pushed_images(), 1U);
  write_app("hello two\n");
  repository().commit_all("Say hello again");
  ASSERT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);

  EXPECT_TRUE(eventually(90s, [&] { return pushed_images() == 1 && unpacked_images() == 1; }))
      << pushed_images() << " pushed, " << unpacked_images() << " unpacked";
  EXPECT_EQ(get("web." + k_domain).body, "hello two\n");
  EXPECT_THAT(atlasflow({"logs", old, "--build", "--since", "1h"}).out, HasSubstr("Built"));
  const auto wrong = atlasflow({"logs", "web", "--since", "yesterday"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("10m"));

  // A build begins anew where its cache went, and the registry takes what it had deleted.
  write_app("hello one\n");
  repository().commit_all("Say hello as before");
  const auto again = atlasflow({"deploy", "web", "--wait"});
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(get("web." + k_domain).body, "hello one\n");
}

}  // namespace
}  // namespace atlasflow::end_to_end
