// Boots real microVMs from images in a real registry.
#include <cstdlib>
#include <fstream>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "image_fixture.hpp"
#include "vmm/files.hpp"
#include "vmm/hypervisor.hpp"
#include "vmm/probe.hpp"
#include "vmm/process.hpp"
#include "vmm/record.hpp"

namespace atlasflow::vmm {
namespace {

using namespace std::chrono_literals;
using test::busybox_layer;
using test::file;
using test::folder;
using test::ImageSource;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

template <typename Condition>
bool eventually(Condition condition, std::chrono::seconds limit = 60s) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(20ms);
  }
  return true;
}

// Serves a script's findings: it writes what it sees into /www, then busybox httpd takes over.
ImageSource web_image(const std::string& script) {
  ImageSource image;
  image.layers = {busybox_layer(),
                  {folder("srv"), folder("www", 01777), file("www/index.html", "hello\n"),
                   file("srv/run.sh", "#!/bin/sh\n" + script, 0755)}};
  image.entrypoint = {"/bin/sh"};
  image.cmd = {"/srv/run.sh"};
  return image;
}

constexpr const char* k_serve = "exec httpd -f -p $HOST:$PORT -h /www\n";

class MicroVm : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::geteuid() != 0) GTEST_SKIP() << "microVMs need root";
    shared_ = new Shared;
  }
  static void TearDownTestSuite() {
    delete shared_;
    shared_ = nullptr;
  }
  void SetUp() override {
    const auto made = make_hypervisor();
    ASSERT_NE(hypervisor_, nullptr) << made;
  }
  void TearDown() override {
    if (!hypervisor_) return;
    for (const std::string& id : hypervisor_->list()) (void)hypervisor_->stop(id, 0ms);
  }

  // Again over the same folder: what a restarted control plane does.
  std::string make_hypervisor() {
    hypervisor_.reset();
    const char* const kernel = std::getenv("ATLASFLOW_KERNEL_DIR");
    HostConfig config;
    config.state_dir = shared_->folder.path() / "state";
    config.log_dir = shared_->folder.path() / "logs";
    config.kernel_dir = kernel != nullptr ? kernel : "/usr/lib/atlasflow/kernel";
    config.guest_init = ATLASFLOW_GUEST_INIT;
    auto made = make_qemu_hypervisor(config);
    if (!made) return to_string(made.error());
    hypervisor_ = std::move(*made);
    return {};
  }

  static VmSpec spec(const std::string& id, const std::string& image) {
    VmSpec spec;
    spec.vm_id = id;
    spec.hostname = "host-" + id;
    spec.image = image;
    spec.memory_mib = 256;
    return spec;
  }

  static std::string log_of(const std::string& id) {
    return read_whole_file(shared_->folder.path() / "logs" / (id + ".run.log"), 1 << 20)
        .value_or("");
  }
  static std::filesystem::path dir_of(const std::string& id) {
    return shared_->folder.path() / "state" / "vm" / id;
  }

  static bool serves(const Endpoint& endpoint, const std::string& path = "/") {
    return eventually([&] { return probe_http(endpoint, path, "localhost", 1s).healthy(); });
  }

  static std::string push(const ImageSource& source, const std::string& name) {
    return shared_->registry.push(source, name);
  }

  struct Shared {
    test::TemporaryFolder folder;
    test::Registry registry{folder.path() / "registry"};
  };
  static Shared* shared_;
  std::unique_ptr<Hypervisor> hypervisor_;
};
MicroVm::Shared* MicroVm::shared_ = nullptr;

TEST_F(MicroVm, boots_an_image_from_the_registry_to_a_200) {
  const auto image = push(web_image(k_serve), "web");
  const auto begin = std::chrono::steady_clock::now();
  const auto endpoint = hypervisor_->start(spec("web-1", image), {});
  ASSERT_TRUE(endpoint) << to_string(endpoint.error());
  EXPECT_EQ(endpoint->address, "127.0.0.1");
  EXPECT_TRUE(serves(*endpoint)) << log_of("web-1");
  const auto took = std::chrono::steady_clock::now() - begin;
  RecordProperty("first_200_ms", static_cast<int>(took / 1ms));
  const VmStatus status = hypervisor_->status("web-1");
  EXPECT_EQ(status.phase, VmPhase::running);
  EXPECT_EQ(status.endpoint, *endpoint);
  EXPECT_THAT(hypervisor_->list(), Contains("web-1"));
}

}  // namespace
}  // namespace atlasflow::vmm
