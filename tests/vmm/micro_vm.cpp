#include "tests/vmm/micro_vm.hpp"

#include <array>
#include <cstdlib>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.hpp"
#include "vmm/hypervisor/probe.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm::test {

using namespace std::chrono_literals;

ImageSource web_image(const std::string& script) {
  ImageSource image;
  image.layers = {busybox_layer(),
                  {folder("srv"), folder("www", 01777), file("www/index.html", "hello\n"),
                   file("srv/run.sh", "#!/bin/sh\n" + script, 0755)}};
  image.entrypoint = {"/bin/sh"};
  image.cmd = {"/srv/run.sh"};
  return image;
}

std::string body_of(const Endpoint& endpoint, const std::string& path) {
  const FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
  std::string answer;
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = ::recv(fd.get(), buffer.data(), buffer.size(), 0)) > 0;) {
    answer.append(buffer.data(), static_cast<std::size_t>(n));
  }
  const std::size_t body = answer.find("\r\n\r\n");
  return body == std::string::npos ? std::string{} : answer.substr(body + 4);
}

std::unique_ptr<MicroVm::Shared> MicroVm::shared_;

void MicroVm::SetUpTestSuite() {
  if (::geteuid() != 0) GTEST_SKIP() << "microVMs need root";
  shared_ = std::make_unique<Shared>();
}

void MicroVm::SetUp() {
  const auto made = make_hypervisor();
  ASSERT_NE(hypervisor_, nullptr) << made;
}

void MicroVm::TearDown() {
  if (!hypervisor_) return;
  for (const auto& id : hypervisor_->list()) (void)hypervisor_->stop(id, 0ms, {});
}

std::string MicroVm::make_hypervisor() {
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

VmSpec MicroVm::spec(const std::string& id, const std::string& image) {
  VmSpec spec;
  spec.vm_id = VmId{id};
  spec.hostname = "host-" + id;
  spec.image = ImageRef{image};
  spec.memory_mib = 256;
  return spec;
}

std::string MicroVm::log_of(const std::string& id) {
  return read_file(shared_->folder.path() / "logs" / (id + ".run.log"), 1 << 20).value_or("");
}

bool MicroVm::serves(const Endpoint& endpoint, const std::string& path) {
  return eventually([&] { return probe_http(endpoint, path, "localhost", 1s).healthy(); });
}

}  // namespace atlasflow::vmm::test
