// A builder of its own over a temporary folder, and small sources for it. As root.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/cgroup.hpp"
#include "builder/image/buildah_builder.hpp"
#include "builder/image/image_builder.hpp"
#include "builder/sandbox/process.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {

inline constexpr std::chrono::milliseconds k_deadline{200'000};

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

  BuildRequest request(const std::string& id, const std::string& name,
                       std::vector<std::pair<std::string, std::string>> args = {}) {
    BuildRequest out;
    out.build_id = id;
    out.folder = folder(name);
    out.project = "app";
    out.build_args = std::move(args);
    out.deadline = k_deadline;
    return out;
  }

  Result<BuiltImage> build(const std::string& id, const std::string& name,
                           std::vector<std::pair<std::string, std::string>> args = {}) {
    return builder_->build(request(id, name, std::move(args)), {});
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
    EXPECT_THAT(builder_->leftovers(), ::testing::IsEmpty());
    EXPECT_FALSE(std::filesystem::exists(scratch_.path() / "state" / "scratch" / id));
    for (const std::string& name : Cgroup::names(own_cgroups(), k_build_cgroups))
      EXPECT_THAT(name, ::testing::Not(::testing::HasSubstr(id)));
    EXPECT_THAT(read("/proc/self/mountinfo"),
                ::testing::Not(::testing::HasSubstr(scratch_.path().string())));
    EXPECT_THAT(read(scratch_.path() / "state/storage/overlay-containers/containers.json"),
                testing::AnyOf("[]", ""));
  }

  Scratch scratch_;
  std::unique_ptr<ImageBuilder> builder_;
};

}  // namespace atlasflow::builder
