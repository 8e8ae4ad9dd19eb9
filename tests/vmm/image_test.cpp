#include "vmm/image/image.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "tests/vmm/image_fixture.hpp"

namespace atlasflow::vmm {
namespace {

using test::file;

TEST(PullImage, refuses_a_name_without_a_digest_or_that_is_an_option) {
  const test::TemporaryFolder folder;
  for (const std::string& image :
       {std::string("127.0.0.1:1/x:latest"), std::string("x@sha256:short"),
        "x@sha256:" + std::string(63, 'a') + "/", "@sha256:" + std::string(64, 'a'),
        "--config@sha256:" + std::string(64, 'a')}) {
    EXPECT_EQ(pull_image(image, true, folder.path(), {}).error().code, ErrorCode::invalid_argument)
        << image;
  }
}

TEST(PullImage, gets_configuration_and_layers_and_needs_the_registry_only_once) {
  const test::TemporaryFolder folder;
  std::string name;
  {
    test::Registry registry(folder.path() / "registry");
    test::ImageSource source;
    source.layers = {{file("a", "x")}, {file("b", "y")}};
    source.cmd = {"/run"};
    name = registry.push(source, "two");
    const auto image = pull_image(name, true, folder.path() / "images", {});
    ASSERT_TRUE(image) << to_string(image.error());
    ASSERT_EQ(image->layers.size(), 2U);
    EXPECT_EQ(image->layers[0].diff_id, "sha256:" + sha256_hex(make_tar(source.layers[0])));
    EXPECT_EQ(image->config.cmd, source.cmd);
  }
  const auto again = pull_image(name, true, folder.path() / "images", {});
  ASSERT_TRUE(again) << to_string(again.error());

  // A blob that is lost makes it ask again, and the registry is gone now.
  std::filesystem::remove(again->layers[1].path);
  EXPECT_EQ(pull_image(name, true, folder.path() / "images", {}).error().code,
            ErrorCode::unavailable);
}

}  // namespace
}  // namespace atlasflow::vmm
