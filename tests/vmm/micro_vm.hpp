// A registry and a hypervisor over a folder of the suite's own, for tests that boot real microVMs.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "tests/vmm/image_fixture.hpp"
#include "vmm/hypervisor/hypervisor.hpp"

namespace atlasflow::vmm::test {

template <typename Condition>
bool eventually(Condition condition, std::chrono::seconds limit = std::chrono::seconds(60)) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

// Serves a script's findings: it writes what it sees into /www, then busybox httpd takes over.
[[nodiscard]] ImageSource web_image(const std::string& script);

inline constexpr const char* k_serve = "exec httpd -f -p $HOST:$PORT -h /www\n";

// GET's body, for what a script in the guest found out.
[[nodiscard]] std::string body_of(const Endpoint& endpoint, const std::string& path);

class MicroVm : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static void TearDownTestSuite() { shared_.reset(); }
  void SetUp() override;
  void TearDown() override;

  // Again over the same folder: what a restarted control plane does.
  std::string make_hypervisor();

  static VmSpec spec(const std::string& id, const std::string& image);
  static std::string log_of(const std::string& id);
  static std::filesystem::path dir_of(const std::string& id) {
    return shared_->folder.path() / "state" / "vm" / id;
  }
  static bool serves(const Endpoint& endpoint, const std::string& path = "/");
  static std::string push(const ImageSource& source, const std::string& name) {
    return shared_->registry.push(source, name);
  }

  struct Shared {
    TemporaryFolder folder;
    Registry registry{folder.path() / "registry"};
  };
  static std::unique_ptr<Shared> shared_;
  std::unique_ptr<Hypervisor> hypervisor_;
};

}  // namespace atlasflow::vmm::test
