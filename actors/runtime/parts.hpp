// The actors of one control plane, spawned in order and wired to each other. The server, the tests
// and the simulator all start them here; they differ in their engines, their clock and their spawn
// mode only.
#pragma once

#include <functional>
#include <string>

#include "actors/projects/projects.hpp"
#include "actors/runtime/root.hpp"
#include "actors/runtime/start_folds.hpp"

namespace atlasflow::actors {

struct PartsConfig {
  storage::EventLog* log = nullptr;
  storage::Catalog* catalog = nullptr;  // has applied the whole log
  storage::SecretStore* secrets = nullptr;
  Engines engines;
  std::string domain;
  int builders = 1;
  std::size_t rollbacks = 5;  // earlier images that are kept, and so can be rolled back to
  std::string crash_after;    // as in ControlPlaneConfig
  std::string throw_after;
  DomainSettings domains;
  SpawnMode spawn;
  std::function<void(const Error&)> fatal;  // the log can't go on; see LogWriterConfig
  // A part died of an exception that can't be started again by itself: the owner of the process is
  // to start all of them anew. Called by an actor; must not wait for one.
  std::function<void(const Error&)> part_died;
  PartFaults* faults = nullptr;  // where to note what died and was started again
};

struct Parts {
  log_reader_actor log_reader;
  log_actor log_writer;
  record_sink projector;
  timers_actor timers;
  builder_pool_actor builders;
  vm_hosts_actor hosts;
  edge_actor edge;
  deployments_actor deployments;
  projects_actor projects;
  // Watches all of the above; reconciler, janitor, notifier and domain keeper are its own.
  caf::actor root;

  // In the order in which they are to be stopped: intake first, the log last.
  [[nodiscard]] std::vector<caf::actor> in_stop_order() const;
};

[[nodiscard]] Parts spawn_parts(caf::actor_system& system, const PartsConfig& config);

// Takes up what the log holds: unfinished deployments first, then the projects that decide about
// them.
void resume(const Parts& parts, const std::string& domain, const storage::Catalog& catalog,
            const StartFolds& folds);

}  // namespace atlasflow::actors
