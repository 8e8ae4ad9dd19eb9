// The actors of one control plane, spawned in order and wired to each other. The server, the tests
// and the simulator all start them here; they differ in their engines, their clock and their spawn
// mode only.
#pragma once

#include <functional>
#include <string>

#include "actors/projects/projects.hpp"
#include "actors/upkeep/janitor.hpp"
#include "actors/upkeep/notifier.hpp"
#include "actors/upkeep/reconciler.hpp"

namespace atlasflow::actors {

struct PartsConfig {
  storage::EventLog* log = nullptr;
  storage::Catalog* catalog = nullptr;  // has applied the whole log
  storage::SecretStore* secrets = nullptr;
  Engines engines;
  std::string domain;
  int builders = 1;
  std::size_t rollbacks = 5;  // earlier images that are kept, and so can be rolled back to
  std::string crash_after;
  SpawnMode spawn;
  std::function<void(const Error&)> fatal;  // a part can't go on; see LogWriterConfig
};

struct Parts {
  log_actor log_writer;
  record_sink projector;
  timers_actor timers;
  builder_pool_actor builders;
  vm_hosts_actor hosts;
  edge_actor edge;
  reconciler_actor reconciler;
  notifier_actor notifier;
  deployments_actor deployments;
  projects_actor projects;
  janitor_actor janitor;
  caf::actor root;  // watches all of the above

  // In the order in which they are to be stopped: intake first, the log last.
  [[nodiscard]] std::vector<caf::actor> in_stop_order() const;
};

[[nodiscard]] Parts spawn_parts(caf::actor_system& system, const PartsConfig& config);

// Takes up what the log holds: unfinished deployments first, then the projects that decide about
// them.
void resume(const Parts& parts, const storage::Catalog& catalog);

}  // namespace atlasflow::actors
