// Builds Dockerfiles behind a stage `box` that has busybox and the user joe. As root.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "tests/builder/image_builder_fixture.hpp"

namespace atlasflow::builder {

class BoxBuildTest : public ImageBuilderTest {
 protected:
  // Names and texts, beside the Dockerfile.
  using Files = std::vector<std::pair<std::string, std::string>>;

  // What the log of its build says.
  std::string built(const std::string& dockerfile, const Files& files = {}) {
    const auto id = "b-" + std::to_string(++builds_);
    put(dockerfile, files);
    const auto image = build(id, "app");
    EXPECT_TRUE(image) << to_string(image.error()) << log(id);
    last_ = image ? *image : BuiltImage{};
    return log(id);
  }
  // Why it is not built.
  std::string refused(const std::string& dockerfile, const Files& files = {}) {
    const auto id = "b-" + std::to_string(++builds_);
    put(dockerfile, files);
    const auto image = build(id, "app");
    EXPECT_FALSE(image) << dockerfile << log(id);
    return image ? "" : image.error().message;
  }

  BuiltImage last_;

 private:
  void put(const std::string& dockerfile, const Files& files) {
    if (!std::filesystem::exists(folder("app") / "busybox")) put_busybox("app");
    for (const auto& [name, text] : files) write(folder("app") / name, text);
    write(folder("app") / "Dockerfile",
          "FROM scratch AS box\nCOPY busybox /bin/busybox\n"
          "RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n"
          "RUN mkdir -p /etc /tmp && echo 'joe:x:1234:1234::/:/bin/sh' > /etc/passwd && "
          "echo 'joe:x:1234:' > /etc/group\n" +
              dockerfile);
  }

  int builds_ = 0;
};

}  // namespace atlasflow::builder
