// One life of a control plane on CAF's deterministic scheduler: the production actors over a
// simulated world, in virtual time. Chance decides which actor runs next; a life may be killed
// after any message, and the next one goes on over the same log and the same world. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include "actors/runtime/parts.hpp"
#include "sim/run/choices.hpp"
#include "sim/world/waits.hpp"
#include "sim/world/world.hpp"
#include "sim/world/world_secrets.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::sim {

inline constexpr const char* k_made_up_domain = "example.test";

struct LifeConfig {
  std::unique_ptr<storage::EventLog> log;
  World* world = nullptr;
  Choices* choices = nullptr;
  Fibers* fibers = nullptr;
  std::function<std::unique_ptr<EngineSet>(Waits&)> engines;
  int builders = 1;
  std::size_t rollbacks = 5;
  int authorities = 1;  // that certificates are ordered from
  std::string domain = k_made_up_domain;
  // What its start goes on from; null: it folds the whole log.
  const storage::SnapshotStore* snapshots = nullptr;
  // As the server does: records the start, and ends what the log does not explain.
  bool as_server = true;
  // What the log has acknowledged; records in log order.
  std::function<void(const std::vector<storage::AppendOutcome>&, const storage::EventLog&)>
      on_append;
  int idle_actors = 0;  // spawned first, so that the others get other ids and addresses
};

class Life {
 public:
  explicit Life(LifeConfig config);
  // Over engines that answer at once.
  Life(std::shared_ptr<storage::MemoryStore> store, World& world, std::uint64_t seed,
       std::size_t rollbacks = 5);
  ~Life();  // kills
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  // Runs one actor for one message, or takes up one effect whose time has come; without either,
  // time goes on to the next moment at which something is due. False when nothing is.
  bool step();
  // Runs until the predicate holds or there is nothing left to do within `virtual_limit`; true when
  // it holds.
  bool run_until(const std::function<bool()>& done,
                 std::chrono::seconds virtual_limit = std::chrono::seconds(600));
  // Runs so many steps at most; false when there was nothing to run any more.
  bool run_steps(int steps);

  // From now on nothing that this control plane does reaches the log or the world.
  void kill();
  // From now on nothing that it does reaches the world; the log still takes what it appends.
  void cut_off() { engines_->kill(); }
  // Whether it takes requests: the server's API listens from then on.
  [[nodiscard]] bool started() const { return started_; }
  // The next actor of this name that has something to do throws.
  void kill_next(std::string name) { doomed_ = std::move(name); }
  // Records NodeStopped, as a server does on SIGTERM; once stopped() it is to be destroyed.
  void begin_stop();
  [[nodiscard]] bool stopped() const { return stopped_; }

  // Creates a project that deploys branch "main" of /srv/<name>.git and waits for it.
  ProjectId create_project(const std::string& name,
                           const std::function<void(pb::Settings&)>& change = {});
  // The same, without waiting.
  void begin_project(CreateProject project);
  // A push, to /srv/web.git unless it names others; the answer arrives in push_replies or errors,
  // and at `answered` when that is given.
  void send_push(const std::string& delivery, char sha_digit,
                 const std::string& ref = "refs/heads/main");
  void send_push(Push push,
                 const std::function<void(const Result<actors::PushReply>&)>& answered = {});
  void deploy(actors::DeployNow message);
  void delete_project(const std::string& name);
  void command_project(const std::string& name, ProjectCommand command);
  // Of a user's own domain.
  void command_domain(const std::string& domain, DomainCommand command);
  void check_domain(const std::string& domain);
  // Brings a certificate for it.
  void upload_certificate(const std::string& domain);
  // A deployment of an earlier one, or of what the project chooses; the answer arrives in
  // push_replies or errors.
  void reuse(const std::string& project, ReuseKind kind, const std::string& command_id,
             std::optional<DeploymentId> of = std::nullopt);
  // Of a fork's commit that waits; the answer arrives in push_replies or errors.
  void approve(const std::string& project, Approval approval);
  // The answer, a refusal, arrives in errors.
  void command(const DeploymentId& deployment, DeploymentCommand command);
  // Has the janitor look at once, whatever else is going on.
  void collect_now();

  [[nodiscard]] const storage::Catalog& catalog() const { return catalog_; }
  [[nodiscard]] const storage::EventLog& log() const;
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  // Of everything that was asked above.
  [[nodiscard]] std::size_t unanswered() const { return unanswered_; }
  [[nodiscard]] bool idle() const { return scheduler_->jobs.empty(); }

  std::vector<actors::PushReply> push_replies;
  std::vector<Error> errors;
  std::vector<Error> fatal;        // what would have ended the process
  std::vector<Error> part_deaths;  // what would have made the process start anew
  actors::PartFaults faults;       // what died and was started again
  // Where what it began with is not the fold of its log, though that was read from a snapshot on.
  std::string snapshot_difference;
  std::vector<std::string> injected_deaths;  // by kill_next

 private:
  class KillableLog;
  struct VirtualClock;

  void start();
  [[nodiscard]] Result<actors::StartFolds> fold();
  void announce();
  void append_to_node(std::vector<pb::Event> events, std::function<void()> then);
  void take_up();
  void run_one(std::size_t pick);
  void doom(caf::resumable* job);
  bool let_time_pass();
  template <typename Reply, typename Handle, typename Message>
  void ask(const Handle& handle, Message message,
           std::function<void(const Result<Reply>&)> on_answer);

  std::unique_ptr<Choices> own_choices_;
  std::unique_ptr<Fibers> own_fibers_;
  LifeConfig config_;
  World& world_;
  Choices& choices_;
  Fibers& fibers_;
  Waits waits_;
  std::unique_ptr<KillableLog> log_;
  Epoch epoch_;
  std::unique_ptr<EngineSet> engines_;
  std::unique_ptr<WorldSecrets> secrets_;
  std::unique_ptr<VirtualClock> clock_;
  storage::Catalog catalog_;
  actors::StartFolds folds_;
  caf::actor_system_config actor_config_;
  std::unique_ptr<caf::actor_system> system_;
  caf::scheduler::test_coordinator* scheduler_ = nullptr;
  actors::Parts parts_;
  std::vector<caf::actor> idle_actors_;
  std::function<void()> run_job_;
  std::size_t unanswered_ = 0;
  std::string doomed_;
  std::set<caf::actor_id> dying_;      // whose handler is to throw
  std::set<caf::actor_id> outsiders_;  // that only ask
  bool started_ = false;
  bool stopped_ = false;
};

}  // namespace atlasflow::sim
