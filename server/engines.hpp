// The real worlds behind actors/runtime/engines.hpp: the machine's clock, and builder/, vmm/ and
// edge/ as the control plane calls them. Owned by the composition root; thread-safe where the parts
// are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "actors/runtime/engines.hpp"
#include "builder/image/image_builder.hpp"
#include "builder/registry/registry.hpp"
#include "builder/source/checkout.hpp"
#include "builder/source/credential.hpp"
#include "edge/edge.hpp"
#include "github/connected_app.hpp"
#include "server/repository_access.hpp"
#include "storage/secrets/secrets.hpp"
#include "vmm/hypervisor/hypervisor.hpp"

namespace atlasflow::server {

class SystemClock final : public actors::Clock {
 public:
  [[nodiscard]] TimestampUs now() const override;
};

// Shared by whoever pushes to the registry or pulls from it; alone: who deletes from it, which
// would corrupt what is under way.
using RegistryGate = std::shared_timed_mutex;

// Checkouts lie in <work>/<deployment id>. Nothing is fetched or built on a disk that is nearly
// full: what serves needs the rest.
class LocalBuildEngine final : public actors::BuildEngine {
 public:
  struct Config {
    std::filesystem::path work;
    std::string registry;  // "127.0.0.1:5000"
    std::function<bool()> registry_healthy;
    builder::Registry* own_registry = nullptr;  // null: it is elsewhere, and not ours to clean up
    std::int64_t min_free_mib = 0;              // on the disk of `work`
    std::uint64_t cache_bytes_max = 0;          // of all layers in the builder's store
    github::ConnectedApp* app = nullptr;        // clones what needs a login; null: nobody does
    RepositoryAccess* access = nullptr;         // projects' own keys and logins; null: none
    std::filesystem::path repositories = {};    // that are pushed to here
    std::filesystem::path logs = {};            // clones' logs; empty: none are written
    std::filesystem::path mirrors = {};         // what was fetched, a folder a project; empty: none
    std::uint64_t mirrors_bytes_max = 0;        // of all of those; 0: none are kept
  };
  LocalBuildEngine(Config config, builder::ImageBuilder& images, storage::SecretStore& secrets,
                   RegistryGate& gate)
      : config_(std::move(config)), images_(images), secrets_(secrets), gate_(gate) {}

  Result<actors::ResolvedRef> resolve(const ProjectState& project, const std::string& branch,
                                      std::chrono::milliseconds at_most) override;
  Result<pb::Cloned> clone(const actors::SourceJob& job, std::stop_token stop) override;
  Result<pb::Built> build(const actors::SourceJob& job, std::stop_token stop) override;
  Result<pb::ImagePushed> push(const std::string& image_id, const std::string& repository,
                               std::stop_token stop) override;
  std::vector<actors::SourceRemains> inventory() override;
  void reap(const actors::SourceRemains& remains) override;
  void forget(const DeploymentId& deployment) override;
  Result<std::vector<std::string>> collect_images(const actors::KeepSource& keep,
                                                  std::stop_token stop) override;
  [[nodiscard]] std::string describe() const override;

 private:
  // Of one that is pushed to here where it lies, of any other one itself.
  [[nodiscard]] std::string place_of(const std::string& url) const;
  // A project's own login comes before the App.
  [[nodiscard]] builder::CredentialSource credential_for(const ProjectId& project,
                                                         const std::string& url,
                                                         std::stop_token stop) const;
  [[nodiscard]] builder::HostKeyCheck host_key_check_for(const ProjectId& project,
                                                         std::stop_token stop) const;
  // Opens what its steps may mount, and what its log must not show.
  [[nodiscard]] Result<void> open_values(const actors::SourceJob& job,
                                         builder::BuildRequest& request) const;
  [[nodiscard]] Result<builder::Checkout> check_out(const actors::SourceJob& job,
                                                    const std::filesystem::path& folder,
                                                    const std::stop_token& stop) const;
  // unavailable: less than min_free_mib is free.
  [[nodiscard]] Result<void> check_disk() const;
  [[nodiscard]] Result<std::vector<std::string>> collect_clones(const actors::KeepSource& keep,
                                                                const std::stop_token& stop) const;
  [[nodiscard]] Result<std::vector<std::string>> collect_registry(const actors::KeepSource& keep,
                                                                  const std::stop_token& stop);

  Config config_;
  builder::ImageBuilder& images_;
  storage::SecretStore& secrets_;
  RegistryGate& gate_;
};

// Opens the sealed environment on the way to the guest; the context of each value is
// "<project id>/<name>". own_registry: the address that our own registry has now, whatever it was
// when an image was pushed; empty: the registry is elsewhere.
class LocalVmEngine final : public actors::VmEngine {
 public:
  LocalVmEngine(vmm::Hypervisor& hypervisor, storage::SecretStore& secrets, std::int64_t memory_mib,
                RegistryGate& gate, std::string own_registry)
      : hypervisor_(hypervisor),
        secrets_(secrets),
        memory_mib_(memory_mib),
        gate_(gate),
        own_registry_(std::move(own_registry)) {}

  Result<actors::StartedVm> start(const actors::VmJob& job, std::stop_token stop) override;
  actors::VmObservation observe(const VmId& vm_id) override;
  actors::ProbeObservation probe(const VmId& vm_id, const std::string& path,
                                 const std::string& host) override;
  Result<std::int32_t> stop(const VmId& vm_id) override;
  // The server ends: no stop is waited for any more. The next server finds what came of it.
  void leave() { leave_.request_stop(); }
  std::vector<VmId> list() override;
  bool ping() override { return true; }  // It is this machine.
  Result<std::vector<std::string>> collect_disks(const actors::KeepSource& keep,
                                                 std::stop_token stop) override;
  [[nodiscard]] std::int64_t memory_mib() const override { return memory_mib_; }
  [[nodiscard]] std::string describe() const override;

 private:
  std::stop_source leave_;
  vmm::Hypervisor& hypervisor_;
  storage::SecretStore& secrets_;
  std::int64_t memory_mib_;
  RegistryGate& gate_;
  const std::string own_registry_;
};

// The actors' tables go to the edge as they are, generations included: those of an edge that
// outlived a control plane are gone on with. The bare domain leads to the webhook's listener; that
// route is the edge's own, so that setting it says nothing about the apps.
class LocalEdgeEngine final : public actors::EdgeEngine {
 public:
  LocalEdgeEngine(edge::Edge& edge, std::string domain) : edge_(edge), domain_(std::move(domain)) {}

  // Port 0: the listener is not there yet.
  [[nodiscard]] Result<void> route_domain_to(const std::string& address, std::uint16_t port);

  Result<void> publish(std::uint64_t generation,
                       const std::vector<actors::RouteClaim>& table) override;
  std::uint64_t drain(const VmId& vm_id, std::chrono::microseconds deadline) override;
  [[nodiscard]] std::uint64_t generation() const override { return edge_.generation(); }
  [[nodiscard]] std::string describe() const override { return edge_.describe(); }

 private:
  edge::Edge& edge_;
  std::string domain_;
};

}  // namespace atlasflow::server
