// One life of a control plane on CAF's deterministic scheduler: the production actors over a
// simulated world, in virtual time. A seed chooses which actor runs next; a life may be killed
// after any message, and the next one goes on over the same log and the same world.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include "actors/parts.hpp"
#include "sim/random.hpp"
#include "sim/world.hpp"
#include "storage/memory_event_log.hpp"

namespace atlasflow::sim {

class Life {
 public:
  Life(std::shared_ptr<storage::MemoryStore> store, World& world, std::uint64_t seed,
       std::size_t rollbacks = 5);
  ~Life();  // kills
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  // Runs until the predicate holds or there is nothing left to do within `virtual_limit`; true when
  // it holds.
  bool run_until(const std::function<bool()>& done,
                 std::chrono::seconds virtual_limit = std::chrono::seconds(600));
  // Runs so many messages at most; false when there was nothing to run any more.
  bool run_steps(int steps);

  // From now on nothing that this control plane does reaches the log or the world.
  void kill();

  // Creates a project that deploys branch "main" of /srv/<name>.git and waits for it.
  ProjectId create_project(const std::string& name,
                           const std::function<void(pb::Settings&)>& change = {});
  // A push, to /srv/web.git unless it names others; the answer arrives in push_replies or errors.
  void send_push(const std::string& delivery, char sha_digit,
                 const std::string& ref = "refs/heads/main");
  void send_push(actors::Push push);
  void delete_project(const std::string& name);
  void command_project(const std::string& name, ProjectCommand command);
  // A deployment of an earlier one, or of what the project chooses; the answer arrives in
  // push_replies or errors.
  void reuse(const std::string& project, actors::ReuseKind kind, const std::string& command_id,
             const std::optional<DeploymentId>& of = std::nullopt);
  // The answer, a refusal, arrives in errors.
  void command(const DeploymentId& deployment, DeploymentCommand command);
  // Has the janitor look at once, whatever else is going on.
  void collect_now();

  [[nodiscard]] const storage::Catalog& catalog() const { return catalog_; }
  [[nodiscard]] const storage::EventLog& log() const;

  std::vector<actors::PushReply> push_replies;
  std::vector<Error> errors;
  std::vector<Error> fatal;  // what would have ended the process

 private:
  class KillableLog;
  struct VirtualClock;

  bool step();
  template <typename Reply, typename Handle, typename Message>
  void ask(const Handle& handle, Message message, std::function<void(const Reply&)> on_reply);

  Random random_;
  std::unique_ptr<KillableLog> log_;
  std::unique_ptr<WorldEngines> engines_;
  std::unique_ptr<VirtualClock> clock_;
  storage::Catalog catalog_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  caf::scheduler::test_coordinator* scheduler_ = nullptr;
  actors::Parts parts_;
};

}  // namespace atlasflow::sim
