// The way between the control plane and the simulated world: calls take their time, get lost before
// or after they had their effect, happen twice, hang, and are told to whoever checks invariants.
// What crosses a socket in production crosses here as the same bytes. One per life; one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "sim/run/choices.hpp"
#include "sim/world/github.hpp"
#include "sim/world/waits.hpp"
#include "sim/world/weather.hpp"
#include "sim/world/world.hpp"

namespace atlasflow::sim {

// Who wants to know what happens outside; see invariants.hpp.
class Witness {
 public:
  virtual ~Witness() = default;
  enum class Act : std::uint8_t { clone, build, start_vm };
  // The effect is about to happen, asked for by the control plane of that epoch.
  virtual void on_effect(Act act, const std::string& effect) = 0;
  // A build, or a VM, is about to be given these sealed values for a deployment.
  virtual void on_values(Act act, const std::string& deployment,
                         const actors::SealedEntries& values) = 0;
  virtual void on_stop(const VmId& vm_id) = 0;
  virtual void on_table(const World::Table& table) = 0;
  // An order reaches a certificate authority, by its directory, for the first time.
  virtual void on_order(const std::string& domain, const EffectId& effect,
                        const std::string& directory) = 0;
  // The edge shows these from now on.
  virtual void on_certificates(const std::vector<actors::CertificateChoice>& table) = 0;
  // Bytes that left the control plane.
  virtual void on_bytes(std::string_view bytes) = 0;
};

class OutsideHost;
class OutsideDomains;

class Outside final : public EngineSet,
                      public actors::BuildEngine,
                      public actors::EdgeEngine,
                      public actors::NotifyEngine {
 public:
  struct Parts {
    World& world;
    Weather& weather;
    GitHub& github;
    Choices& choices;
    Waits& waits;
    Witness& witness;
    std::function<void()> before_effect;  // a crash may come here
    std::function<void()> after_effect;
  };
  explicit Outside(Parts parts);
  ~Outside() override;

  actors::Engines engines() override;
  void kill() override;

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
  friend class OutsideHost;
  friend class OutsideDomains;

  struct Way {
    std::string where;
    TimestampUs limit = 0;    // 0: none
    TimestampUs quickly = 0;  // how long it takes on a quiet day
  };
  // There and back, with all that may go wrong. Act answers a Result.
  template <typename Act>
  auto call(const Way& way, const std::stop_token& stop, Act act) -> decltype(act());
  // Waits until the other side can be reached; an error when that takes too long.
  Result<void> reach(const Way& way, const std::stop_token& stop);
  Result<void> sleep(TimestampUs delay, const std::stop_token& stop);
  // A duration on a day like this; 0 to some 20 s.
  TimestampUs lateness();

  Parts parts_;
  WorldEngines world_;
  std::map<HostId, std::unique_ptr<OutsideHost>> hosts_;
  std::unique_ptr<OutsideDomains> domains_;
  bool dead_ = false;
};

}  // namespace atlasflow::sim
