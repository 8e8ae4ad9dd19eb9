// What stands outside the control plane and outlives it: the machines, as far as an actor can tell.
// The engines over it answer at once, and scripts say what the next calls come to; outside.hpp puts
// time and faults between them and the actors. One thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "actors/runtime/engines.hpp"
#include "sim/world/agenda.hpp"

namespace atlasflow::sim {

struct World {
  struct Vm {
    bool running = true;
    int starts = 0;
    HostId host;
    std::string project;
    std::string deployment;
    ImageRef image;
    std::string command;
    bool lost = false;  // it ended with its machine
    std::int32_t exit_code = 1;
    std::map<std::string, std::string> env_refs;
  };
  struct Host {
    bool answers = true;
    std::int64_t memory_mib = 4096;
  };
  using Table = std::pair<std::uint64_t, std::vector<actors::RouteClaim>>;

  // What name servers, a certificate authority, the store of keys and the edge know of users' own
  // domains, by name.
  struct Uploaded {
    std::string domain;
    TimestampUs at = 0;
  };
  struct Domains {
    std::map<std::string, std::string> targets;   // of CNAME records; absent: no record
    std::map<std::string, std::string> proofs;    // of TXT records
    std::map<std::string, EffectId> open_orders;  // at the CA, neither done nor given up
    std::map<EffectId, pb::CertificateIssued> stored;
    std::map<std::string, Uploaded> uploaded;  // by fingerprint
    std::map<std::string, std::string> shown;  // fingerprints, by the edge
    std::uint64_t serial = 0;

    [[nodiscard]] bool holds(const std::string& fingerprint) const {
      return uploaded.contains(fingerprint) ||
             std::any_of(stored.begin(), stored.end(), [&](const auto& order) {
               return order.second.fingerprint() == fingerprint;
             });
    }
  };

  Agenda agenda;
  TimestampUs clock_skew = 0;  // of the control plane's wall clock
  std::map<HostId, Host> hosts{{HostId{"local"}, {}}};
  std::map<VmId, Vm> vms;
  std::map<std::string, int> clones;  // how often each effect was carried out
  std::map<std::string, int> builds;
  std::vector<Table> tables;  // every route table that was published, by generation
  std::set<VmId> drained;
  Domains domains;
  std::set<std::string> checkouts;                       // deployments whose source lies on disk
  std::map<std::string, std::set<DeploymentId>> images;  // in the local store: id to who built it
  std::map<ImageRef, std::string> registry;              // to the id of the image
  std::set<ImageRef> disks;                              // of images that are unpacked
  std::vector<std::string> collected;                    // what was removed, in order
  std::set<std::string> sealed;                          // values in storage/secrets, by ref
  std::set<std::string> unsealed;                        // those that were removed

  std::function<std::optional<Error>(const actors::SourceJob&)> clone_error;
  std::function<std::optional<Error>(const actors::SourceJob&)> build_error;
  // Changes what a clone comes to, as a repository's atlasflow.toml or watched paths would.
  std::function<void(const actors::SourceJob&, pb::Cloned&)> on_clone;
  std::function<actors::ProbeObservation(const VmId& vm_id)> probe;
  // What a receiver of notifications answers; 200 without it.
  std::function<Result<std::int32_t>(const Notification&)> on_notify;
  std::vector<Notification> notifications;  // that receivers took, in the order of their coming
  // After a VM has been started.
  std::function<void(const actors::VmJob&)> on_start;
  // What a VM with a command of its own ends with.
  std::function<std::int32_t(const actors::VmJob&)> run_command;
  std::function<std::optional<Error>()> collect_error;
  std::function<std::optional<Error>(const VmId& vm_id)> stop_error;
  int publish_failures = 0;  // the next so many tables are refused

  // Makes a sealed value and returns its ref.
  std::string seal(std::string_view context);
  // The first VM that a hostname leads to in the newest table; empty for none.
  [[nodiscard]] VmId upstream_of(const std::string& host) const;
  [[nodiscard]] std::vector<VmId> upstreams_of(const std::string& host) const;
  [[nodiscard]] int running_vms() const;
};

// The engines of one life of the control plane, as Life takes them.
class EngineSet {
 public:
  virtual ~EngineSet() = default;
  // All but the clock. They live as long as this.
  [[nodiscard]] virtual actors::Engines engines() = 0;
  // From now on nothing that is called reaches the world.
  virtual void kill() = 0;
};

class WorldEngines;

// One VM host of the world.
class WorldHost final : public actors::VmEngine {
 public:
  WorldHost(World& world, HostId name, const bool& dead)
      : world_(world), name_(std::move(name)), dead_(dead) {}

  Result<actors::StartedVm> start(const actors::VmJob& job, std::stop_token stop) override;
  actors::VmObservation observe(const VmId& vm_id) override;
  actors::ProbeObservation probe(const VmId& vm_id, const std::string& path,
                                 const std::string& host) override;
  Result<std::int32_t> stop(const VmId& vm_id) override;
  std::vector<VmId> list() override;
  bool ping() override;
  Result<std::vector<std::string>> collect_disks(const actors::KeepSource& keep,
                                                 std::stop_token stop) override;
  [[nodiscard]] std::int64_t memory_mib() const override;
  [[nodiscard]] std::string describe() const override { return "simulated"; }

 private:
  World& world_;
  HostId name_;
  const bool& dead_;
};

class WorldEngines final : public EngineSet,
                           public actors::BuildEngine,
                           public actors::EdgeEngine,
                           public actors::NotifyEngine {
 public:
  explicit WorldEngines(World& world);

  actors::Engines engines() override;
  void kill() override { dead_ = true; }
  [[nodiscard]] bool dead() const { return dead_; }

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

  Result<void> publish(std::uint64_t generation,
                       const std::vector<actors::RouteClaim>& table) override;
  std::uint64_t drain(const VmId& vm_id, std::chrono::microseconds deadline) override;
  [[nodiscard]] std::uint64_t generation() const override;
  [[nodiscard]] std::string describe() const override { return "simulated"; }

  Result<std::int32_t> post(const Notification& notification, std::stop_token stop) override;

 private:
  World& world_;
  bool dead_ = false;
  std::map<HostId, WorldHost> hosts_;
};

}  // namespace atlasflow::sim
