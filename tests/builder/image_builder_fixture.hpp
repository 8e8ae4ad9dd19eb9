// A builder of its own over a temporary folder, and small sources for it. As root.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cgroup.hpp"
#include "base/file_descriptor.hpp"
#include "base/process.hpp"
#include "builder/image/buildah.hpp"
#include "builder/image/buildah_builder.hpp"
#include "builder/image/image_builder.hpp"
#include "builder/image/image_store.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {

inline constexpr std::chrono::milliseconds k_deadline{200'000};

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

class ImageBuilderTest : public ::testing::Test {
 protected:
  void SetUp() override { start({}); }

  // On the first rung, untried: the probe of the ladder is a build more.
  void start(ImageBuilderConfig config) {
    builder_.reset();
    config.state_dir = scratch_.path() / "state";
    config.log_dir = scratch_.path() / "logs";
    const auto place = open_workplace(config);
    ASSERT_TRUE(place) << to_string(place.error());
    auto made = make_untried_builder(config, *place, first_rung());
    ASSERT_TRUE(made) << to_string(made.error());
    builder_ = std::move(*made);
  }
  // As a server does.
  void start_tried(ImageBuilderConfig config) {
    builder_.reset();
    config.state_dir = scratch_.path() / "state";
    config.log_dir = scratch_.path() / "logs";
    auto made = make_buildah_builder(config);
    ASSERT_TRUE(made) << to_string(made.error());
    builder_ = std::move(*made);
  }
  static Rung first_rung() { return {"oci+userns", "oci", true, "userns"}; }

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
    // Others' builds, of a server's test that runs beside this one, are none of its business.
    const auto tag = build_cgroup_tag(scratch_.path() / "state");
    for (const std::string& name : Cgroup::names(own_cgroups(), k_build_cgroups))
      EXPECT_THAT(name, ::testing::Not(::testing::StartsWith(tag)));
    EXPECT_THAT(read("/proc/self/mountinfo"),
                ::testing::Not(::testing::HasSubstr(scratch_.path().string())));
    // A Dockerfile that is refused before anything runs makes no store.
    if (!std::filesystem::exists(state() / "projects")) return;
    for (const auto& project : std::filesystem::directory_iterator(state() / "projects")) {
      EXPECT_THAT(ImageStore(project.path()).containers(), ::testing::IsEmpty());
    }
  }

  // Of the first rung, which is the one of machines that tests run on.
  std::filesystem::path state() const { return scratch_.path() / "state" / "userns"; }
  ImageStore store(const std::string& project = "app") const {
    return ImageStore(state() / "projects" / project);
  }
  ImageStore bases() const { return ImageStore(state() / "bases"); }

  static Buildah buildah() {
    auto toolchain = find_toolchain(k_toolchain_root);
    EXPECT_TRUE(toolchain) << to_string(toolchain.error());
    auto made = Buildah::make({*toolchain, first_rung(), {}});
    EXPECT_TRUE(made) << to_string(made.error());
    return std::move(*made);
  }
  void run_buildah(const ImageStore& store, std::vector<std::string> arguments,
                   const std::filesystem::path& context = {}) {
    const auto tool = buildah();
    Buildah::Call call;
    call.arguments = std::move(arguments);
    call.store = &store;
    call.scratch = scratch_.path() / "tool";
    call.context = context;
    ASSERT_TRUE(tool.own(call.scratch));
    std::string said;
    const auto ran = tool.run(call, [&said](std::string_view text) { said += text; });
    ASSERT_TRUE(ran) << to_string(ran.error());
    ASSERT_EQ(ran->exit_code, 0) << said;
  }
  // Puts an image into the store of base images, as script/base-images does.
  void put_base(const std::string& image, const std::string& dockerfile) {
    put_busybox("base");
    write(folder("base") / "Dockerfile", dockerfile);
    std::vector<std::string> arguments = {"build", "--format", "docker", "--signature-policy",
                                          "/mnt/policy.json"};
    for (auto& word : buildah().isolation_arguments()) arguments.push_back(std::move(word));
    arguments.insert(arguments.end(), {"--tag", image, "/mnt/context"});
    run_buildah(bases(), arguments, folder("base"));
    std::filesystem::remove_all(folder("base"));
  }

  Scratch scratch_;
  std::unique_ptr<ImageBuilder> builder_;
};

}  // namespace atlasflow::builder
