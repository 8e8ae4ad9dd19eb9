// A control plane on CAF's deterministic scheduler with a world of scripted engines around it: the
// test chooses which actor runs next from a seed, may kill everything at any step, and starts it
// again over the same log and the same world.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include "actors/parts.hpp"
#include "storage/memory_event_log.hpp"

namespace atlasflow::actors {

// What stands outside and outlives the control plane.
struct Outside {
  struct Vm {
    bool running = true;
    int starts = 0;
    std::string image;
    std::map<std::string, std::string> env_refs;
  };
  std::map<std::string, Vm> vms;
  std::map<std::string, int> clones;  // by effect
  std::map<std::string, int> builds;
  std::vector<std::pair<std::uint64_t, std::vector<RouteClaim>>> tables;
  std::set<std::string> drained;
  std::vector<std::string> reaped;

  // Scripts: what the next calls come to.
  std::function<std::optional<Error>(const SourceJob&)> clone_error;
  std::function<std::optional<Error>(const SourceJob&)> build_error;
  std::function<ProbeObservation(const std::string& vm_id)> probe;
  int publish_failures = 0;
  std::int64_t memory_mib = 4096;

  [[nodiscard]] std::string upstream_of(const std::string& host) const;
  [[nodiscard]] int running_vms() const;
};

// One life of the control plane.
class Life {
 public:
  Life(std::shared_ptr<storage::MemoryStore> store, Outside& outside, std::uint64_t seed);
  ~Life();

  // Runs until the predicate holds or nothing is left to do within `virtual_limit`; true if it
  // holds.
  bool run_until(const std::function<bool()>& done,
                 std::chrono::seconds virtual_limit = std::chrono::seconds(600));
  // Runs this many messages at most; false when there was nothing to run any more.
  bool run_steps(int steps);
  void run_all_jobs();

  // Nothing that this control plane still does reaches the log or the world.
  void kill();

  // Creates a project and waits for it.
  ProjectId create_project(const std::string& name);
  void send_push(const std::string& delivery, char sha_digit,
                 const std::string& ref = "refs/heads/main");
  void delete_project(const std::string& name);

  [[nodiscard]] storage::Catalog& catalog() { return catalog_; }
  [[nodiscard]] storage::EventLog& log();
  [[nodiscard]] Parts& parts() { return parts_; }
  [[nodiscard]] caf::actor_system& system() { return *system_; }
  std::vector<PushReply> push_replies;
  std::vector<Error> errors;
  std::vector<Error> fatal;

 private:
  class KillableLog;
  class Engine;
  struct VirtualClock;

  bool step();

  Outside& outside_;
  std::uint64_t random_;
  std::unique_ptr<KillableLog> log_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<VirtualClock> clock_;
  storage::Catalog catalog_;
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  caf::scheduler::test_coordinator* scheduler_ = nullptr;
  Parts parts_;
};

// The names of a deployment's events in order; with `only_seven`, those of the happy path.
[[nodiscard]] std::vector<std::string> event_names(const storage::EventLog& log,
                                                   const DeploymentId& id, bool only_seven);

}  // namespace atlasflow::actors
