// What must hold after every step of a simulated run, whatever happened. An oracle of its own: it
// reads the log's records, the route tables and the effects as they come, and asks no code that it
// checks. The first violation stays. Outlives the control planes of a run; one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sim/checkers/certificates.hpp"
#include "sim/checkers/heads.hpp"
#include "sim/checkers/notifications.hpp"
#include "sim/checkers/pull_requests.hpp"
#include "sim/checkers/rest.hpp"
#include "sim/world/github.hpp"
#include "sim/world/outside.hpp"
#include "storage/log/event_log.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::sim {

struct Violation {
  std::string name;      // "dense-positions": what shrinking holds on to
  std::string sentence;  // for people
};

class Invariants final : public Witness {
 public:
  // domain: what the hostnames of projects end in.
  Invariants(const World& world, const GitHub& github, std::string domain)
      : world_(world), github_(github), domain_(std::move(domain)) {}

  // Where the log of the life that runs is found; null while none does.
  void look_into(std::function<const storage::EventLog*()> log) { log_ = std::move(log); }
  [[nodiscard]] const std::optional<Violation>& violation() const { return violation_; }
  void violated(std::string name, std::string sentence);

  // ---- as things happen ----

  // The control plane was told that these are in the log. What lies between them and what is known
  // was refused on a full disk and is in the log after all: the log must have it, without a gap.
  void on_acknowledged(const std::vector<storage::AppendOutcome>& outcomes,
                       const storage::EventLog& log);
  void on_effect(Act act, const std::string& effect) override;
  void on_values(Act act, const std::string& deployment,
                 const actors::SealedEntries& values) override;
  void on_stop(const VmId& vm_id) override;
  void on_table(const World::Table& table) override;
  void on_order(const std::string& domain, const EffectId& effect,
                const std::string& directory) override;
  void on_certificates(const std::vector<actors::CertificateChoice>& table) override;
  void on_bytes(std::string_view bytes) override;

  // Something ended the project's app, or made it unhealthy, that is not the control plane's doing:
  // from here on it need not be served without a gap.
  void disturb(const std::string& project) { disturbed_.insert(project); }

  // A user approves a fork's commit.
  void approve(const std::string& sha) { pull_requests_.approve(sha); }
  // The closing of a pull request was taken by the project.
  void on_closing(const std::string& project, const pb::PullRequestHead& head) {
    pull_requests_.on_closing(project, head);
  }

  // ---- before the first life ----

  // What is there already is taken as it is, whatever made it so: the log, and the newest table. A
  // project that is not served need not be.
  void adopt(const storage::EventLog& log);

  // ---- between two lives ----

  // The log as the next control plane finds it: everything acknowledged is there, byte for byte in
  // effect; what was written and never acknowledged may be.
  void on_restart(const storage::EventLog& log);
  // That control plane has begun; whoever was there before it must not write any more.
  void on_epoch(Epoch epoch);

  // ---- when it rests ----

  // The live read model is the fold of the log.
  void check_fold(const storage::Catalog& live, const storage::EventLog& log);
  // Why the world has not come to rest, as a sentence; empty when it has.
  [[nodiscard]] std::string unrest(const storage::EventLog& log) const;

  [[nodiscard]] std::size_t deployments() const { return deployments_.size(); }
  [[nodiscard]] std::size_t routed() const { return routed_; }
  [[nodiscard]] std::size_t ended() const { return ended_; }
  [[nodiscard]] const storage::ChainHash& chain() const { return chain_; }
  [[nodiscard]] storage::Record const* newest() const { return newest_ ? &*newest_ : nullptr; }

 private:
  struct Deployment {
    std::string project;
    std::string environment;
    bool by_push = false;
    std::string delivery;  // of its push
    std::uint64_t generation = 0;
    bool routed = false;
    bool gives_way = false;  // it is asked to end, or has ended
    bool ended = false;
    std::map<int, int> once;  // how often each of the seven came
  };
  struct Vm {
    std::string deployment;
    bool started = false;
    bool healthy = false;
    bool stopping = false;
    bool gone = false;
  };

  void take(const storage::Record& record);
  void take_of_deployment(const DeploymentId& id, const storage::Record& record);
  void take_of_domain(const std::string& name, const storage::Record& record);
  void take_of_vm(const std::string& deployment, const storage::Record& record);
  void take_ends(Deployment& deployment, const pb::Event& event);
  void check_build(const DeploymentId& id, const pb::Event& event);
  void check_order(const Deployment& deployment, const DeploymentId& id);
  void catch_up();
  [[nodiscard]] bool is_served(const std::string& project, const World::Table& table) const;
  void check_served(const World::Table& table);
  void check_redirect(const actors::RouteClaim& claim, const World::Table& table);
  void check_routes(const Deployment& deployment, const DeploymentId& id, const pb::Routed& routed);

  const World& world_;
  const GitHub& github_;
  std::string domain_;
  std::optional<Violation> violation_;
  std::function<const storage::EventLog*()> log_;
  Position last_;
  Epoch epoch_;
  storage::ChainHash chain_{};
  std::vector<storage::ChainHash> acknowledged_;  // index = position - 1
  std::map<StreamId, StreamVersion> versions_;
  std::map<std::string, pb::Event::KindCase> intents_;  // by effect id
  std::map<DeploymentId, Deployment> deployments_;
  std::map<DeploymentId, DeploymentState> states_;  // by the fold: what may follow is asked of them
  std::map<DeploymentId, pb::Built> built_;         // what each has built itself
  Rest rest_;
  Notifications notifications_;
  Heads heads_;
  PullRequests pull_requests_;
  Certificates certificates_;
  std::map<std::string, DomainState> domains_;  // by the fold, like states_
  std::map<VmId, Vm> vms_;
  std::map<std::string, std::string> newest_routed_;  // delivery, by project/environment
  std::map<std::string, std::string> routes_;         // deployment by host, in the newest table
  std::set<VmId> in_use_;                             // VMs in the newest table
  std::set<std::string> served_;                      // projects that have been routed once
  std::set<std::string> disturbed_;
  std::size_t routed_ = 0;
  std::size_t ended_ = 0;
  std::optional<storage::Record> newest_;
};

}  // namespace atlasflow::sim
